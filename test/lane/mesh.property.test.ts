import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { NAME, type TestClient } from './lane-harness.js';
import { MeshHarness } from './mesh-harness.js';

const LANES = [0, 1];
const CLIENTS = 4;
const MOST_UNANSWERED = 900;

/** A client that numbers its batches, and what it knows of them. */
class Writer {
  readonly client: TestClient;
  readonly #sequences = [0, 0];
  readonly ids: number[] = [];

  constructor(client: TestClient) {
    this.client = client;
  }

  add(partition: number, operations: number, delta: bigint, flags: number): void {
    const sequence = (this.#sequences[partition] as number) + 1;
    this.#sequences[partition] = sequence;
    const id = this.client.add(
      partition,
      {
        sequence: { sequence, unanswered: Math.min(sequence - 1, MOST_UNANSWERED) },
        operations: Array.from({ length: operations }, () => ({ key: { name: NAME[partition] as string }, delta })),
      },
      flags,
    );
    this.ids.push(id);
  }
}

const write = fc.record({
  kind: fc.constant('write' as const),
  by: fc.integer({ min: 0, max: CLIENTS - 1 }),
  partition: fc.constantFrom(...LANES),
  operations: fc.constantFrom(1, 3, 100, 2_000),
  delta: fc.bigInt({ min: -1_000n, max: 1_000n }),
  flags: fc.constantFrom(0, Flag.APPLIED, Flag.VALUES, Flag.APPLIED | Flag.VALUES),
});
const pass = fc.record({ kind: fc.constant('pass' as const), milliseconds: fc.integer({ min: 0, max: 4 }) });
const busy = fc.record({ kind: fc.constant('busy' as const), lane: fc.constantFrom(...LANES), isBusy: fc.boolean() });
const step = fc.oneof({ arbitrary: write, weight: 5 }, { arbitrary: pass, weight: 2 }, { arbitrary: busy, weight: 1 });

test('Whoever writes where through whom, through rings of any size: every batch is applied once and in order, and answered once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(16, 256, 65_536), fc.array(step, { maxLength: 80 }), async (ringBytes, steps) => {
      const harness = await MeshHarness.start(ringBytes);
      const writers: Writer[] = [];
      for (let i = 0; i < CLIENTS; i++) {
        // two that reach all through lane 0 and 1, and one that is connected to each
        const hello = { producer: { id: new Uint8Array(16).fill(i) }, direct: i >= 2 };
        writers.push(new Writer(await harness.direct(i % 2, hello)));
      }
      const sums = [0n, 0n];
      for (const step of steps) {
        if (step.kind === 'pass') await harness.pass(step.milliseconds);
        else if (step.kind === 'busy') harness.lane(step.lane).isBusy = step.isBusy;
        else {
          const { by, operations, delta, flags } = step;
          const partition = by >= 2 ? by % 2 : step.partition;
          (writers[by] as Writer).add(partition, operations, delta, flags);
          sums[partition] = (sums[partition] as bigint) + BigInt(operations) * delta;
        }
      }
      for (const lane of LANES) harness.lane(lane).isBusy = false;
      const isOpen = ({ client, ids }: Writer) => !ids.every((id) => client.isAnswered(id));
      for (let turn = 0; turn < 1_000 && writers.some(isOpen); turn++) {
        await harness.pass(1);
        for (const { client } of writers) client.transport.deliver();
      }
      for (const { client, ids } of writers) {
        const answers = client.answers.filter(({ opcode }) => opcode !== (Opcode.HELLO | 128));
        expect(answers.filter(({ opcode, flags }) => opcode === Opcode.ERROR || flags !== 0)).toEqual([]);
        expect(answers.map(({ requestId }) => requestId).sort((a, b) => a - b)).toEqual(ids);
      }
      const reader = await harness.indirect(0);
      for (const partition of LANES) {
        const read = reader.get(partition, [NAME[partition] as string]);
        await harness.flush();
        expect(reader.got(read)[0] ?? 0n).toBe(sums[partition]);
      }
    }),
    { numRuns: 40 },
  );
});
