import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OK } from '../../src/errors.js';
import { Kind, PAGE_BYTES, Partition } from '../../src/partition/partition.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  decodeAdd,
  decodeDelete,
  decodeList,
  decodeSet,
  encodeAdd,
  encodeDelete,
  encodeList,
  encodeSet,
  type Key,
} from '../../src/protocol/request.js';
import { applyTo, bodyOf, type Call, configuration, idOf, Kernel, module, NOBODY, replay, START } from './fixture.js';
import { operation } from './random-calls.js';

/** Any bytes as any body: never a trap, and what is refused leaves no trace. */

/** xorshift32: as fast as the kernel, and a failure is seen again by its seed. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }
}

const KINDS = [
  Opcode.ADD,
  Opcode.ADD,
  Kind.STEPS,
  Opcode.ADD,
  Opcode.SET,
  Opcode.DELETE,
  Opcode.OPEN,
  Opcode.GET,
  Opcode.LIST,
  Opcode.SEE,
  Opcode.ONCE,
  Kind.KEEP,
  Kind.BRING,
  Kind.OPEN_PRODUCER,
  Kind.TICK,
  255,
];
const FLAGS = [0, 0, Flag.SEQUENCED, Flag.ATOMIC, Flag.VALUES, Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED, 255];
const SPECIAL = [0, 1, 2, 3, 4, 6, 7, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/** A valid body with a few bytes changed, cut, doubled or put in. */
function mutate(random: Random, body: Uint8Array): Uint8Array {
  let bytes = body;
  for (let changes = random.below(4); changes > 0; changes--) {
    const at = random.below(bytes.length + 1);
    const what = random.below(5);
    if (what === 0) bytes = bytes.slice(0, at);
    else if (what === 1)
      bytes = Uint8Array.from([...bytes.subarray(0, at), random.pick(SPECIAL), ...bytes.subarray(at)]);
    else if (what === 2) bytes = Uint8Array.from([...bytes, ...bytes.subarray(at)]);
    else {
      bytes = bytes.slice();
      if (at < bytes.length) bytes[at] = what === 3 ? random.pick(SPECIAL) : random.below(256);
    }
  }
  return bytes.length > 3000 ? bytes.subarray(0, 3000) : bytes;
}

interface Attempt {
  readonly kind: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

/** Calls without end, and looks at the state around each row of calls of which none was applied. */
function hammer(seed: number, calls: number, next: (random: Random) => Attempt): Kernel {
  const random = new Random(seed);
  const kernel = new Kernel({ maximumPages: 124, maximumOperationIds: 500 });
  kernel.watched = false;
  let sessions = [NOBODY];
  let hash = kernel.partition.stateHash;
  let row = 0;
  for (let i = 0; i < calls; i++) {
    if (i % 1000 === 0) {
      sessions = [1, 2, 3].map((id) => kernel.openProducer(idOf(id)).answer ?? NOBODY);
      row = 0;
    }
    const { kind, flags, body } = next(random);
    const status = kernel.call(kind, flags, random.pick(sessions), START + i, body);
    kernel.partition.read(body);
    kernel.partition.list(body);
    if (status === OK) {
      row = 0;
    } else if (row++ === 0) {
      hash = kernel.partition.stateHash;
    } else if (row % 8 === 0) {
      expect(kernel.partition.stateHash).toBe(hash);
    }
  }
  return kernel;
}

describe('Any bytes as a body', () => {
  const adds = fc.sample(fc.array(operation, { maxLength: 6 }), { numRuns: 200, seed: 7 }).map((operations, i) => ({
    operations,
    sequence: { sequence: (i % 20) + 1, unanswered: i % 3 && i % 20, cursor: idOf(i) },
  }));
  const sets = adds.map(({ operations, sequence }, i) => {
    const [{ key, delta: value } = { key: { name: 'a' }, delta: 7n }] = operations;
    return { sequence, key, value, reason: 'because', ...(i % 2 && { expect: 0n }) };
  });
  const deletes = sets.map(({ value, ...rest }) => rest);
  const plain = {
    add: adds.map(({ operations }) => bodyOf(encodeAdd, { operations })),
    set: sets.map(({ sequence, ...rest }) => bodyOf(encodeSet, rest)),
    delete: deletes.map(({ sequence, ...rest }) => bodyOf(encodeDelete, rest)),
    list: adds.map((_, i) => bodyOf(encodeList, { prefix: new Uint8Array(i % 3).fill(97), cursor: i, limit: i + 1 })),
  };
  const { SEQUENCED, ATOMIC, VALUES } = Flag;
  const corpus: Attempt[] = [
    ...plain.add.map((body, i) => ({ kind: Opcode.ADD, flags: [0, ATOMIC, VALUES][i % 3] ?? 0, body })),
    ...adds.map((add, i) => ({ kind: Opcode.ADD, flags: SEQUENCED | (i % 2 && VALUES), body: bodyOf(encodeAdd, add) })),
    ...plain.set.map((body) => ({ kind: Opcode.SET, flags: 0, body })),
    ...sets.map((set) => ({ kind: Opcode.SET, flags: SEQUENCED, body: bodyOf(encodeSet, set) })),
    ...plain.delete.map((body) => ({ kind: Opcode.DELETE, flags: 0, body })),
    ...deletes.map((gone) => ({ kind: Opcode.DELETE, flags: SEQUENCED, body: bodyOf(encodeDelete, gone) })),
    ...plain.list.map((body) => ({ kind: Opcode.LIST, flags: 0, body })),
    ...adds.map((_, i) => ({ kind: Opcode.OPEN, flags: 0, body: Uint8Array.of(2, 4, 97, 8, 98, i % 128) })),
    ...adds.map((_, i) => ({ kind: Kind.OPEN_PRODUCER, flags: 0, body: Uint8Array.of(...idOf(i), i % 2) })),
  ];

  test.each([1, 2, 3])('mutated from valid ones: no trap, and no trace of what was refused (seed %i)', (seed) => {
    const kernel = hammer(seed, 70_000, (random) => {
      const { kind, flags, body } = random.pick(corpus);
      const asMeant = random.below(8) > 0;
      return {
        kind: asMeant ? kind : random.pick(KINDS),
        flags: asMeant ? flags : random.pick(FLAGS),
        body: mutate(random, body),
      };
    });
    expect(kernel.log.length).toBeGreaterThan(5_000);
    expect(kernel.log.length).toBeLessThan(60_000);
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('at random: the same', () => {
    const kernel = hammer(4, 100_000, (random) => {
      const body = new Uint8Array(random.below(4) ? random.below(24) : random.below(300));
      for (let i = 0; i < body.length; i++) body[i] = random.below(2) ? random.pick(SPECIAL) : random.below(256);
      return { kind: random.pick(KINDS), flags: random.pick(FLAGS), body };
    });
    expect(replay(kernel.log).stateHash).toBe(kernel.partition.stateHash);
  });

  test('of a whole mebibyte: the same', () => {
    const kernel = new Kernel();
    const random = new Random(5);
    for (const fill of [0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0x81, 0xfc, 0xff, -1, -1, -1]) {
      const body = new Uint8Array(1_048_576).fill(fill);
      if (fill < 0) for (let i = 0; i < body.length; i++) body[i] = random.below(4) ? 4 : random.below(256);
      for (const kind of new Set([...KINDS, Kind.CONFIGURE])) {
        for (const flags of FLAGS) {
          kernel.call(kind, flags, NOBODY, START, body);
          body[0] = random.below(256);
        }
      }
      kernel.partition.read(body);
      kernel.partition.list(body);
    }
  });

  test('as a configuration: refused or taken, and whatever follows does not trap', () => {
    const [valid] = new Kernel().log as [Call];
    const random = new Random(6);
    for (let i = 0; i < 400; i++) {
      const partition = new Partition(module);
      for (let again = 0; again < 3; again++) {
        const body = valid.body.slice();
        for (let changes = random.below(5); changes > 0; changes--) body[24 + random.below(32)] = random.pick(SPECIAL);
        applyTo(partition, { ...valid, body });
        const operations = Array.from({ length: 50 }, (_, i) => ({
          key: { name: `${i}` },
          delta: 1n,
          operationId: idOf(i),
        }));
        applyTo(partition, { ...valid, kind: Opcode.ADD, body: bodyOf(encodeAdd, { operations }) });
        applyTo(partition, { ...valid, kind: Kind.OPEN_PRODUCER, body: new Uint8Array(17) });
        applyTo(partition, { ...valid, kind: Kind.TICK, body: new Uint8Array() });
      }
    }
  });

  test('is taken by the kernel exactly when the codecs take it', () => {
    const random = new Random(8);
    const kernel = new Kernel();
    kernel.watched = false;
    const call = (kind: number) => (body: Uint8Array) => kernel.call(kind, 0, NOBODY, START, body);
    const formats: Format[] = [
      {
        bodies: plain.add,
        call: call(Opcode.ADD),
        keys: (body) => decodeAdd(body, 0).operations.map(({ key }) => key),
      },
      { bodies: plain.set, call: call(Opcode.SET), keys: (body) => [decodeSet(body, 0).key] },
      { bodies: plain.delete, call: call(Opcode.DELETE), keys: (body) => [decodeDelete(body, 0).key] },
      { bodies: plain.list, call: (body) => kernel.partition.list(body), keys: (body) => decodeList(body) && [] },
    ];
    const taken = formats.map(() => 0);
    for (let i = 0; i < 60_000; i++) {
      const which = i % formats.length;
      const { bodies, call, keys } = formats[which] as Format;
      const body = mutate(random, random.pick(bodies));
      const status = call(body);
      const decoded = attempt(() => keys(body));
      // Numbers of a key past 32 bits are the one difference: no id has them.
      const isWide = decoded?.keys.some((key) => 'slot' in key && (key.slot >= 2 ** 32 || key.generation >= 2 ** 32));
      if ((decoded !== undefined) !== (status === OK) && !isWide) {
        throw new Error(`${which}: status ${status}, decoded ${decoded}: ${Buffer.from(body).toString('hex')}`);
      }
      taken[which] = (taken[which] as number) + (status === OK ? 1 : 0);
    }
    expect(Math.min(...taken)).toBeGreaterThan(3_000);
    expect(kernel.partition.statistics.memoryBytes).toBeLessThanOrEqual(configuration.maximumPages * PAGE_BYTES);
  });
});

/** A body's way into the kernel, and its codec: the keys that it has. */
interface Format {
  readonly bodies: readonly Uint8Array[];
  readonly call: (body: Uint8Array) => number;
  readonly keys: (body: Uint8Array) => readonly Key[];
}

function attempt(decode: () => readonly Key[]): { readonly keys: readonly Key[] } | undefined {
  try {
    return { keys: decode() };
  } catch {
    return undefined;
  }
}
