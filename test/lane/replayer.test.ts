import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FromReplayer, ReplayWish } from '../../src/lane/replay-messages.js';
import { ByteReader } from '../../src/protocol/bytes.js';
import { CheckpointBench } from './checkpoint-bench.js';

/** Looking back into the log: what counters were at a position that is past. */

const NAMES = ['a', 'b', 'pre', 'prefix', 'präfix'];
const PREFIX = 'pre';

/** What there was of the names, in their order. */
type Values = readonly (bigint | undefined)[];

/** A partition of which it is remembered what it was at each position. */
class Past {
  readonly bench = new CheckpointBench();
  readonly #values: Values[] = [];

  get position(): number {
    return this.bench.live(0).sequence;
  }

  change(name: string, delta: bigint): void {
    const kernel = this.bench.kernels[0];
    if (delta === 0n) kernel?.delete({ key: { name }, reason: 'r' });
    else kernel?.add({ operations: [{ key: { name }, delta }] });
    this.remember();
  }

  remember(): void {
    const answer = this.bench.kernels[0]?.get(NAMES.map((name) => ({ name }))).answer ?? [];
    this.#values[this.position] = answer.map(({ status, value }) => (status === 0 ? value : undefined));
  }

  at(position: number): Values {
    return this.#values[position] as Values;
  }

  /** What a replayer finds, by the ids. */
  async look(wanted: readonly ReplayWish[]): Promise<ReadonlyMap<number, unknown>> {
    const heard = await this.bench.lookBack(0, wanted);
    return new Map(heard.map((message) => (message.kind === 'found' ? [message.id, shown(message)] : [-1, message])));
  }
}

function shown({ past }: Extract<FromReplayer, { kind: 'found' }>): unknown {
  if (past.kind === 'names') return past.values;
  const reader = new ByteReader(past.items);
  const found = Array.from({ length: past.count }, () => [reader.name(reader.varint()), reader.zigzagBig()] as const);
  reader.end();
  return new Map(found);
}

const names = (id: number, position: number): ReplayWish => ({
  id,
  position,
  followed: { kind: 'names', names: NAMES },
});
const below = (id: number, position: number): ReplayWish => ({
  id,
  position,
  followed: { kind: 'prefix', prefix: PREFIX },
});

/** What was below the prefix. */
function belowThen(values: Values): ReadonlyMap<string, bigint> {
  const all = NAMES.map((name, i) => [name, values[i]] as const);
  return new Map(all.filter((each): each is [string, bigint] => each[0].startsWith(PREFIX) && each[1] !== undefined));
}

const change = fc.record({
  name: fc.constantFrom(...NAMES),
  delta: fc.bigInt({ min: -3n, max: 3n }),
  next: fc.constantFrom('nothing', 'nothing', 'flush', 'other', 'checkpoint'),
});

describe('A replayer', () => {
  it('finds what was at any position from the checkpoint on, and before it where the whole log is kept', async () => {
    const changes = fc.array(change, { minLength: 1, maxLength: 24 });
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (steps, isDropped) => {
        const past = new Past();
        const { bench } = past;
        past.remember();
        const first = past.position;
        let [reach, records] = [first, 0];
        for (const { name, delta, next } of steps) {
          past.change(name, delta);
          if (next === 'flush') await bench.flush();
          if (next === 'other') bench.kernels[1]?.step('other', 1n);
          if (next !== 'checkpoint') continue;
          const { place } = await bench.checkpoint(0);
          [reach, records] = [place.sequence, place.records];
        }
        await bench.flush();
        if (isDropped && records > 0) bench.drop(records);
        const from = isDropped && records > 0 ? reach : first;
        const positions = Array.from({ length: past.position - first + 1 }, (_, i) => past.position - i);
        const found = await past.look(positions.flatMap((at) => [names(2 * at, at), below(2 * at + 1, at)]));
        for (const position of positions) {
          const there = position >= from ? past.at(position) : undefined;
          expect([position, found.get(2 * position)]).toEqual([position, there]);
          expect([position, found.get(2 * position + 1)]).toEqual([position, there && belowThen(there)]);
        }
        expect(found.get(-1)).toBe(undefined);
      }),
      { numRuns: 40 },
    );
  });

  it('goes on with a newer checkpoint where that takes away the one that it reads', async () => {
    const past = new Past();
    const { bench } = past;
    past.change('a', 1n);
    await bench.checkpoint(0);
    past.change('a', 2n);
    const order = await bench.order(0);
    past.change('a', 3n);
    await bench.flush();
    const checkpoints = bench.openCheckpoints();
    const read = checkpoints.readPages.bind(checkpoints);
    checkpoints.readPages = async (manifest, visit) => {
      checkpoints.readPages = read;
      await bench.make(order);
      await read(manifest, visit);
    };
    const heard = await bench.lookBack(0, [names(1, past.position)], checkpoints);
    expect(heard).toEqual([{ kind: 'found', id: 1, past: { kind: 'names', values: past.at(past.position) } }]);
  });

  it('says what it does not understand: a damaged record', async () => {
    const past = new Past();
    past.change('a', 1n);
    past.change('a', 1n);
    await past.bench.flush();
    const [record] = [...past.bench.logDisk.records.values()] as [Uint8Array];
    record[record.length - 1] = (record[record.length - 1] as number) ^ 1;
    const heard = await past.bench.lookBack(0, [names(1, past.position)]);
    expect(heard).toEqual([expect.objectContaining({ kind: 'failed', code: 'LOG_CORRUPT' })]);
  });
});
