import { describe, expect, it } from 'vitest';
import { Opcode } from '../../src/protocol/opcode.js';
import { Harness } from '../support/client-harness.js';

describe('increment', () => {
  it('answers the new value', async () => {
    const world = new Harness();
    const client = await world.connect();
    expect(await world.until(client.increment('a'))).toBe(1n);
    expect(await world.until(client.increment('a', 41))).toBe(42n);
    expect(await world.until(client.decrement('a', 50n))).toBe(-8n);
    expect(await world.until(client.increment('grüße ✓', 2n ** 60n))).toBe(2n ** 60n);
    expect(world.server.values).toEqual(
      new Map([
        ['a', -8n],
        ['grüße ✓', 2n ** 60n],
      ]),
    );
  });

  it('sends the calls of one turn to one partition in one frame', async () => {
    const world = new Harness();
    const client = await world.connect();
    const calls = Array.from({ length: 100 }, () => client.increment('a'));
    await world.settle();
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 100 }, (_, i) => BigInt(i + 1)));
    expect(world.server.seen.filter(({ opcode }) => opcode === Opcode.ADD)).toHaveLength(1);
  });
});
