import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeBegin, encodeBegin } from '../../src/log/begin.js';
import type { LogPlace, PartitionPlace } from '../../src/log/log.js';
import type { LogEntry } from '../../src/log/record.js';
import { ManualClock } from '../support/manual-clock.js';
import { LogFixture, type LogHome, type LogOptions, type StoredSegments } from './fixture.js';
import { bodyOf, byPartition, LogWriter, NO_MARK, partitionPlace, replayAll, SHAPE } from './writer.js';

/** Two small groups: one has about 200 bytes of records. */
const SEGMENT_BYTES = 300;

type MakeHome = () => Promise<LogHome>;

/** What every implementation of Log must do about segments. */
export function segmentsConformance(name: string, makeHome: MakeHome, runs: number): void {
  describe(`${name} in segments`, () => {
    rows(makeHome);
    neighbours(makeHome);
    retention(makeHome);
    test(
      'random groups, crashes, releases and readings agree with a plain list',
      () => agreesWithList(makeHome, runs),
      120_000,
    );
  });
}

const at = (place: LogPlace, partition: number) => [partition, partitionPlace(place, partition)] as const;
/** Every partition has a checkpoint there. */
const allAt = (place: LogPlace) => new Map(SHAPE.partitions.map((partition) => at(place, partition)));

/** Where the stored segments begin. */
async function beginnings(fixture: LogFixture): Promise<LogPlace[]> {
  const begins: LogPlace[] = [];
  await fixture.editAll((segments) => {
    for (const number of [...segments.keys()].sort((a, b) => a - b)) {
      const begin = decodeBegin(segments.get(number)?.begin ?? new Uint8Array());
      if (begin) begins.push(begin);
    }
  });
  return begins;
}

function rows(makeHome: MakeHome): void {
  const fixture = new LogFixture(makeHome, { segmentBytes: SEGMENT_BYTES });

  test('a group goes whole into one segment, and each segment says where it begins', async () => {
    const small = await fixture.writeSmall(7);
    expect(fixture.log.stats().segments).toBe(4);
    expect(await beginnings(fixture)).toEqual([0, 2, 4, 6].map((group) => small.places[group]));
    await fixture.editAll((segments) => {
      expect([...segments].map(([number, { records }]) => [number, [...records.keys()]])).toEqual([
        [1, [1, 2, 3, 4]],
        [5, [5, 6, 7, 8]],
        [9, [9, 10, 11, 12]],
        [13, [13, 14]],
      ]);
    });
  });

  test('a group that is larger than a segment goes into one all the same', async () => {
    const large = await fixture.writer();
    for (let group = 0; group < 3; group++) await large.write([[2, bodyOf(200_000)]]);
    expect(fixture.log.stats().segments).toBe(3);
    expect((await replayAll(fixture.log, large.mark)).entries).toHaveLength(3);
  });

  test('a log that is reopened after any group is continued', async () => {
    let writer = await fixture.writer();
    for (let group = 0; group < 7; group++) {
      await writer.write([[2, bodyOf(150)]]);
      await fixture.reopen();
      const replayed = await replayAll(fixture.log, writer.mark);
      expect(byPartition(replayed.entries)).toEqual(byPartition(writer.entries));
      writer = new LogWriter(fixture.log, replayed);
    }
  });

  test('replay begins in the newest segment that begins before all of the checkpoints', async () => {
    const small = await fixture.writeSmall(7);
    for (const [a, first] of small.places.entries()) {
      for (const [b, second] of small.places.entries()) {
        const from = new Map([at(first, 2), at(second, 3)]);
        const { entries, end } = await replayAll(fixture.log, small.mark, from);
        const begins = Math.min(6, Math.floor(Math.min(a, b) / 2) * 2);
        expect(end.begin).toEqual(small.places[begins]);
        expect(end).toMatchObject(small.places.at(-1) as LogPlace);
        const wanted = small.entries.filter(
          ({ partition, sequence }) => sequence > (from.get(partition)?.sequence ?? 0),
        );
        expect(byPartition(entries)).toEqual(byPartition(wanted));
      }
    }
  });

  test('a partition without entries since its checkpoint does not hold the replay back', async () => {
    const writer = await fixture.writer();
    await writer.write([[3, bodyOf(100)]]);
    for (let group = 0; group < 6; group++) await writer.write([[2, bodyOf(150)]]);
    const [, first] = writer.places as [LogPlace, LogPlace];
    const from = new Map([at(writer.places.at(-1) as LogPlace, 2), at(first, 3)]);
    const { end } = await replayAll(fixture.log, writer.mark, from);
    expect(end.begin.records).toBeGreaterThan(4);
  });

  test('a mark that is older than the segment in which the replay begins is a lower bound all the same', async () => {
    const small = await fixture.writeSmall(7);
    for (const mark of small.marks) {
      const { end } = await replayAll(fixture.log, mark, allAt(small.places.at(-1) as LogPlace));
      expect(end.begin).toEqual(small.places[6]);
    }
  });

  test('a reader of one partition goes from segment to segment', async () => {
    const small = await fixture.writeSmall(7);
    for (const [first, after] of small.places.entries()) {
      for (const to of small.places.slice(first)) {
        const sequences: number[] = [];
        const visit = ({ sequence }: LogEntry) => sequences.push(sequence);
        const [low, high] = [partitionPlace(after, 2), partitionPlace(to, 2)];
        await fixture.home.read().readPartition({ partition: 2, after: low, to: high, visit });
        expect(sequences).toEqual(Array.from({ length: high.sequence - low.sequence }, (_, i) => low.sequence + i + 1));
      }
    }
  });

  test('audit items lie in the segments of their groups', async () => {
    const writer = await fixture.writer();
    for (let sequence = 1; sequence <= 6; sequence++) {
      await writer.write([[2, bodyOf(150)]], [{ partition: 2, sequence, value: bodyOf(20) }]);
    }
    const sequencesAfter = async (after: number | undefined) => {
      const sequences: number[] = [];
      await fixture.log.audit(({ sequence }) => sequences.push(sequence), after);
      return sequences;
    };
    expect(await sequencesAfter(undefined)).toEqual([1, 2, 3, 4, 5, 6]);
    // Two groups, each of one record, make a segment.
    expect(await sequencesAfter(1)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await sequencesAfter(2)).toEqual([3, 4, 5, 6]);
    expect(await sequencesAfter(5)).toEqual([5, 6]);
  });

  test('a newest segment that is still empty is continued', async () => {
    const small = await fixture.writeSmall(2);
    const end = small.places.at(-1) as LogPlace;
    // Its first group never came: the process died, or the disk was full.
    await fixture.editAll((segments) => {
      segments.set(5, { begin: encodeBegin(end), records: new Map(), audit: new Map() });
    });
    const replayed = await replayAll(fixture.log, small.mark);
    expect(replayed.end).toMatchObject(end);
    const fromThere = await replayAll(fixture.log, small.mark, allAt(end));
    expect(fromThere.end).toEqual({ ...end, begin: end, entries: 0 });
    const more = new LogWriter(fixture.log, replayed);
    await more.write([[2, bodyOf(9)]]);
    await fixture.reopen();
    expect(byPartition((await replayAll(fixture.log, more.mark)).entries)).toEqual(byPartition(more.entries));
    expect(fixture.log.stats().segments).toBe(2);
  });
}

function neighbours(makeHome: MakeHome): void {
  describe('that do not belong together', () => {
    const fixture = new LogFixture(makeHome, { segmentBytes: SEGMENT_BYTES });
    const corrupted = (message: RegExp, from?: ReadonlyMap<number, PartitionPlace>, mark = NO_MARK) =>
      expect(replayAll(fixture.log, mark, from)).rejects.toMatchObject({
        code: 'LOG_CORRUPT',
        message: expect.stringMatching(message),
      });
    const rebegin = (number: number, change: (begin: LogPlace) => LogPlace) => (segments: StoredSegments) => {
      const segment = segments.get(number);
      const begin = segment && decodeBegin(segment.begin);
      if (segment && begin) segment.begin = encodeBegin(change(begin));
    };

    test('are found where one in the middle is missing', async () => {
      await fixture.writeSmall(7);
      await fixture.editAll((segments) => segments.delete(5));
      await corrupted(
        /A segment begins after record 8 \(group 4\), but the one before it ends with record 4 \(group 2\)/,
      );
    });

    test('are found where the newest is missing, by the mark', async () => {
      const small = await fixture.writeSmall(7);
      await fixture.editAll((segments) => segments.delete(13));
      await corrupted(/ends with group 6 \(record 12\), but group 7 was flushed/, undefined, small.mark);
    });

    test('are found where the oldest is missing, by who needs it', async () => {
      const small = await fixture.writeSmall(7);
      await fixture.editAll((segments) => segments.delete(1));
      await corrupted(/begins after sequence 4 of partition 2, but its checkpoint is of sequence 0/, new Map());
      const [, first, second] = small.places as [LogPlace, LogPlace, LogPlace];
      await corrupted(/begins after sequence 4 of partition 2, but its checkpoint is of sequence 2/, allAt(first));
      await replayAll(fixture.log, small.mark, allAt(second));
    });

    test('are found where a segment is cut short', async () => {
      await fixture.writeSmall(7);
      await fixture.editAll((segments) => segments.get(5)?.records.delete(8));
      await corrupted(/ends within group 4, after record 7/);
      await fixture.editAll((segments) => segments.get(5)?.records.delete(7));
      await corrupted(/begins after record 8 \(group 4\), but the one before it ends with record 6 \(group 3\)/);
    });

    test.each<[string, (begin: LogPlace) => LogPlace]>([
      ['group', (begin) => ({ ...begin, group: begin.group + 1 })],
      ['bytes', (begin) => ({ ...begin, bytes: begin.bytes + 1 })],
      ['hash', ({ heads, ...begin }) => ({ ...begin, heads: new Map(heads).set(3, { sequence: 4, hash: 1n }) })],
      ['sequence', ({ heads, ...begin }) => ({ ...begin, heads: new Map(heads).set(5, { sequence: 1, hash: 0n }) })],
    ])('are found where the beginning says another %s', async (_, change) => {
      await fixture.writeSmall(7);
      await fixture.editAll(rebegin(9, change));
      await corrupted(/begins after record 8|the next segment says/);
    });

    test('are found where the records of a beginning are not those of the name', async () => {
      await fixture.writeSmall(7);
      await fixture.editAll(rebegin(9, (begin) => ({ ...begin, records: 7 })));
      await corrupted(/begins with record 8/);
    });

    test('are found where a bit of a beginning is flipped', async () => {
      await fixture.writeSmall(4);
      let length = 0;
      const flip = (at: number) => (segments: StoredSegments) => {
        const begin = segments.get(1)?.begin as Uint8Array;
        length = begin.length;
        begin[at] = (begin[at] as number) ^ (1 << (at % 8));
      };
      for (let at = 0; at === 0 || at < length; at += 3) {
        await fixture.editAll(flip(at));
        await corrupted(/does not say whole where it begins/);
        await fixture.editAll(flip(at));
      }
      await replayAll(fixture.log);
    });

    test('a damaged segment before those that are needed hinders nobody', async () => {
      const small = await fixture.writeSmall(7);
      await fixture.editAll((segments) => {
        const segment = segments.get(1);
        if (segment) segment.begin = new Uint8Array(3);
        segments.get(5)?.records.delete(6);
      });
      const { end } = await replayAll(fixture.log, small.mark, allAt(small.places[4] as LogPlace));
      expect(end.begin).toEqual(small.places[4]);
      await corrupted(/does not say whole/);
    });
  });
}

const HOUR = 3_600_000;

function retention(makeHome: MakeHome): void {
  describe('that are released', () => {
    const clock = new ManualClock();
    const limits = { bytes: Number.MAX_SAFE_INTEGER, milliseconds: HOUR, clock };
    const fixture = new LogFixture(makeHome, { segmentBytes: SEGMENT_BYTES, retention: limits });

    const write = async () => {
      Object.assign(limits, { bytes: Number.MAX_SAFE_INTEGER, milliseconds: HOUR });
      const small = await fixture.writeSmall(7);
      fixture.home.touch(clock.wallMilliseconds());
      return small;
    };
    const age = () => fixture.home.touch(clock.wallMilliseconds() - HOUR - 1_000);

    test('are kept as long as the retention says', async () => {
      await write();
      await fixture.log.release(14);
      expect([fixture.log.firstRecord, fixture.log.stats().segments]).toEqual([1, 4]);
      await fixture.reopen();
      expect([fixture.log.firstRecord, fixture.log.stats().segments]).toEqual([1, 4]);
    });

    test('go when they are too old, but for the newest and what recovery needs', async () => {
      const small = await write();
      age();
      // Record 8 is the last of the second segment.
      for (const [released, first] of [
        [0, 1],
        [3, 1],
        [4, 5],
        [7, 5],
        [8, 9],
        [14, 13],
        [1_000_000, 13],
      ] as const) {
        await fixture.log.release(released);
        expect([released, fixture.log.firstRecord]).toEqual([released, first]);
      }
      await fixture.reopen();
      expect([fixture.log.firstRecord, fixture.log.stats().segments]).toEqual([13, 1]);
      const { end } = await replayAll(fixture.log, small.mark, allAt(small.places.at(-1) as LogPlace));
      expect(end).toMatchObject(small.places.at(-1) as LogPlace);
      await expect(replayAll(fixture.log, small.mark, new Map())).rejects.toMatchObject({
        code: 'LOG_CORRUPT',
        message: expect.stringMatching(/The log begins after sequence 12 of partition 2/),
      });
    });

    test('go when all are too much, the oldest first', async () => {
      await write();
      const { fileBytes } = fixture.log.stats();
      limits.bytes = fileBytes - 1;
      await fixture.log.release(8);
      expect(fixture.log.firstRecord).toBe(5);
      limits.bytes = 1;
      await fixture.log.release(8);
      expect(fixture.log.firstRecord).toBe(9);
      await fixture.log.release(14);
      expect(fixture.log.firstRecord).toBe(13);
    });

    test('take their audit items with them, and are continued', async () => {
      const small = await write();
      age();
      await fixture.log.release(14);
      const more = new LogWriter(fixture.log, await replayAll(fixture.log, small.mark));
      await more.write([[2, bodyOf(3)]], [{ partition: 2, sequence: 15, value: bodyOf(2) }]);
      const sequences: number[] = [];
      await fixture.log.audit(({ sequence }) => sequences.push(sequence));
      expect(sequences).toEqual([15]);
      await fixture.reopen();
      expect((await replayAll(fixture.log, more.mark)).end).toMatchObject(more.places.at(-1) as LogPlace);
    });

    test('cannot be read any more', async () => {
      const small = await write();
      age();
      await fixture.log.release(8);
      const read = (after: number) =>
        fixture.home.read().readPartition({
          partition: 2,
          after: partitionPlace(small.places[after] as LogPlace, 2),
          to: partitionPlace(small.places[7] as LogPlace, 2),
          visit: () => {},
        });
      await expect(read(3)).rejects.toMatchObject({ code: 'LOG_CORRUPT' });
      await read(4);
    });
  });
}

interface Step {
  readonly kind: 'write' | 'reopen' | 'release' | 'replay' | 'read';
  /** What of is written; which places are meant. */
  readonly numbers: readonly [number, number, number];
}

/** Runs random steps against a log and a list of what must be in it. */
async function agreesWithList(makeHome: MakeHome, runs: number): Promise<void> {
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('write', 'write', 'write', 'write', 'reopen', 'release', 'replay', 'read'),
    numbers: fc.tuple(fc.nat(999), fc.nat(999), fc.nat(999)),
  });
  const property = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
    const home = await makeHome();
    const run = new ListRun(home);
    try {
      await run.start();
      for (const each of steps) await run.step(each);
    } finally {
      await run.end();
    }
  });
  await fc.assert(property, { numRuns: runs });
}

class ListRun {
  readonly #home: LogHome;
  readonly #options: LogOptions = {
    segmentBytes: SEGMENT_BYTES,
    // Whatever may go goes.
    retention: { bytes: 0, milliseconds: HOUR, clock: new ManualClock() },
  };
  readonly #places: LogPlace[] = [];
  #released = 0;
  #entries: LogEntry[] = [];
  #writer!: LogWriter;
  #log!: Awaited<ReturnType<LogHome['open']>>;

  constructor(home: LogHome) {
    this.#home = home;
  }

  async start(): Promise<void> {
    this.#log = await this.#home.open(this.#options);
    this.#writer = new LogWriter(this.#log, await replayAll(this.#log));
    this.#places.push(this.#writer.places[0] as LogPlace);
  }

  async end(): Promise<void> {
    await this.#log.close();
    await this.#home.remove();
  }

  async step({ kind, numbers: [a, b, c] }: Step): Promise<void> {
    if (kind === 'write') await this.#write(a, b, c);
    if (kind === 'reopen') await this.#reopen();
    if (kind === 'release') await this.#release(a);
    if (kind === 'replay') await this.#replay([a, b, c]);
    if (kind === 'read') await this.#read(a, b, c);
  }

  /** One of the places that may still be needed. */
  #place(number: number): LogPlace {
    const needed = this.#places.filter(({ records }) => records >= this.#released);
    return needed[number % needed.length] as LogPlace;
  }

  async #write(a: number, b: number, c: number): Promise<void> {
    const bodies = [a, b, c].map((number) => [SHAPE.partitions[number % 3] as number, bodyOf(number % 90)] as const);
    await this.#writer.write(bodies.slice(0, 1 + (a % 3)));
    this.#places.push(this.#writer.places.at(-1) as LogPlace);
    this.#entries = this.#writer.entries;
  }

  async #reopen(): Promise<void> {
    await this.#log.close();
    this.#log = await this.#home.open(this.#options);
    const from = allAt(this.#place(0));
    const { end } = await replayAll(this.#log, NO_MARK, from);
    this.#writer = new LogWriter(this.#log, { end, entries: this.#entries });
  }

  async #release(number: number): Promise<void> {
    this.#released = this.#place(number).records;
    await this.#log.release(this.#released);
    expect(this.#log.firstRecord).toBeLessThanOrEqual(this.#released + 1);
  }

  async #replay(numbers: readonly number[]): Promise<void> {
    const from = new Map(SHAPE.partitions.map((partition, i) => at(this.#place(numbers[i] as number), partition)));
    const { entries, end } = await replayAll(this.#log, NO_MARK, from);
    const wanted = this.#entries.filter(({ partition, sequence }) => sequence > (from.get(partition)?.sequence ?? 0));
    expect(byPartition(entries)).toEqual(byPartition(wanted));
    expect(end).toMatchObject(this.#places.at(-1) as LogPlace);
  }

  async #read(a: number, b: number, c: number): Promise<void> {
    const partition = SHAPE.partitions[c % 3] as number;
    const ends = [this.#place(a), this.#place(b)].sort((one, other) => one.group - other.group);
    const [after, to] = ends.map((place) => partitionPlace(place, partition)) as [PartitionPlace, PartitionPlace];
    const entries: LogEntry[] = [];
    const visit = (entry: LogEntry) => entries.push({ ...entry, body: Uint8Array.from(entry.body) });
    await this.#home.read().readPartition({ partition, after, to, visit });
    const wanted = this.#entries.filter((entry) => entry.partition === partition && entry.sequence > after.sequence);
    expect(entries).toEqual(wanted.filter(({ sequence }) => sequence <= to.sequence));
  }
}
