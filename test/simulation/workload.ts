import { rowMilliseconds } from '../../src/history/bucket.js';
import { ByteWriter } from '../../src/protocol/bytes.js';
import { type ExpireRequest, encodeExpire } from '../../src/protocol/expiry.js';
import { encodeOnce, type OnceOperation } from '../../src/protocol/once.js';
import { Flag, Opcode } from '../../src/protocol/opcode.js';
import {
  type DeleteRequest,
  type Expiry,
  encodeAdd,
  encodeDelete,
  encodeGet,
  encodeList,
  encodeOpen,
  encodeSet,
  type Key,
  OPERATION_ID_BYTES,
  type Operation,
  type SetRequest,
} from '../../src/protocol/request.js';
import { decodeListAnswer, decodeOpenAnswer } from '../../src/protocol/response.js';
import { encodeSee, encodeUniques } from '../../src/protocol/uniques.js';
import { bodyOf, type Link, refusalOf } from './link.js';
import type { Answer } from './requests.js';
import { EPOCH, LEDGER_NAMES, LONG_AGO, MIXED_NAMES, MODEL_OPTIONS, PARTITIONS, UNIQUE_DAYS } from './shape.js';
import { MAY_REFUSE, SimClient } from './sim-client.js';
import type { Batch, BatchContent } from './stream.js';
import type { World } from './world.js';

/** What the clients of a simulation want: sequenced batches above all, and a bit of everything else. */

const ACTIONS = {
  batch: 55,
  'sequenced change': 5,
  'operation with an id': 8,
  'loose write': 6,
  'counted once': 9,
  seen: 12,
  'unique items': 14,
  read: 14,
  open: 5,
  list: 2,
  sync: 2,
  nonsense: 2,
  'late retry': 3,
} as const;

/** Of one counter; as often as they are here. */
const CHANGES = [Opcode.SET, Opcode.SET, Opcode.DELETE, Opcode.EXPIRE] as const;
/** So many batches a client keeps before it makes more. */
const MOST_KEPT = 16;
/** Operation ids that are tried again. */
const REMEMBERED = 6;

/** Of the times that increments bring: all of one day, so that a life sees it rolled up. */
const MINUTES_LONG_AGO = 10 * 60;

/** An operation with an id, as it is sent each time. */
interface IdentifiedOperation {
  readonly partition: number;
  readonly body: Uint8Array;
}

export class Workload {
  readonly clients: readonly SimClient[];
  /** The sums of the counters that only safe batches change: what every client was told came of its batches. */
  readonly ledger = new Map<string, bigint>();
  readonly #world: World;
  readonly #ids = PARTITIONS.map(() => new Map<string, Key>());
  readonly #identified: IdentifiedOperation[] = [];

  constructor(world: World) {
    this.#world = world;
    const safe = (name: string, producer: { id: Uint8Array } | { name: string }) =>
      new SimClient(world, {
        name,
        producer,
        isRaced: false,
        isDirect: world.random.chance(0.5),
        content: (partition) => this.#content(partition, LEDGER_NAMES[partition] as string[]),
        onDone: (batch) => this.#enter(batch),
      });
    const raced = (name: string) =>
      new SimClient(world, {
        name,
        producer: { name: 'raced' },
        isRaced: true,
        isDirect: world.random.chance(0.5),
        content: (partition) => this.#content(partition, MIXED_NAMES[partition] as string[]),
        onDone: () => {},
      });
    const id = world.random.bytes(16);
    this.clients = [safe('anonymous', { id }), safe('named', { name: 'safe' }), raced('left'), raced('right')];
  }

  get isIdle(): boolean {
    return this.clients.every((client) => client.isIdle);
  }

  /** One client does something. */
  act(): void {
    const { random } = this.#world;
    const client = random.pick(this.clients);
    const partition = random.pick(PARTITIONS);
    client.connect();
    const link = client.link(partition);
    const action = random.weighted(ACTIONS);
    if (action === 'batch') this.#batch(client, partition);
    else if (action === 'counted once') this.#countOnce(client, link, partition);
    else if (action === 'seen') this.#see(client, link, partition);
    else if (!link) return;
    else if (action === 'unique items') this.#uniques(link, partition);
    else if (action === 'sequenced change') this.#sequencedChange(client, partition);
    else if (action === 'operation with an id') this.#identifiedOperation(link, partition);
    else if (action === 'loose write') this.#looseWrite(link, partition);
    else if (action === 'read') this.#read(link, partition);
    else if (action === 'open') this.#open(link, partition);
    else if (action === 'list') this.#list(link, partition);
    else if (action === 'sync') client.sync(link);
    else if (action === 'nonsense') this.#nonsense(link, partition);
    else if (client.retryOld(partition)) this.#world.tally['late retry']++;
  }

  // --- sequenced ---

  #batch(client: SimClient, partition: number): void {
    const stream = client.streams[partition];
    if (!stream || stream.kept.length >= MOST_KEPT) return;
    const content = client.options.content(partition);
    this.#world.operations += content.operations.length;
    client.write(partition, content, this.#world.random.chance(0.3));
  }

  #sequencedChange(client: SimClient, partition: number): void {
    const stream = client.streams[partition];
    if (!stream || stream.kept.length >= MOST_KEPT) return;
    this.#world.operations++;
    const opcode = this.#world.random.pick(CHANGES);
    const content =
      opcode === Opcode.DELETE
        ? { opcode, delete: this.#deleteRequest(partition) }
        : opcode === Opcode.SET
          ? { opcode, set: this.#setRequest(partition) }
          : { opcode, expire: this.#expireRequest(partition) };
    client.write(partition, { ...content, flags: 0, operations: [] }, this.#world.random.chance(0.3));
  }

  #content(partition: number, names: readonly string[]): BatchContent {
    const { random } = this.#world;
    const flags = (random.chance(0.25) ? Flag.ATOMIC : 0) | (random.chance(0.5) ? Flag.VALUES : 0);
    const isLong = random.chance(0.005);
    const count = isLong ? 300 : random.chance(0.03) ? 0 : random.between(1, 10);
    const operations = Array.from({ length: count }, () => this.#operation(partition, names));
    const cursor = random.chance(0.3) ? random.bytes(random.between(1, 12)) : undefined;
    return { opcode: Opcode.ADD, flags, operations, ...(cursor && { cursor }) };
  }

  #operation(partition: number, names: readonly string[]): Operation {
    const { random } = this.#world;
    const name = random.pick(names);
    const id = random.chance(0.3) ? this.#ids[partition]?.get(name) : undefined;
    const delta = random.chance(0.03) ? random.i64() : BigInt(random.between(-20, 100));
    const bounds = {
      ...(random.chance(0.1) && { min: BigInt(random.between(-50, 50)) }),
      ...(random.chance(0.1) && { max: BigInt(random.between(100, 3_000)) }),
    };
    // Other names have no history, and take no such time.
    const isLate = name.includes('1') && random.chance(0.2);
    const block = random.chance(0.5) ? 0 : rowMilliseconds('day');
    const time = isLate && { time: LONG_AGO + block + random.between(0, MINUTES_LONG_AGO) * 60_000 };
    const expiry = name.startsWith('mixed') && random.chance(0.05) && { expiry: this.#expiry() };
    return { key: id ?? { name }, delta, ...bounds, ...time, ...expiry };
  }

  #expiry(): Expiry {
    const { random, clock } = this.#world;
    if (random.chance(0.1)) return { never: true };
    const ifNone = random.chance(0.4) && { ifNone: true };
    if (random.chance(0.6)) return { in: random.between(0, 1_500), ...ifNone };
    return { at: Math.max(0, clock.wall + random.between(-200, 1_500)), ...ifNone };
  }

  /** Enters a durable batch: the only place where the ledger's sums come from. */
  #enter({ partition, content: { operations }, ending }: Batch): void {
    for (const [index, { key, delta }] of operations.entries()) {
      const name = 'name' in key ? key.name : this.#nameOf(partition, key);
      if (!name || ending?.refused.has(index)) continue;
      this.ledger.set(name, (this.ledger.get(name) ?? 0n) + delta);
    }
  }

  #nameOf(partition: number, key: Key): string | undefined {
    const model = this.#world.oracle.models[partition];
    return model?.nameOf(key, model.sequence);
  }

  // --- without a sequence ---

  #identifiedOperation(link: Link, partition: number): void {
    const { random } = this.#world;
    const known = this.#identified.filter((operation) => operation.partition === partition);
    if (known.length > 0 && random.chance(0.6)) {
      this.#loose(link, partition, Opcode.ADD, Flag.VALUES, random.pick(known).body, 1);
      return;
    }
    const { key, delta, ...bounds } = this.#operation(partition, MIXED_NAMES[partition] as string[]);
    const operation = { key, delta, ...bounds, operationId: random.bytes(OPERATION_ID_BYTES) };
    const body = bodyOf((writer) => encodeAdd(writer, { operations: [operation] }));
    this.#identified.push({ partition, body });
    if (this.#identified.length > REMEMBERED * PARTITIONS.length) this.#identified.shift();
    this.#loose(link, partition, Opcode.ADD, Flag.VALUES, body, 1);
  }

  #looseWrite(link: Link, partition: number): void {
    const { random } = this.#world;
    const applied = random.chance(0.4) ? Flag.APPLIED : 0;
    if (random.chance(0.5)) {
      const opcode = random.pick(CHANGES);
      const body = bodyOf((writer) => {
        if (opcode === Opcode.DELETE) encodeDelete(writer, this.#deleteRequest(partition));
        else if (opcode === Opcode.SET) encodeSet(writer, this.#setRequest(partition));
        else encodeExpire(writer, this.#expireRequest(partition));
      });
      this.#loose(link, partition, opcode, applied, body, 1);
      return;
    }
    const { flags, operations } = this.#content(partition, MIXED_NAMES[partition] as string[]);
    const body = bodyOf((writer) => encodeAdd(writer, { operations }));
    this.#loose(link, partition, Opcode.ADD, flags | applied, body, operations.length);
  }

  #setRequest(partition: number): Omit<SetRequest, 'sequence'> {
    const { random } = this.#world;
    return { ...this.#deleteRequest(partition), value: BigInt(random.between(-500, 500)) };
  }

  #expireRequest(partition: number): Omit<ExpireRequest, 'sequence'> {
    const { key } = this.#deleteRequest(partition);
    return { key, expiry: this.#expiry() };
  }

  /** With a sequence or without. */
  #countOnce(client: SimClient, link: Link | undefined, partition: number): void {
    const { random } = this.#world;
    const once = this.#counting(partition);
    const flags = random.chance(0.5) ? Flag.VALUES : 0;
    const isApplied = random.chance(0.3);
    const stream = client.streams[partition];
    if (random.chance(0.6) && stream && stream.kept.length < MOST_KEPT) {
      this.#world.operations += once.length;
      client.write(partition, { opcode: Opcode.ONCE, once, flags, operations: [] }, isApplied);
    } else if (link) {
      const body = bodyOf((writer) => encodeOnce(writer, { operations: once }));
      this.#loose(link, partition, Opcode.ONCE, flags | (isApplied ? Flag.APPLIED : 0), body, once.length);
    }
  }

  /** With a sequence or without. Few items, so that many were seen already. */
  #see(client: SimClient, link: Link | undefined, partition: number): void {
    const { random } = this.#world;
    const sightings = Array.from({ length: random.between(1, 5) }, () => ({
      key: random.pick(this.#uniquesKeys(partition, 1)),
      item: Uint8Array.of(random.between(1, 12)),
    }));
    const flags = random.chance(0.5) ? Flag.VALUES : 0;
    const isApplied = random.chance(0.3);
    const stream = client.streams[partition];
    if (random.chance(0.6) && stream && stream.kept.length < MOST_KEPT) {
      this.#world.operations += sightings.length;
      client.write(partition, { opcode: Opcode.SEE, sightings, flags, operations: [] }, isApplied);
    } else if (link) {
      const body = bodyOf((writer) => encodeSee(writer, { sightings }));
      this.#loose(link, partition, Opcode.SEE, flags | (isApplied ? Flag.APPLIED : 0), body, sightings.length);
    }
  }

  #uniques(link: Link, partition: number): void {
    const { random } = this.#world;
    this.#world.operations++;
    const keys = this.#uniquesKeys(partition, random.between(1, 4));
    const wanted = random.pick(['each', 'union'] as const);
    const unit = random.pick(['hours', 'days'] as const);
    const length = random.between(1, unit === 'hours' ? 24 : UNIQUE_DAYS);
    const uniques = { wanted, ...(random.chance(0.8) && { window: { unit, length } }) };
    const body = bodyOf((writer) => encodeUniques(writer, { ...uniques, keys }));
    const flags = random.chance(0.5) ? Flag.LATEST : 0;
    link.send(Opcode.UNIQUES, flags, partition, body, { keys, uniques, done: (answer) => this.#expectRight(answer) });
  }

  /** Mostly of names whose class keeps unique items. */
  #uniquesKeys(partition: number, count: number): Key[] {
    const { random } = this.#world;
    const all = MIXED_NAMES[partition] as string[];
    const kept = all.filter((name) => MODEL_OPTIONS.keepsUniques(name));
    return Array.from({ length: count }, () => {
      const name = random.pick(random.chance(0.1) || kept.length === 0 ? all : kept);
      return (random.chance(0.3) ? this.#ids[partition]?.get(name) : undefined) ?? { name };
    });
  }

  /** Few items, so that many were counted already, and more than a class keeps. */
  #counting(partition: number): OnceOperation[] {
    const { random } = this.#world;
    return Array.from({ length: random.between(1, 4) }, () => {
      const names = (MIXED_NAMES[partition] as string[]).filter(
        (name) => MODEL_OPTIONS.onceOf(name) || random.chance(0.1),
      );
      const name = random.pick(names.length > 0 ? names : (MIXED_NAMES[partition] as string[]));
      const key = (random.chance(0.3) ? this.#ids[partition]?.get(name) : undefined) ?? { name };
      const extension = random.chance(0.4) && {
        delta: BigInt(random.between(-5, 5)),
        within: random.pick([0, 100, 200]),
      };
      return { key, item: Uint8Array.of(random.between(1, 5)), ...extension };
    });
  }

  /** Of a counter that anybody may change, by its name or an id that may be no more; perhaps with an expectation. */
  #deleteRequest(partition: number): Omit<DeleteRequest, 'sequence'> {
    const { random, oracle } = this.#world;
    const name = random.pick(MIXED_NAMES[partition] as string[]);
    const key = (random.chance(0.3) ? this.#ids[partition]?.get(name) : undefined) ?? { name };
    const model = oracle.models[partition];
    // Half of the expectations are what the last group left.
    const known = random.chance(0.5) ? (model?.valueAt(name, model.sequence) ?? 0n) : BigInt(random.below(50));
    return { key, ...(random.chance(0.5) && { expect: known }), reason: 'simulated' };
  }

  #loose(link: Link, partition: number, opcode: number, flags: number, body: Uint8Array, count: number): void {
    this.#world.operations += count;
    link.send(opcode, flags, partition, body, { count, done: (answer) => this.#expectRight(answer) });
  }

  // --- the rest ---

  #read(link: Link, partition: number): void {
    const { random, oracle } = this.#world;
    this.#world.operations++;
    const names = [...(MIXED_NAMES[partition] as string[]), ...(LEDGER_NAMES[partition] as string[])];
    const keys = Array.from({ length: random.between(1, 4) }, () => {
      const name = random.pick(names);
      return (random.chance(0.3) ? this.#ids[partition]?.get(name) : undefined) ?? { name };
    });
    const told = oracle.told[partition] as number;
    const sequence = Math.max(0, told + random.between(-2, 3));
    const after = random.chance(0.3) ? { epoch: EPOCH, sequence } : undefined;
    const flags = (random.chance(0.5) ? Flag.LATEST : 0) | (after ? Flag.AFTER : 0);
    const body = bodyOf((writer) => encodeGet(writer, { keys, ...(after && { after }) }));
    link.send(Opcode.GET, flags, partition, body, {
      keys,
      ...(after && { after: sequence }),
      done: (answer) => this.#expectRight(answer, after && sequence > told ? 'POSITION_UNAVAILABLE' : undefined),
    });
  }

  #open(link: Link, partition: number): void {
    const { random } = this.#world;
    this.#world.operations++;
    const all = [...(MIXED_NAMES[partition] as string[]), ...(LEDGER_NAMES[partition] as string[])];
    const names = Array.from({ length: random.between(1, 3) }, () => random.pick(all));
    const body = bodyOf((writer) => encodeOpen(writer, names));
    link.send(Opcode.OPEN, 0, partition, body, {
      names,
      done: (answer) => {
        this.#expectRight(answer);
        if (refusalOf(answer)) return;
        decodeOpenAnswer(answer.body).ids.forEach((id, index) => {
          const name = names[index] as string;
          if (id.slot !== undefined) this.#ids[partition]?.set(name, { slot: id.slot, generation: id.generation });
        });
      },
    });
  }

  /** Lists a partition part by part; what exists all the while must be told once. */
  #list(link: Link, partition: number): void {
    const { random, violate, oracle } = this.#world;
    const prefix = random.pick(['', 'mixed', 'ledger', 'mixed1']);
    const flags = random.chance(0.6) ? Flag.LATEST : 0;
    const told: string[] = [];
    let first: number | undefined;
    const ask = (cursor: number) => {
      this.#world.operations++;
      const request = { prefix: Buffer.from(prefix), cursor, limit: random.between(1, 8) };
      const body = bodyOf((writer) => encodeList(writer, request));
      link.send(Opcode.LIST, flags, partition, body, { done });
    };
    const done = (answer: Answer) => {
      this.#expectRight(answer);
      if (refusalOf(answer)) return;
      const { position, cursor, counters } = decodeListAnswer(answer.body);
      first ??= position;
      const from = first;
      told.push(...counters.map(({ name }) => name));
      if (cursor !== 0) return ask(cursor);
      // A slow client may take the answer of a server that died since: what that one had not flushed is another history.
      if (link.life !== this.#world.server.lives) return;
      oracle.judgeAt(partition, position, () => {
        const lasting = oracle.models[partition]?.lasting(from, position) ?? [];
        for (const name of lasting.filter((each) => each.startsWith(prefix))) {
          const times = told.filter((each) => each === name).length;
          if (times !== 1) violate(`${name} exists from ${from} to ${position} and is listed ${times} times`);
        }
      });
    };
    ask(0);
  }

  /** What must be refused, and leave the connection as it was. */
  #nonsense(link: Link, partition: number): void {
    const { random, violate } = this.#world;
    const expected = random.pick(['WRONG_PARTITION', 'BAD_REQUEST', 'UNKNOWN_OPCODE', 'EPOCH_MISMATCH'] as const);
    const other = PARTITIONS[(partition + 1) % PARTITIONS.length] as number;
    const foreign = { key: { name: (MIXED_NAMES[other] as string[])[0] as string }, delta: 1n };
    const body = new ByteWriter();
    let opcode: number = Opcode.ADD;
    let flags = 0;
    if (expected === 'WRONG_PARTITION') encodeAdd(body, { operations: [foreign] });
    else if (expected === 'BAD_REQUEST') body.bytes(Uint8Array.of(3, 0xff, 0xff));
    else if (expected === 'UNKNOWN_OPCODE') opcode = 77;
    else {
      opcode = Opcode.GET;
      flags = Flag.AFTER;
      encodeGet(body, { keys: [], after: { epoch: EPOCH + 1, sequence: 0 } });
    }
    link.send(opcode, flags, partition, body.view(), {
      done: (answer) => {
        const code = refusalOf(answer)?.code;
        if (code !== expected && !MAY_REFUSE.has(code ?? '')) violate(`${expected} was due, the answer is ${code}`);
      },
    });
  }

  #expectRight(answer: Answer, alsoAllowed?: string): void {
    const code = refusalOf(answer)?.code;
    if (code === undefined || code === alsoAllowed || MAY_REFUSE.has(code)) return;
    this.#world.violate(`what is right is refused with ${code}`);
  }

  // --- the clients' own faults ---

  misbehave(): void {
    const { random, tally } = this.#world;
    const client = random.pick(this.clients);
    const isDrop = random.chance(0.6);
    if (isDrop) {
      tally['dropped connection']++;
      client.dropConnection();
    } else if (random.chance(0.6)) {
      tally['second connection']++;
      client.connectAgain();
    } else if (client.options.isRaced) {
      tally['raced producer']++;
      client.restart();
    } else if (client.isIdle) {
      tally['restarted client']++;
      client.restart();
    }
  }

  /** Everybody comes back and sends what it kept. */
  comeBack(): void {
    for (const client of this.clients) {
      client.connect();
      client.checkPatience();
      client.settle();
    }
  }
}
