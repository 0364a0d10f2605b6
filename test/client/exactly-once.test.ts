import { describe, expect, it } from 'vitest';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { decodeAdd } from '../../src/protocol/request.js';
import { Harness, once } from '../support/client-harness.js';
import type { Fault, SeenRequest } from '../support/model-server.js';

const isAdd = ({ opcode }: SeenRequest) => opcode === Opcode.ADD;
const sequence = (n: number) => (request: SeenRequest) => request.sequence?.sequence === n;

/** A client of one partition, and the sequences that it sent. */
async function connected(options: Parameters<Harness['connect']>[0] = {}, server = {}) {
  const world = new Harness({ lanes: 1, partitions: 1, ...server });
  const client = await world.connect(options);
  const adds = () => world.server.seen.filter(isAdd);
  const sequences = () => adds().map((request) => request.sequence?.sequence);
  return { world, client, adds, sequences };
}

/** Increments of 1, 2, 4 …, each in a batch of its own. */
async function batches(world: Harness, client: Awaited<ReturnType<Harness['connect']>>, count: number) {
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < count; i++) calls.push(client.batchTo(0, [{ name: 'x', delta: 2 ** i }]));
  await world.settle();
  return calls;
}

describe('a lost connection', () => {
  it('costs nothing where the batch had been applied: its first answer comes again', async () => {
    const { world, client, sequences } = await connected();
    world.server.script = once(isAdd, { drop: 'after' });
    expect(await world.until(client.increment('x', 5))).toBe(5n);
    expect(sequences()).toEqual([1, 1]);
    expect(client.statistics).toMatchObject({ repeated: 1, resent: 1, reconnections: 1 });
    expect(world.server.values.get('x')).toBe(5n);
  });

  it('costs nothing where the batch had not been applied', async () => {
    const { world, client } = await connected();
    world.server.script = once(isAdd, { drop: 'before' });
    expect(await world.until(client.increment('x', 5))).toBe(5n);
    expect(client.statistics).toMatchObject({ repeated: 0, resent: 1 });
  });

  it('has all unanswered batches sent again in their order, with the same bytes', async () => {
    const { world, client, adds, sequences } = await connected();
    world.server.script = once(sequence(3), { drop: 'before' });
    const calls = await batches(world, client, 6);
    await world.until(Promise.all(calls));
    expect(sequences()).toEqual([1, 2, 3, 1, 2, 3, 4, 5, 6]);
    const operations = adds().map(({ body, flags }) => decodeAdd(body, flags).operations[0]?.delta);
    expect(operations).toEqual([1n, 2n, 4n, 1n, 2n, 4n, 8n, 16n, 32n]);
    expect(world.server.values.get('x')).toBe(63n);
  });

  it('during a crash of the server loses nothing either', async () => {
    const { world, client } = await connected();
    world.server.script = once(sequence(2), { crash: 'after' });
    const calls = await batches(world, client, 4);
    await world.advance(1000, 10);
    world.server.start();
    await world.until(Promise.all(calls));
    expect(world.server.values.get('x')).toBe(15n);
  });

  it('gives up no batch, however long it lasts, but its callers after their timeout', async () => {
    const { world, client } = await connected({ timeout: 1000 });
    world.server.script = once(isAdd, { drop: 'after' });
    world.server.script = (request) => (isAdd(request) ? { crash: 'after' } : undefined);
    const call = world.failure(client.increment('x', 5));
    expect(await call).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown', retryable: true });
    world.server.script = () => undefined;
    world.server.start();
    await world.advance(20_000, 50);
    // it may have been applied, so it is sent again and not replaced
    expect(world.server.values.get('x')).toBe(5n);
    expect(await world.until(client.increment('x'))).toBe(6n);
  });
});

describe('a refusal of a whole batch', () => {
  it('that is final reaches its callers, and its sequence is filled so that later ones pass', async () => {
    const { world, client, adds } = await connected();
    world.server.script = once(sequence(2), { refuse: 'WRONG_PARTITION' });
    const calls = await batches(world, client, 4);
    const results = (await world.until(Promise.all(calls))) as { error?: { code: string; outcome: string } }[][];
    expect(results.map(([result]) => result?.error?.code)).toEqual([
      undefined,
      'WRONG_PARTITION',
      undefined,
      undefined,
    ]);
    expect(results[1]?.[0]?.error).toMatchObject({ outcome: 'refused' });
    expect(world.server.values.get('x')).toBe(1n + 4n + 8n);
    const filling = adds().filter(({ body, flags }) => decodeAdd(body, flags).operations.length === 0);
    expect(filling.map((request) => request.sequence?.sequence)).toEqual([2]);
  });

  it('that may pass later is met with the same bytes under the same sequence, after a delay', async () => {
    for (const refuse of [
      'STORAGE_FULL',
      'OVERLOADED',
      'QUOTA_EXCEEDED',
      'SHUTTING_DOWN',
      'WINDOW_EXCEEDED',
    ] as const) {
      const { world, client, sequences } = await connected();
      let isFull = true;
      world.server.script = (request) => (isAdd(request) && isFull ? { refuse } : undefined);
      const calls = await batches(world, client, 3);
      await world.advance(400, 1);
      isFull = false;
      await world.until(Promise.all(calls));
      expect(world.server.values.get('x')).toBe(7n);
      expect(sequences().slice(0, 3)).toEqual([1, 2, 3]);
      expect(sequences().slice(-3)).toEqual([1, 2, 3]);
      expect(sequences().length).toBeLessThan(30);
    }
  });

  it('of unknown outcome is met with the same sequence too, and is applied once', async () => {
    const { world, client, sequences } = await connected();
    world.server.script = once(isAdd, { refuse: 'STORAGE_FULL', outcome: 'unknown', apply: true });
    expect(await world.until(client.increment('x', 3))).toBe(3n);
    expect(sequences()).toEqual([1, 1]);
    expect(client.statistics.repeated).toBe(1);
  });

  it('that outlives its callers is replaced by an empty batch: what they were told not to be known never happens', async () => {
    const { world, client, adds } = await connected({ timeout: 500 });
    let isFull = true;
    world.server.script = (request) => (isAdd(request) && isFull ? { refuse: 'STORAGE_FULL' } : undefined);
    expect(await world.failure(client.increment('x', 3))).toMatchObject({ code: 'TIMEOUT' });
    isFull = false;
    expect(await world.until(client.increment('x', 4))).toBe(4n);
    expect(adds().at(-2)?.sequence?.sequence).toBe(1);
    expect(adds().at(-1)?.sequence?.sequence).toBe(2);
  });

  it('that follows a lost answer is not believed: the batch is sent until its fate is known', async () => {
    const { world, client } = await connected({ timeout: 500 });
    let adds = 0;
    world.server.script = (request): Fault | undefined => {
      if (!isAdd(request)) return undefined;
      adds++;
      if (adds === 1) return { drop: 'after' };
      return adds < 20 ? { refuse: 'OVERLOADED' } : undefined;
    };
    expect(await world.failure(client.increment('x', 3))).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    await world.advance(60_000, 50);
    expect(world.server.values.get('x')).toBe(3n);
    expect(client.statistics.repeated).toBe(1);
    expect(await world.until(client.increment('x', 3))).toBe(6n);
  });

  it('that is final and follows a lost answer has an unknown outcome', async () => {
    const { world, client } = await connected();
    let adds = 0;
    world.server.script = (request): Fault | undefined => {
      if (!isAdd(request) || adds++ > 1) return undefined;
      return adds === 1 ? { drop: 'after' } : { refuse: 'BAD_REQUEST' };
    };
    expect(await world.failure(client.increment('x', 3))).toMatchObject({ code: 'BAD_REQUEST', outcome: 'unknown' });
    // the empty batch meets SEQUENCE_CONFLICT, and the next one passes
    expect(await world.until(client.increment('x'))).toBe(4n);
  });

  it('is followed by nothing until all that was on its way is answered, for a late gap would be misread', async () => {
    const { world, client, sequences } = await connected();
    world.server.script = (request): Fault | undefined => {
      if (sequences().length > 4) return undefined;
      if (request.sequence?.sequence === 2) return { refuse: 'BAD_REQUEST' };
      return request.sequence?.sequence === 3 ? { delay: 1000 } : undefined;
    };
    const calls = await batches(world, client, 4);
    await world.advance(900, 10);
    expect(sequences()).toEqual([1, 2, 3, 4]);
    await world.until(Promise.all(calls));
    expect(sequences()).toEqual([1, 2, 3, 4, 2, 3, 4]);
    expect(client.statistics.reconnections).toBe(0);
  });

  it('that is final and follows a refusal of unknown outcome has an unknown outcome', async () => {
    const { world, client, sequences } = await connected();
    const faults: Fault[] = [{ refuse: 'STORAGE_FULL', outcome: 'unknown', apply: true }, { refuse: 'BAD_REQUEST' }];
    world.server.script = (request) => (isAdd(request) ? faults[sequences().length - 1] : undefined);
    expect(await world.failure(client.increment('x', 3))).toMatchObject({ code: 'BAD_REQUEST', outcome: 'unknown' });
    expect(await world.until(client.increment('x'))).toBe(4n);
  });

  it('by a gap before the oldest unanswered batch makes the client ask anew where it stands', async () => {
    const { world, client } = await connected();
    world.server.script = once(isAdd, { refuse: 'SEQUENCE_GAP' });
    expect(await world.until(client.increment('x'))).toBe(1n);
    expect(client.statistics.reconnections).toBe(1);
  });

  it('with another payload under the sequence reaches the callers', async () => {
    const { world, client } = await connected();
    world.server.script = once(isAdd, { refuse: 'SEQUENCE_CONFLICT' });
    expect(await world.failure(client.increment('x'))).toMatchObject({ code: 'SEQUENCE_CONFLICT', outcome: 'refused' });
  });
});

describe('an answer that is no longer kept', () => {
  it('is an error of outcome applied to who waits for a value, and a success to who adds', async () => {
    const { world, client } = await connected();
    for (const partition of world.server.partitions) partition.keepsAnswers = false;
    world.server.script = once(isAdd, { drop: 'after' });
    expect(await world.failure(client.increment('x'))).toMatchObject({ code: 'ALREADY_APPLIED', outcome: 'applied' });
    world.server.script = once(isAdd, { drop: 'after' });
    client.counter('y').add(7);
    await world.until(client.flush());
    expect(world.server.values.get('y')).toBe(7n);
  });
});

describe('the window', () => {
  it('is never exceeded, and `unanswered` tells the truth', async () => {
    const { world, client, adds } = await connected({}, { limits: { window: 8 } });
    world.server.holdsFlushes = true;
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 40; i++) calls.push(client.batchTo(0, [{ name: 'x' }]));
    await world.settle();
    expect(adds()).toHaveLength(8);
    expect(adds().map((request) => request.sequence?.unanswered)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    world.server.flush();
    await world.settle();
    expect(adds()).toHaveLength(16);
    world.server.holdsFlushes = false;
    world.server.scheduleFlush();
    await world.until(Promise.all(calls));
    expect(Math.max(...adds().map((request) => request.sequence?.unanswered ?? 0))).toBe(7);
  });

  it('counts from the oldest unanswered batch, not from the last answered one', async () => {
    const { world, client, adds } = await connected();
    world.server.script = once(sequence(2), { delay: 1000 });
    const calls = await batches(world, client, 4);
    expect(await Promise.race([calls[3], Promise.resolve('nothing')])).not.toBe('nothing');
    const call = client.increment('x');
    await world.settle();
    expect(adds().at(-1)?.sequence).toMatchObject({ sequence: 5, unanswered: 3 });
    await world.until(Promise.all([...calls, call]));
    await world.until(client.increment('x'));
    expect(adds().at(-1)?.sequence).toMatchObject({ sequence: 6, unanswered: 0 });
  });

  it('counts requests of the connection as well', async () => {
    const { world, client } = await connected({}, { limits: { inFlight: 3 } });
    world.server.holdsFlushes = true;
    const calls: Promise<unknown>[] = [client.get('x')];
    for (let i = 0; i < 9; i++) calls.push(client.batchTo(0, [{ name: 'x' }]));
    await world.settle();
    expect(world.server.seen.filter(({ opcode }) => opcode !== Opcode.HELLO)).toHaveLength(3);
    world.server.holdsFlushes = false;
    world.server.flush();
    await world.until(Promise.all(calls));
    expect(world.server.values.get('x')).toBe(9n);
  });
});

describe('a fenced producer', () => {
  it('fails all that is outstanding with an unknown outcome, and is closed', async () => {
    const world = new Harness();
    const first = await world.connect({ producer: 'loader' });
    world.server.script = once(isAdd, { delay: 100_000 });
    const outstanding = world.failure(first.increment('x'));
    await world.settle();
    const second = await world.connect({ producer: 'loader' });
    world.server.dropConnections();
    expect(await outstanding).toMatchObject({ code: 'PRODUCER_FENCED', outcome: 'unknown' });
    expect(await world.failure(first.increment('x'))).toMatchObject({ code: 'CLOSED', outcome: 'refused' });
    expect(await world.failure(first.get('x'))).toMatchObject({ code: 'CLOSED' });
    expect(() => first.counter('x').add(1)).toThrow(/CLOSED/);
    expect(await world.until(second.increment('x'))).toBeTypeOf('bigint');
    await world.until(first.close());
  });

  it('learns it from the answer to a batch as well', async () => {
    const world = new Harness({ lanes: 1, partitions: 1 });
    const first = await world.connect({ producer: 'loader' });
    await world.connect({ producer: 'loader' });
    first.counter('x').add(3);
    const error = await world.failure(first.flush());
    expect(error).toMatchObject({ code: 'FLUSH_FAILED' });
    expect(error).toMatchObject({ failed: [{ name: 'x', delta: 3n, code: 'PRODUCER_FENCED', outcome: 'unknown' }] });
  });

  it('is told apart from one that the server does not know', async () => {
    const { world, client } = await connected();
    for (const partition of world.server.partitions) partition.forgetProducers();
    world.server.script = once(isAdd, { drop: 'before' });
    expect(await world.failure(client.increment('x'))).toMatchObject({ code: 'PRODUCER_UNKNOWN', outcome: 'unknown' });
  });
});

describe('the flags of a batch', () => {
  it('say how it is numbered, answered and acknowledged', async () => {
    const { world, client, adds } = await connected();
    await world.until(client.increment('x', 1, { ack: 'applied' }));
    client.counter('x').add();
    await world.until(client.flush());
    await world.until(client.batch([{ name: 'x' }], { atomic: true }));
    const { SEQUENCED, VALUES, APPLIED, ATOMIC } = Flag;
    expect(adds().map(({ flags }) => flags)).toEqual([
      SEQUENCED | VALUES | APPLIED,
      SEQUENCED,
      SEQUENCED | VALUES | ATOMIC,
    ]);
  });
});
