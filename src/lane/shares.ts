import { TallystickError } from '../errors.js';
import { ByteWriter } from '../protocol/bytes.js';
import {
  decodeHelloRequest,
  decodeStatsAnswer,
  decodeStatsRequest,
  encodeAllStats,
  encodeHelloAnswer,
  encodeStatsAnswer,
  type HelloRequest,
  PROTOCOL_VERSION,
} from '../protocol/control.js';
import type { FrameView } from '../protocol/frame.js';
import { Opcode } from '../protocol/opcode.js';
import { decodeSyncAnswer, encodeSyncAnswer, errorAnswer, errorOf } from '../protocol/response.js';
import type { Feeds } from '../pubsub/feeds.js';
import type { Acks } from './acks.js';
import { type Address, type Answers, addressOf, type LaneConnection, type Requester } from './answers.js';
import { decodeGrants, encodeGrants, type Grant, grant, producerId, Session, type Via } from './greeting.js';
import type { HotNames } from './hot-names.js';
import type { LaneParts } from './lane.js';
import type { LargeValues } from './large-values.js';
import type { Mesh } from './mesh.js';
import type { Ticks } from './ticks.js';
import type { WaitingReads } from './waiting-reads.js';

/**
 * HELLO, SYNC and STATS concern whole lanes. Each lane answers with its share; the lane of the client gathers the shares, its own
 * alone for a client that is connected to every lane, and makes one answer of them.
 *
 *   client -> request -> gather -+-> share of this lane -----------+-> all there, or one refused -> client
 *                                +-> mesh -> share of that lane ---+
 */

interface Gathering {
  readonly lanes: readonly number[];
  /** Called once with the bodies of all shares, in the order of the lanes. */
  readonly gathered: (shares: readonly Uint8Array[]) => void;
  /** Called once with the first refusal. */
  readonly refused: (error: TallystickError) => void;
}

export interface SharesParts {
  readonly parts: LaneParts;
  readonly answers: Answers;
  readonly mesh: Mesh;
  readonly hot: HotNames;
  readonly feeds: Feeds;
  readonly ticks: Ticks;
  readonly acks: Acks;
  readonly large: LargeValues;
  readonly waiting: WaitingReads;
  /** Repeats that the lane has answered. */
  readonly repeated: () => number;
}

export class Shares {
  readonly #parts: LaneParts;
  readonly #answers: Answers;
  readonly #mesh: Mesh;
  readonly #hot: HotNames;
  readonly #feeds: Feeds;
  readonly #ticks: Ticks;
  readonly #acks: Acks;
  readonly #large: LargeValues;
  readonly #waiting: WaitingReads;
  readonly #repeated: () => number;

  constructor({ parts, answers, mesh, hot, feeds, ticks, acks, large, waiting, repeated }: SharesParts) {
    this.#parts = parts;
    this.#answers = answers;
    this.#mesh = mesh;
    this.#hot = hot;
    this.#feeds = feeds;
    this.#ticks = ticks;
    this.#acks = acks;
    this.#large = large;
    this.#waiting = waiting;
    this.#repeated = repeated;
  }

  /** Answers a client of this lane, with the shares of all lanes that it reaches. @throws TallystickError BAD_REQUEST */
  request(connection: LaneConnection, frame: FrameView): void {
    if (frame.opcode === Opcode.HELLO) this.#hello(connection, frame, decodeHelloRequest(frame.body));
    else if (frame.opcode === Opcode.SYNC) this.#sync(connection, frame);
    else this.#stats(connection, frame);
  }

  /** Answers with the share of this lane alone. @throws TallystickError what refuses it */
  share(from: Requester, frame: FrameView): void {
    if (frame.opcode === Opcode.HELLO) this.#helloShare(from, frame);
    else if (frame.opcode === Opcode.SYNC) this.#syncShare(from, frame);
    else this.#statsShare(from, frame);
  }

  #hello(connection: LaneConnection, frame: FrameView, request: HelloRequest): void {
    const address = addressOf(frame);
    const isDirect = request.direct ?? true;
    this.#gather(frame, {
      lanes: this.#reached(isDirect),
      gathered: (shares) => {
        const { session } = connection;
        session.client = request.client;
        session.isDirect = isDirect;
        const grants = shares.flatMap(decodeGrants);
        for (const granted of grants) session.setHandle(granted.partition, granted);
        connection.helloDone();
        this.#answers.send(connection, address, 0, this.#helloAnswer(request, session.via, grants));
      },
      refused: (error) => this.#answers.refuse(connection, address, error),
    });
  }

  #helloAnswer({ producer }: HelloRequest, via: Via, grants: readonly Grant[]): Uint8Array {
    const writer = new ByteWriter();
    const { lane, map } = this.#parts;
    // Who came by one kind of transport may be able to use no other
    const { webSocketLanes = [], ...told } = map;
    const lanes = via === 'webSocket' ? webSocketLanes : map.lanes;
    const partitions = grants
      .map(({ partition, incarnation, next, cursor }) => ({
        partition,
        incarnation,
        next,
        ...(cursor && { cursor }),
      }))
      .sort((a, b) => a.partition - b.partition);
    encodeHelloAnswer(writer, {
      version: PROTOCOL_VERSION,
      lane,
      ...told,
      lanes,
      ...(producer && { producer: { id: producerId(producer), partitions } }),
    });
    return writer.view();
  }

  #helloShare(from: Requester, frame: FrameView): void {
    const request = decodeHelloRequest(frame.body);
    const grants = grant(this.#parts, this.#ticks, request);
    const writer = new ByteWriter();
    encodeGrants(writer, grants);
    // An opening promises that older sessions are fenced, so it must be on the device.
    if (grants.length > 0 && !request.resume) this.#whenAllFlushed(from, frame, writer);
    else this.#answers.send(from, frame, 0, writer.view());
  }

  #sync(connection: LaneConnection, frame: FrameView): void {
    this.#gatherFor(connection, frame, (writer, shares) => {
      const positions = shares.flatMap((share) => decodeSyncAnswer(share).positions);
      encodeSyncAnswer(writer, { positions: positions.sort((a, b) => a.partition - b.partition) });
    });
  }

  #syncShare(from: Requester, frame: FrameView): void {
    this.#waiting.check();
    const positions = [...this.#parts.partitions].map(([partition, { sequence }]) => ({
      partition,
      position: sequence,
    }));
    const writer = new ByteWriter();
    encodeSyncAnswer(writer, { positions });
    this.#whenAllFlushed(from, frame, writer, this.#waiting.begin(writer.length));
  }

  #stats(connection: LaneConnection, frame: FrameView): void {
    this.#gatherFor(connection, frame, (writer, shares) => {
      if (connection.session.isDirect) writer.bytes(shares[0] as Uint8Array);
      else encodeAllStats(writer, shares.map(decodeStatsAnswer));
    });
  }

  #statsShare(from: Requester, frame: FrameView): void {
    const { commit, lane, partitions, describe, describePartition } = this.#parts;
    const { stateHash, hot } = decodeStatsRequest(frame.body);
    const writer = new ByteWriter();
    encodeStatsAnswer(writer, {
      lane,
      repeated: this.#repeated(),
      partitions: [...partitions].map(([partition, kernel]) => ({
        partition,
        flushed: commit.flushedSequence(partition),
        ...kernel.statistics,
        ...describePartition(partition),
        largeValues: this.#large.of(partition) ?? null,
        ...(stateHash && { stateHash: kernel.stateHash.toString(16).padStart(16, '0') }),
      })),
      ...this.#acks.describe(),
      ...describe(),
      waitingReads: this.#waiting.describe(),
      mesh: { ...this.#mesh.stats },
      feeds: { ...this.#feeds.describe() },
      ...(hot !== undefined && { hot: this.#hot.top(hot).map((each) => ({ ...each })) }),
    });
    this.#answers.send(from, frame, 0, writer.view());
  }

  #whenAllFlushed(from: Requester, frame: FrameView, writer: ByteWriter, ended?: () => void): void {
    const flushed = (address: Address) => this.#answers.send(from, address, 0, writer.view());
    this.#answers.whenAllFlushed(from, frame, flushed, ended);
  }

  /** Gathers the shares of what the client reaches, and answers with what is made of them. */
  #gatherFor(
    connection: LaneConnection,
    frame: FrameView,
    combine: (writer: ByteWriter, shares: readonly Uint8Array[]) => void,
  ): void {
    const address = addressOf(frame);
    this.#gather(frame, {
      lanes: this.#reached(connection.session.isDirect),
      gathered: (shares) => {
        const writer = new ByteWriter();
        combine(writer, shares);
        this.#answers.send(connection, address, 0, writer.view());
      },
      refused: (error) => this.#answers.refuse(connection, address, error),
    });
  }

  #reached(isDirect: boolean): number[] {
    const { lane } = this.#parts;
    return isDirect ? [lane] : [lane, ...this.#mesh.lanes].sort((a, b) => a - b);
  }

  #gather(frame: FrameView, { lanes, gathered, refused }: Gathering): void {
    const shares: Uint8Array[] = [];
    let missing = lanes.length;
    let isOver = false;
    for (const [index, lane] of lanes.entries()) {
      const member: Requester = {
        session: NOBODY,
        remote: '',
        identity: undefined,
        isClogged: false,
        answer: (_opcode, _flags, _partition, _requestId, body) => {
          this.#mesh.forget(member);
          shares[index] = body.slice();
          if (--missing === 0 && !isOver) gathered(shares);
        },
        refuse: (_requestId, _partition, error, details) => {
          this.#mesh.forget(member);
          if (!isOver) refused(errorOf(errorAnswer(error, details)));
          isOver = true;
        },
        flush: () => {},
      };
      if (lane === this.#parts.lane) this.#ownShare(member, frame);
      else this.#mesh.forward(lane, member, frame);
    }
  }

  #ownShare(member: Requester, frame: FrameView): void {
    try {
      this.share(member, frame);
    } catch (error) {
      if (!(error instanceof TallystickError)) throw error;
      this.#answers.refuse(member, frame, error);
    }
  }
}

/** The session of a lane that asks another one: it writes nothing. */
const NOBODY = new Session();
