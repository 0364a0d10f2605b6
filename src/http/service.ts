import type { Clock } from '../clock.js';
import { asTallystickError, TallystickError } from '../errors.js';
import { Admission } from './admission.js';
import type { Backend } from './backend.js';
import { Figures } from './figures.js';
import { AllowedHosts } from './hosts.js';
import type { IdempotencyKeys } from './idempotency.js';
import { problem } from './problem.js';
import { JSON_TYPE, type Reply } from './reply.js';
import { checkAccept, checkContent, type Fields } from './request-head.js';
import type { Ending, Route, RouteCall } from './route.js';
import { type Found, MethodError, Router } from './router.js';
import { type Sink, Stream } from './stream.js';
import { Streams } from './streams.js';

export interface ServiceOptions {
  readonly backend: Backend;
  readonly routes: readonly Route[];
  readonly keys: IdempotencyKeys;
  readonly hosts: readonly string[];
  readonly clock: Clock;
  readonly admission?: Admission;
  readonly figures?: Figures;
  readonly streams?: Streams;
}

/** A request whose head was let in. */
export interface Exchange extends Found {
  readonly key: string | undefined;
  readonly lastEventId: string | undefined;
}

/**
 * What becomes of a request, whatever brought it:
 *
 *   begin(method, …)      who asks, what for                        421, 404, 405, 406, 415
 *   answer(exchange)      room, the body and the query, the lanes   503, 400, 409, 422, …
 *   stream(exchange)      of a route that goes on: room, the query  503, 400
 *
 * All answer errors as problems; nothing is thrown.
 */
export class Service {
  readonly admission: Admission;
  readonly figures: Figures;
  readonly streams: Streams;
  readonly #backend: Backend;
  readonly #keys: IdempotencyKeys;
  readonly #router: Router;
  readonly #hosts: AllowedHosts;
  readonly #clock: Clock;
  readonly #parts: AnsweringParts;
  #isDraining = false;

  constructor({
    backend,
    routes,
    keys,
    hosts,
    clock,
    admission = new Admission(),
    streams = new Streams(),
    figures = new Figures(),
  }: ServiceOptions) {
    this.#clock = clock;
    this.#backend = backend;
    this.#keys = keys;
    this.#router = new Router(routes);
    this.#hosts = new AllowedHosts(hosts);
    this.admission = admission;
    this.figures = figures;
    this.streams = streams;
    this.#parts = { clock, backend, figures, admission: this.admission };
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Refuses what comes from now on, and ends the streams; resolves when what was let in is answered. */
  drain(): Promise<void> {
    this.#isDraining = true;
    this.streams.fail(new TallystickError('SHUTTING_DOWN'));
    return this.admission.idle();
  }

  /** What the request is for, or the problem with it. */
  begin(method: string, target: string, fields: Fields): Exchange | Reply {
    try {
      const { host, accept, idempotencyKey, lastEventId } = fields;
      if (!this.#hosts.has(host)) throw new TallystickError('HOST_REFUSED', `Host: ${host ?? 'none'}.`);
      const { route, name, query } = this.#router.find(method, target);
      checkAccept(accept, route.type ?? JSON_TYPE);
      if (route.body) checkContent(fields);
      if (route.key === 'refused' && idempotencyKey !== undefined)
        throw new TallystickError('INVALID_ARGUMENT', 'An Idempotency-Key holds for increments alone.');
      const key = route.key === 'taken' ? idempotencyKey : undefined;
      return { route, name, query, key, lastEventId };
    } catch (error) {
      return this.refuse(error);
    }
  }

  /** The answer to what never comes to be answered by its route. */
  refuse(error: unknown): Reply {
    const reply = problemOf(error);
    this.figures.answered(NO_ROUTE, reply.status, reply.code);
    return reply;
  }

  /** Calls back once. */
  answer(exchange: Exchange, text: string | undefined, reply: (reply: Reply) => void): void {
    const { route, key } = exchange;
    const answering = new Answering(this.#parts, route, reply);
    try {
      if (this.#isDraining) throw new TallystickError('SHUTTING_DOWN');
      this.admission.enter(route.load);
    } catch (error) {
      answering.refused(error);
      return;
    }
    try {
      if (key === undefined) this.#run(exchange, text, answering);
      else this.#runOnce(exchange, text, key, answering);
    } catch (error) {
      answering.failed(error);
    }
  }

  /**
   * Opens the answer of a route that goes on, which is then started; undefined where it was refused. A stream is no request in hand: it takes a place of
   * its own kind, and comes in only where reads do.
   */
  stream(exchange: Exchange, sink: Sink): Stream | undefined {
    const { route } = exchange;
    let claimed = 0;
    try {
      if (this.#isDraining) throw new TallystickError('SHUTTING_DOWN');
      this.admission.enter(route.load);
      this.admission.leave();
      const claim = (feeds: number): void => {
        this.streams.claim(feeds);
        claimed += feeds;
      };
      if (!route.open) throw new TallystickError('INTERNAL', `${route.id} is no stream.`);
      const source = route.open(this.#callOf(exchange, undefined, claim));
      const stream: Stream = new Stream({
        ...{ clock: this.#clock, source, sink },
        failed: (error) => this.#backend.failed(error),
        onEnd: (refusal) => {
          this.streams.remove(stream);
          this.streams.giveBack(claimed);
          this.figures.streams = this.streams.count;
          this.figures.answered(route.id, refusal?.status ?? 200, refusal?.code);
        },
      });
      this.streams.add(stream);
      this.figures.streams = this.streams.count;
      return stream;
    } catch (error) {
      this.streams.giveBack(claimed);
      const reply = problemOf(this.#backend.failed(asTallystickError(error)));
      this.figures.answered(route.id, reply.status, reply.code);
      sink.refuse(reply);
      return undefined;
    }
  }

  /** Throws for what is wrong with the request. */
  #run(exchange: Exchange, text: string | undefined, ending: Ending): void {
    const { route } = exchange;
    const body = text === undefined ? undefined : parseJson(text);
    if (!route.run) throw new TallystickError('INTERNAL', `${route.id} is a stream.`);
    route.run(this.#callOf(exchange, body, nothingToClaim), ending);
  }

  #callOf(
    { name, query, key, lastEventId }: Exchange,
    body: unknown,
    claim: (feeds: number) => void,
  ): RouteCall<string | undefined, unknown> {
    const { client, gatherer } = this.#backend;
    const { figures, admission } = this;
    return { client, gatherer, figures, admission, name, query, body, key, lastEventId, claim };
  }

  #runOnce(exchange: Exchange, text: string | undefined, key: string, ending: Ending): void {
    const keys = this.#keys;
    keys.begin(key, text ?? '');
    const once: Ending = {
      answered: (result) => {
        keys.end(key, true);
        ending.answered(result);
      },
      failed: (error) => {
        keys.end(key, asTallystickError(error).outcome !== 'refused');
        ending.failed(error);
      },
    };
    try {
      this.#run(exchange, text, once);
    } catch (error) {
      once.failed(error);
    }
  }
}

interface AnsweringParts {
  readonly clock: Clock;
  readonly backend: Backend;
  readonly figures: Figures;
  readonly admission: Admission;
}

/** A request in hand. */
class Answering implements Ending {
  readonly #parts: AnsweringParts;
  readonly #route: Route;
  readonly #reply: (reply: Reply) => void;
  readonly #began: number;

  constructor(parts: AnsweringParts, route: Route, reply: (reply: Reply) => void) {
    this.#parts = parts;
    this.#route = route;
    this.#reply = reply;
    this.#began = parts.clock.monotonicMilliseconds();
  }

  answered(result: unknown): void {
    const body = typeof result === 'string' ? result : JSON.stringify(result);
    this.#finish({ status: 200, type: this.#route.type ?? JSON_TYPE, body });
    this.#parts.admission.leave();
  }

  failed(error: unknown): void {
    this.#finish(problemOf(this.#parts.backend.failed(asTallystickError(error))));
    this.#parts.admission.leave();
  }

  /** It was not let in. */
  refused(error: unknown): void {
    this.#finish(problemOf(error));
  }

  #finish(reply: Reply): void {
    const { figures, clock } = this.#parts;
    const { id, load } = this.#route;
    figures.answered(id, reply.status, reply.code);
    figures.took(load, clock.monotonicMilliseconds() - this.#began);
    this.#reply(reply);
  }
}

const nothingToClaim = (): void => {};

/** In figures, what was refused before its route saw it. */
const NO_ROUTE = 'none';

const problemOf = (error: unknown): Reply =>
  error instanceof MethodError ? problem(error, ['Allow', error.allowed]) : problem(asTallystickError(error));

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TallystickError('INVALID_ARGUMENT', `The body is no JSON: ${(error as SyntaxError).message}.`);
  }
}
