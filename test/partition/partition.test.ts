import { describe, expect, test } from 'vitest';
import { ERRORS, OK, TallystickError } from '../../src/errors.js';
import { ChecksummedBuffer } from '../../src/log/checksum.js';
import { Kind, PAGE_BYTES, Partition, type ProducerState } from '../../src/partition/partition.js';
import { Watch } from '../../src/partition/touched.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import { configuration, differences, idOf, Kernel, module, restore, START } from '../kernel/fixture.js';

const oneStep = Uint8Array.of(1, 4, 97, 2);
const oneRead = Uint8Array.of(1, 4, 97);

describe('A partition', () => {
  test('before its configuration refuses everything and has no state', () => {
    const partition = new Partition(module);
    for (const kind of [Opcode.ADD, Opcode.SET, Opcode.OPEN, Kind.OPEN_PRODUCER, Kind.TICK]) {
      expect(partition.apply(kind, 0, 0, 0, START, kind === Kind.TICK ? new Uint8Array() : oneStep)).toBe(
        ERRORS.BAD_REQUEST.status,
      );
    }
    expect(partition.read(oneRead)).toBe(ERRORS.BAD_REQUEST.status);
    expect(partition.producer(idOf(1))).toBeUndefined();
    expect(partition.state.length).toBe(0);
    expect(partition.sequence).toBe(0);
  });

  test('takes other limits later, but never another place or secret', () => {
    const { partition } = new Kernel();
    const more = { ...configuration, maximumPages: 5000, maximumProducers: 7 };
    expect(partition.hasLimits(configuration)).toBe(true);
    expect(partition.hasLimits(more)).toBe(false);
    expect(partition.configure(more, START)).toHaveLength(64);
    expect(partition.hasLimits(more)).toBe(true);
    const hash = partition.stateHash;
    for (const other of [{ partitions: 2 }, { partition: 1, partitions: 2 }, { secret: new Uint8Array(16) }]) {
      expect(() => partition.configure({ ...configuration, ...other }, START)).toThrow(TallystickError);
    }
    expect(partition.stateHash).toBe(hash);
    expect(partition.hasLimits(more)).toBe(true);
  });

  test('takes bodies of up to a mebibyte', () => {
    const { partition } = new Kernel();
    const body = new Uint8Array(1_048_577);
    expect(() => partition.apply(Opcode.ADD, 0, 0, 0, START, body)).toThrow(RangeError);
    expect(partition.apply(Opcode.ADD, 0, 0, 0, START, body.subarray(1))).toBe(ERRORS.BAD_REQUEST.status);
  });

  test('shows the answer of the last call alone', () => {
    const { partition } = new Kernel();
    expect(partition.apply(Opcode.ADD, 0, 0, 0, START, oneStep)).toBe(OK);
    expect([...partition.answer]).toEqual([0]);
    expect(partition.read(oneRead)).toBe(OK);
    expect([...partition.answer]).toEqual([1, 0, 2]);
    expect(partition.read(oneRead.subarray(1))).not.toBe(OK);
    expect([...partition.answer]).toEqual([]);
  });

  test('counts what it holds and what it did', () => {
    const kernel = new Kernel();
    kernel.step('a', 1n);
    kernel.step('a', -2n, { min: 0n });
    kernel.open(['b']);
    kernel.step('c', 1n, { operationId: idOf(1) });
    kernel.openProducer(idOf(1));
    const { memoryBytes, ...rest } = kernel.partition.statistics;
    const counts = {
      sequence: 6,
      counters: 2,
      slots: 3,
      names: 3,
      producers: 1,
      operationIds: 1,
      applied: 2,
      refused: 1,
    };
    expect(rest).toEqual({ ...counts, tracks: 0, windowBytes: 0 });
    expect(memoryBytes).toBe(kernel.partition.state.length + 0x600000);
  });

  test('needs ticks while there is a producer or an operation id, and no longer', () => {
    const kernel = new Kernel({ producerIdleMilliseconds: 1000 });
    const { partition } = kernel;
    expect(partition.needsTicks).toBe(false);
    kernel.openProducer(idOf(1));
    expect(partition.needsTicks).toBe(true);
    kernel.tick(START + 1000);
    expect(partition.needsTicks).toBe(false);
    kernel.step('a', 1n, { operationId: idOf(1) });
    expect(partition.needsTicks).toBe(true);
    kernel.tick(START + 601_000);
    expect(partition.needsTicks).toBe(false);
  });

  test('grows its memory under the feet of a view that was taken before', () => {
    const kernel = new Kernel();
    kernel.step('a', 5n);
    const before = kernel.partition.statistics.memoryBytes;
    for (let batch = 0; batch < 20; batch++) {
      kernel.add({
        operations: Array.from({ length: 5000 }, (_, i) => ({ key: { name: `${batch}/${i}` }, delta: 1n })),
      });
    }
    expect(kernel.partition.statistics.memoryBytes).toBeGreaterThan(before + 20 * PAGE_BYTES);
    expect(kernel.value('a')).toBe(5n);
    expect(kernel.value('19/4999')).toBe(1n);
  });
});

describe('The pages of a state', () => {
  const filled = () => {
    const kernel = new Kernel();
    kernel.add({ operations: Array.from({ length: 9000 }, (_, i) => ({ key: { name: `${i}` }, delta: 1n })) });
    return kernel;
  };

  test('are those from the header to the last one taken, as the whole state has them', () => {
    const { partition } = filled();
    const { state, pages } = partition;
    expect(pages).toBeGreaterThan(5);
    expect(pages * PAGE_BYTES).toBe(state.length);
    for (let page = 0; page < pages; page++) {
      const expected = state.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      expect([page, differences(partition.page(page), expected)]).toEqual([page, []]);
    }
    expect(new Partition(module).pages).toBe(0);
  });

  test('have the hash of their bytes, one by one or many at a time', () => {
    const { partition } = filled();
    const { state, pages } = partition;
    const checksums = new ChecksummedBuffer(state.length);
    checksums.bytes.set(state);
    for (const [first, count] of [...Array.from({ length: pages }, (_, page) => [page, 1]), [1, 3], [2, pages - 2]]) {
      const [from, bytes] = [(first as number) * PAGE_BYTES, (count as number) * PAGE_BYTES];
      expect(partition.hashPages(first as number, count as number)).toBe(checksums.xxh64(from, bytes));
    }
    expect(partition.hashPages(0, pages)).toBe(partition.stateHash);
  });

  test('change their hash where a counter lies that changed, and there alone', () => {
    const kernel = filled();
    const { partition } = kernel;
    const hashes = () => Array.from({ length: partition.pages }, (_, page) => partition.hashPages(page, 1));
    const before = hashes();
    kernel.step('8999', 1n);
    const changed = hashes().flatMap((hash, page) => (hash === before[page] ? [] : [page]));
    expect(changed).toHaveLength(2); // the header's, with the sequence, and the slot's
    expect(changed[0]).toBe(0);
  });

  test.each([
    [0, 0],
    [-1, 1],
    [0.5, 1],
    [0, 1e6],
    [1e6, 1],
  ])('that are not there are refused: %d, %d', (first, count) => {
    const { partition } = filled();
    expect(() => partition.hashPages(first, count)).toThrow(RangeError);
    if (count === 1) expect(() => partition.page(first)).toThrow(RangeError);
  });
});

describe('Restoring', () => {
  const state = () => {
    const kernel = new Kernel();
    kernel.add({ operations: Array.from({ length: 9000 }, (_, i) => ({ key: { name: `${i}` }, delta: BigInt(i) })) });
    return kernel.partition.state;
  };

  test('brings values, sequence and statistics back', () => {
    const partition = new Partition(module);
    restore(partition, state());
    expect(partition.read(Uint8Array.of(1, 16, 56, 57, 57, 57))).toBe(OK); // the counter `8999`
    expect([...partition.answer]).toEqual([1, 0, 0xce, 0x8c, 0x01]);
    expect(partition.statistics).toMatchObject({ sequence: 2, counters: 9000, applied: 9000 });
    expect(partition.hasLimits(configuration)).toBe(true);
  });

  test('is of pages, and nothing shows before the header is there', () => {
    const partition = new Partition(module);
    const whole = state();
    const pages = whole.length / PAGE_BYTES;
    for (let page = 1; page < pages; page++) {
      partition.restorePage(page, pages, whole.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
      expect([partition.sequence, partition.pages]).toEqual([0, 0]);
    }
    partition.restorePage(0, pages, whole.subarray(0, PAGE_BYTES));
    expect(differences(partition.state, whole)).toEqual([]);
  });

  test('refuses a header that is none of this kernel, and pages that are none', () => {
    const good = state();
    const header = good.subarray(0, PAGE_BYTES);
    const pages = good.length / PAGE_BYTES;
    for (const at of [0, 4, 16]) {
      const spoiled = header.slice();
      spoiled[at] = (spoiled[at] as number) ^ 1;
      expect(() => new Partition(module).restorePage(0, pages, spoiled)).toThrow('DIRECTORY_INVALID');
    }
    expect(() => new Partition(module).restorePage(0, pages + 1, header)).toThrow('DIRECTORY_INVALID');
    for (const [index, bytes] of [
      [-1, header],
      [pages, header],
      [0, header.subarray(1)],
    ] as const) {
      expect(() => new Partition(module).restorePage(index, pages, bytes)).toThrow(RangeError);
    }
  });

  test('is for a partition to which nothing was applied, and one that was reset is such a one', () => {
    const { partition } = new Kernel();
    partition.apply(Opcode.ADD, 0, 0, 0, START, oneStep);
    expect(() => restore(partition, state())).toThrow(RangeError);
    partition.reset();
    expect([partition.sequence, partition.pages]).toEqual([0, 0]);
    restore(partition, state());
    expect(differences(partition.state, state())).toEqual([]);
  });

  /** The same bodies give the same memory as in a new partition. */
  function expectLikeNew(used: Partition): void {
    const fresh = new Partition(module);
    for (const partition of [used, fresh]) {
      partition.configure(configuration, START);
      partition.apply(Opcode.ADD, 0, 0, 0, START, oneStep);
    }
    expect(differences(used.state, fresh.state)).toEqual([]);
  }

  test('after a reset the same bodies give the same memory as in a new partition', () => {
    const used = new Partition(module);
    restore(used, state());
    used.reset();
    expectLikeNew(used);
  });

  test('after a reset nothing is left of pages whose header did not come', () => {
    const used = new Partition(module);
    const whole = state();
    const pages = whole.length / PAGE_BYTES;
    for (let page = 1; page < pages; page++) {
      used.restorePage(page, pages, whole.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
    }
    used.reset();
    expectLikeNew(used);
  });
});

describe('New memory', () => {
  /** It is refused, but it lay there. */
  const LONG = new Uint8Array(16_384);
  const memoryOf = (partition: Partition) => partition.marks.words.buffer;
  /** Of a partition of its own, with some of everything that has a place in the state; takes new memory after each call, or never. */
  const run = (isRenewed: boolean) => {
    const kernel = new Kernel();
    const { partition } = kernel;
    const session = { ...(kernel.openProducer(idOf(1)).answer as ProducerState) };
    const answers: unknown[] = [];
    for (let round = 0; round < 30; round++) {
      const operations = Array.from({ length: 400 }, (_, i) => ({
        key: { name: `n${round % 3 ? i : i * round}` },
        delta: BigInt(i - round),
        ...(i % 9 === 0 && { operationId: idOf(1_000 * round + i) }),
      }));
      const sequence = { sequence: round + 1, unanswered: round % 3, cursor: Uint8Array.of(round) };
      for (const _ of ['new', 'repeated']) answers.push(kernel.add({ operations, sequence }, Flag.VALUES, session));
      if (round % 4 === 3) answers.push(kernel.delete({ key: { name: `n${round}` }, reason: 'r' }));
      if (!isRenewed) continue;
      partition.apply(Opcode.ADD, 0, 0, 0, START, LONG);
      const before = memoryOf(partition);
      partition.renewMemory();
      expect(memoryOf(partition)).not.toBe(before);
    }
    answers.push(kernel.get([{ name: 'n1' }, { name: 'n399' }]), partition.producer(idOf(1)), partition.statistics);
    return { answers, state: partition.state };
  };

  test('has the state of the old one, byte for byte, and what comes then gives the same', () => {
    const [plain, renewed] = [run(false), run(true)];
    expect(renewed.answers.length).toBeGreaterThan(30);
    expect(renewed.answers).toEqual(plain.answers);
    expect(differences(renewed.state, plain.state)).toEqual([]);
  });

  test('is taken once for what touched the old one', () => {
    const { partition } = new Kernel();
    const first = memoryOf(partition);
    partition.apply(Opcode.ADD, 0, 0, 0, START, LONG.subarray(1));
    partition.renewMemory();
    expect(memoryOf(partition)).toBe(first);
    partition.apply(Opcode.ADD, 0, 0, 0, START, LONG);
    partition.renewMemory();
    const second = memoryOf(partition);
    expect(second).not.toBe(first);
    expect(new Uint8Array(second, 0x1000, LONG.length).every((byte) => byte === 0)).toBe(true);
    partition.renewMemory();
    expect(memoryOf(partition)).toBe(second);
  });

  test('is not taken while marks lie in the old one, nor for a state that is large', () => {
    const { partition } = new Kernel();
    const first = memoryOf(partition);
    partition.apply(Opcode.ADD, 0, 0, 0, START, LONG);
    for (const how of [Watch.MARKS, Watch.ENTRIES, Watch.NOT]) {
      partition.watch(how);
      partition.renewMemory();
      expect(memoryOf(partition) === first).toBe(how !== Watch.NOT);
    }
    const large = new Kernel();
    large.watched = false;
    const names = (from: number) => Array.from({ length: 10_000 }, (_, i) => `${from + i}-${'x'.repeat(40)}`);
    for (let from = 0; large.partition.pages <= 64; from += 10_000) large.open(names(from));
    const before = memoryOf(large.partition);
    large.partition.renewMemory();
    expect(memoryOf(large.partition)).toBe(before);
  });
});
