import type { Clock, Timer } from '../clock.js';
import { codeOfStatus, OK, TallystickError } from '../errors.js';
import type { GroupCommit } from '../log/group-commit.js';
import { RECORD_BYTES } from '../log/record.js';
import { Kind, type Partition, REPEATED, UNCHANGED } from '../partition/partition.js';
import { ByteWriter } from '../protocol/bytes.js';
import { decodeStatsRequest, encodeStatsAnswer, type StatsMap } from '../protocol/control.js';
import type { FrameView } from '../protocol/frame.js';
import { DEFAULT_LIMITS, Flag, Opcode } from '../protocol/opcode.js';
import { encodeSyncAnswer } from '../protocol/response.js';
import { type Address, Answers, type LaneConnection } from './answers.js';
import { encodeAudit } from './audit.js';
import { greet, type ServerMap } from './greeting.js';
import { Reads } from './reads.js';
import { EFFECT_BYTES, hasEffect } from './recovery.js';

/**
 * The loop of a lane, and the whole way of a request:
 *
 *   frame -> route -> dedup, apply       -> append to the open group -> flush         -> ack
 *   request           #write: Partition.apply   GroupCommit.append     GroupCommit      Answers
 *
 * Everything is synchronous up to the flush, and only the lane's thread touches its partitions.
 */

export interface LaneParts {
  readonly lane: number;
  readonly partitions: ReadonlyMap<number, Partition>;
  readonly commit: GroupCommit;
  readonly clock: Clock;
  readonly map: ServerMap;
  /** Reads the word that any thread sets when storage can no longer be trusted. */
  readonly isPoisoned: () => boolean;
  /** What STATS tells besides. */
  readonly describe: () => StatsMap;
  readonly describePartition: (partition: number) => StatsMap;
}

/** Flags that the kernel sees and the log keeps. */
const KERNEL_FLAGS = Flag.ATOMIC | Flag.VALUES | Flag.SEQUENCED;
/** Room that the open group must have for whatever request comes next. */
const LARGEST_ENTRY = DEFAULT_LIMITS.frame + EFFECT_BYTES + RECORD_BYTES;
const TICK_MILLISECONDS = 60_000;
const NO_BYTES = new Uint8Array(0);

export class Lane {
  readonly #parts: LaneParts;
  readonly #answers: Answers;
  readonly #reads: Reads;
  /** Connections that are not read from until the open group has room. */
  readonly #held = new Set<LaneConnection>();
  #tick: Timer;
  #draining = false;
  #repeated = 0;

  constructor(parts: LaneParts) {
    this.#parts = parts;
    this.#answers = new Answers(parts.commit, parts.isPoisoned);
    this.#reads = new Reads(this.#answers, parts.clock, parts.map.epoch);
    this.#tick = this.#scheduleTick();
  }

  /** Handles one request; its body is valid during the call only. */
  request(connection: LaneConnection, frame: FrameView): void {
    try {
      if (this.#draining) throw new TallystickError('SHUTTING_DOWN');
      this.#route(connection, frame);
    } catch (error) {
      // What cannot be decoded or is refused before it is applied. Anything else is a defect, and ends the lane.
      if (!(error instanceof TallystickError)) throw error;
      this.#answers.refuse(connection, frame, error);
    }
  }

  /** Whether nothing more is taken from this connection until the group that collects has room again. */
  isFull(connection: LaneConnection): boolean {
    const { commit, partitions } = this.#parts;
    const [first] = partitions.keys();
    if (!commit.writable || commit.canAppend(first as number, LARGEST_ENTRY)) return false;
    if (this.#held.size === 0) commit.whenRoom(() => this.#release());
    this.#held.add(connection);
    return true;
  }

  /** Refuses all requests from now on and resolves when everything that was applied is flushed and answered. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#tick.cancel();
    return this.#parts.commit.drain();
  }

  #route(connection: LaneConnection, frame: FrameView): void {
    switch (frame.opcode) {
      case Opcode.ADD:
      case Opcode.SET:
      case Opcode.DELETE:
      case Opcode.OPEN:
        this.#write(connection, frame, this.#partition(frame));
        break;
      case Opcode.GET:
        this.#reads.get(connection, frame, this.#partition(frame));
        break;
      case Opcode.LIST:
        this.#reads.list(connection, frame, this.#partition(frame));
        break;
      case Opcode.SYNC:
        this.#sync(connection, frame);
        break;
      case Opcode.HELLO:
        this.#hello(connection, frame);
        break;
      case Opcode.STATS:
        this.#stats(connection, frame);
        break;
      default: // PING: the connection has refused opcodes that are none
        this.#answers.send(connection, frame, 0, frame.body);
    }
  }

  #partition({ partition }: FrameView): Partition {
    const found = this.#parts.partitions.get(partition);
    if (!found) throw new TallystickError('WRONG_PARTITION');
    return found;
  }

  #write(connection: LaneConnection, frame: FrameView, partition: Partition): void {
    const { commit, clock } = this.#parts;
    const { opcode: kind, partition: number, body } = frame;
    const flags = frame.flags & KERNEL_FLAGS;
    const { producer, incarnation } = connection.session.handle(number);
    const milliseconds = clock.wallMilliseconds();
    const mayApply = commit.writable && commit.canAppend(number, body.length + EFFECT_BYTES);
    const status = mayApply
      ? partition.apply(kind, flags, producer, incarnation, milliseconds, body)
      : partition.judge(kind, flags, producer, incarnation, body);
    // A repeat is answered even now; what is new is refused before it is applied.
    if (!mayApply && status === OK) throw refusal(commit);
    if (status === OK) {
      const tail = hasEffect(kind) ? effectOf(partition) : undefined;
      commit.append(number, { kind, flags, producer, incarnation, milliseconds }, body, tail);
      if (tail) this.#audit(connection, frame, partition, milliseconds);
    }
    this.#acknowledge(connection, frame, partition, status);
    if (status === OK) this.#reads.moved(number, partition);
  }

  /** Answers what the kernel made of a write, when the acknowledgement that was asked for may be given. */
  #acknowledge(connection: LaneConnection, frame: FrameView, partition: Partition, status: number): void {
    const isRepeat = status === REPEATED || codeOfStatus(status) === 'ALREADY_APPLIED';
    if (isRepeat) this.#repeated++;
    const position = isRepeat ? partition.repeatedPosition : partition.sequence;
    if (status !== OK && status !== UNCHANGED && status !== REPEATED) {
      if (!isRepeat) throw new TallystickError(codeOfStatus(status));
      // Where its position is forgotten, the present one is past it.
      this.#answers.alreadyApplied(connection, frame, position, position || partition.sequence);
      return;
    }
    const result = { position, answer: partition.answer, flags: isRepeat ? Flag.REPEATED : 0 };
    const isApplied = (frame.flags & Flag.APPLIED) !== 0;
    if (isApplied) this.#answers.now(connection, frame, result);
    else this.#answers.whenFlushed(connection, frame, result, 'unknown');
  }

  #audit(
    connection: LaneConnection,
    { opcode, body, flags, partition: number }: FrameView,
    partition: Partition,
    at: number,
  ): void {
    const { session, remote } = connection;
    const value = encodeAudit({
      opcode,
      body,
      flags,
      answer: partition.answer,
      milliseconds: at,
      client: session.client,
      remote,
    });
    this.#parts.commit.addAudit({ partition: number, sequence: partition.sequence, value });
  }

  #sync(connection: LaneConnection, frame: FrameView): void {
    const { partitions } = this.#parts;
    const writer = new ByteWriter();
    encodeSyncAnswer(writer, {
      positions: [...partitions].map(([partition, { sequence }]) => ({ partition, position: sequence })),
    });
    this.#answers.whenAllFlushed(connection, frame, (address) => {
      this.#answers.send(connection, address, 0, writer.view());
    });
  }

  #hello(connection: LaneConnection, frame: FrameView): void {
    const { answer, isOpening } = greet(this.#parts, connection.session, frame.body);
    const greeted = (address: Address) => {
      connection.helloDone();
      this.#answers.send(connection, address, 0, answer);
    };
    // An opening promises that older sessions are fenced, so it must be on the device.
    if (isOpening) this.#answers.whenAllFlushed(connection, frame, greeted);
    else greeted(frame);
  }

  #stats(connection: LaneConnection, frame: FrameView): void {
    const { commit, lane, partitions, describe, describePartition } = this.#parts;
    const { stateHash } = decodeStatsRequest(frame.body);
    const writer = new ByteWriter();
    encodeStatsAnswer(writer, {
      lane,
      repeated: this.#repeated,
      partitions: [...partitions].map(([partition, kernel]) => ({
        partition,
        flushed: commit.flushedSequence(partition),
        ...kernel.statistics,
        ...describePartition(partition),
        ...(stateHash && { stateHash: kernel.stateHash.toString(16).padStart(16, '0') }),
      })),
      ...describe(),
    });
    this.#answers.send(connection, frame, 0, writer.view());
  }

  #release(): void {
    const held = [...this.#held];
    this.#held.clear();
    for (const connection of held) connection.readOn();
  }

  /** Lets time pass in the log where it has work, so that expiry happens at the same place in every replay. */
  #scheduleTick(): Timer {
    return this.#parts.clock.setTimer(TICK_MILLISECONDS, () => {
      const { partitions, commit, clock } = this.#parts;
      for (const [number, partition] of partitions) {
        if (!partition.needsTicks || !commit.writable || !commit.canAppend(number, 0)) continue;
        const milliseconds = clock.wallMilliseconds();
        if (partition.apply(Kind.TICK, 0, 0, 0, milliseconds, NO_BYTES) !== OK) continue;
        commit.append(number, { kind: Kind.TICK, flags: 0, producer: 0, incarnation: 0, milliseconds }, NO_BYTES);
      }
      this.#tick = this.#scheduleTick();
    });
  }
}

/** Why nothing can be applied now. */
function refusal(commit: GroupCommit): TallystickError {
  return new TallystickError(commit.obstacle?.code ?? 'OVERLOADED', undefined, { outcome: 'refused' });
}

/** SET and DELETE log the delta that they caused behind their bodies. */
function effectOf(partition: Partition): Uint8Array {
  const bytes = new Uint8Array(EFFECT_BYTES);
  new DataView(bytes.buffer).setBigInt64(0, partition.effect, true);
  return bytes;
}
