import { describe, expect, it } from 'vitest';
import { ring } from '../../load/alarm.mjs';

describe('the alarm of open loops', () => {
  it('rings once for each time that is asked for, later ones from within earlier ones too', async () => {
    let rung = 0;
    await new Promise<void>((resolve) => {
      const again = () => {
        rung++;
        if (rung === 3) resolve();
        else ring(0, again);
      };
      ring(0.1, again);
    });
    expect(rung).toBe(3);
  });

  it('is had by one at a time', async () => {
    const rung = new Promise<void>((resolve) => ring(0, resolve));
    expect(() => ring(0, () => {})).toThrow('waits for the alarm');
    await rung;
  });
});
