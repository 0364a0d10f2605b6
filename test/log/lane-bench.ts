import type { TallystickError } from '../../src/errors.js';
import { type AppendWatch, type FlushWaiter, GroupCommit } from '../../src/log/group-commit.js';
import type { HeadMark, Mark } from '../../src/log/log.js';
import { readRecordHeader } from '../../src/log/record.js';
import { firstPlace } from '../../src/log/replay.js';
import { ManualClock } from '../support/manual-clock.js';
import { SimDisk, SimLog } from './sim-log.js';
import { bodyOf, NO_MARK, SHAPE } from './writer.js';

export const FLUSH_MILLISECONDS = 3;
const HEADER = { kind: 4, flags: 0, producer: 1, incarnation: 1, milliseconds: 1_700_000_000_000 };

export class MemoryMark implements HeadMark {
  mark: Mark = NO_MARK;
  error: Error | undefined;

  read(): Mark {
    return this.mark;
  }

  write({ group, heads }: Mark): void {
    if (this.error) throw this.error;
    this.mark = { group, heads };
  }

  close(): void {}
}

/** What a waiter was told, beside what was true at that moment. */
export interface Told {
  readonly name: string;
  readonly answer: 'flushed' | TallystickError['code'];
  readonly outcome: TallystickError['outcome'] | undefined;
  /** Whether it was on the disk. */
  readonly stored: boolean;
}

/** A GroupCommit over a simulated disk, and all that it says. */
export class LaneBench {
  readonly clock = new ManualClock();
  readonly disk = new SimDisk();
  readonly log: SimLog;
  readonly mark = new MemoryMark();
  readonly told: Told[] = [];
  readonly failures: TallystickError[] = [];
  poisoned = false;
  readonly commit: GroupCommit;

  constructor(groupBytes = 0, flushMilliseconds = FLUSH_MILLISECONDS, watch?: AppendWatch) {
    this.log = new SimLog(this.disk, SHAPE, (commit) => this.clock.setTimer(flushMilliseconds, commit));
    this.commit = new GroupCommit({
      log: this.log,
      mark: this.mark,
      clock: this.clock,
      shape: SHAPE,
      start: firstPlace(SHAPE),
      isPoisoned: () => this.poisoned,
      onFailed: (error) => this.failures.push(error),
      groupBytes,
      ...(watch && { watch }),
    });
  }

  append(partition: number, bodyLength = 5): number {
    return this.commit.append(partition, HEADER, bodyOf(bodyLength));
  }

  /** Appends and waits; the waiter's name is `partition:sequence`. */
  write(partition: number, bodyLength = 5): void {
    this.wait(partition, this.append(partition, bodyLength));
  }

  wait(partition: number, sequence: number): void {
    this.commit.waitFlushed(partition, sequence, this.#waiter(`${partition}:${sequence}`, [[partition, sequence]]));
  }

  waitAll(): void {
    const all = SHAPE.partitions.map((partition) => [partition, this.commit.appendedSequence(partition)] as const);
    this.commit.waitAll(this.#waiter('all', all));
  }

  get answers(): string[] {
    return this.told.map(({ name, answer }) => `${name} ${answer}`);
  }

  /** Answers callers who come back at once, so often that groups are held for them. */
  async trust(callers = 2): Promise<void> {
    for (let round = 0; round < 16; round++) {
      for (let i = 0; i < callers; i++) this.write(2);
      await this.pass(FLUSH_MILLISECONDS);
    }
    this.told.length = 0;
  }

  /** Lets time pass, and what follows from it happen. */
  async pass(milliseconds: number): Promise<void> {
    const until = this.clock.monotonicMilliseconds() + milliseconds;
    await this.#settle();
    while (this.clock.monotonicMilliseconds() < until) {
      this.clock.advance(1);
      await this.#settle();
    }
  }

  async #settle(): Promise<void> {
    do {
      this.clock.endTurn();
      await eventTurn();
    } while (this.clock.pendingCallbacks > 0);
  }

  /** The last sequence of a partition that is on the disk. */
  storedSequence(partition: number): number {
    let stored = 0;
    for (const record of this.disk.records.values()) {
      const header = readRecordHeader(new DataView(record.buffer, record.byteOffset), 0);
      if (header.partition === partition) stored = Math.max(stored, header.firstSequence + header.entries - 1);
    }
    return stored;
  }

  #waiter(name: string, needs: (readonly [number, number])[]): FlushWaiter {
    const tell = (answer: Told['answer'], outcome: Told['outcome']) => {
      const stored = needs.every(([partition, sequence]) => this.storedSequence(partition) >= sequence);
      this.told.push({ name, answer, outcome, stored });
    };
    return { flushed: () => tell('flushed', undefined), unknown: ({ code, outcome }) => tell(code, outcome) };
  }
}

function eventTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
