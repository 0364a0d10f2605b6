import { describe, expect, it } from 'vitest';
import { InFlight } from '../../src/transport/in-flight.js';
import { Random } from '../support/random.js';
import { idOfOnePlace } from '../support/request-ids.js';

/** The same in plain words: of each id the bytes of those that wait. */
class Model {
  readonly byId = new Map<number, { requests: number; bytes: number }>();

  add(id: number, bytes: number): void {
    const same = this.byId.get(id) ?? { requests: 0, bytes: 0 };
    this.byId.set(id, { requests: same.requests + 1, bytes: same.bytes + bytes });
  }

  end(id: number): boolean {
    const same = this.byId.get(id);
    if (!same) return false;
    const { requests, bytes } = same;
    if (requests === 1) this.byId.delete(id);
    else this.byId.set(id, { requests: requests - 1, bytes: bytes - Math.floor(bytes / requests) });
    return true;
  }

  sum(of: 'requests' | 'bytes'): number {
    return [...this.byId.values()].reduce((sum, one) => sum + one[of], 0);
  }
}

describe('requests in flight', () => {
  it.each([
    ['that follow each other', (n: number) => n],
    ['that all want the same place', idOfOnePlace],
    ['from the end of their range', (n: number) => 2 ** 32 - 1 - n * 7],
  ])('are counted with their bytes, under ids %s', (_, idOf) => {
    const random = new Random(1);
    const inFlight = new InFlight();
    const model = new Model();
    // grows to hundreds, and shrinks to nothing again
    for (let step = 0; step < 6_000; step++) {
      const id = idOf(random.below(400));
      const isAdded = random.below(10) < (step < 3_000 ? 7 : 3);
      if (isAdded) {
        const bytes = random.below(1_000);
        inFlight.add(id, bytes);
        model.add(id, bytes);
      } else expect(inFlight.end(id)).toBe(model.end(id));
      expect(inFlight.requests).toBe(model.sum('requests'));
      expect(inFlight.bytes).toBe(model.sum('bytes'));
    }
    for (const [id, { requests }] of [...model.byId]) {
      for (let left = requests; left > 0; left--) expect(inFlight.end(id)).toBe(true);
      expect(inFlight.end(id)).toBe(false);
    }
    expect([inFlight.requests, inFlight.bytes]).toEqual([0, 0]);
  });
});
