import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';

/** EventSource of browsers as far as a test needs it: what it reads, what it remembers, and how it comes back. */

export interface ServerEvent {
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: each test says what it expects
  readonly data: any;
  /** The last id that came, with this event or before it. */
  readonly id: string;
}

/** Reads `text/event-stream` in whatever pieces it comes: HTML, 9.2.6. */
export class EventParser {
  lastEventId = '';
  retry: number | undefined;
  #line = '';
  #event = '';
  #data: string[] = [];

  *read(text: string): Generator<ServerEvent> {
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop() as string;
    for (const line of lines) {
      const event = this.#take(line);
      if (event) yield event;
    }
  }

  #take(line: string): ServerEvent | undefined {
    if (line !== '') {
      const [field = '', value = ''] = line.split(/: ?(.*)/s);
      if (field === 'id') this.lastEventId = value;
      else if (field === 'event') this.#event = value;
      else if (field === 'data') this.#data.push(value);
      else if (field === 'retry') this.retry = Number(value);
      return undefined;
    }
    const [event, data] = [this.#event, this.#data];
    this.#event = '';
    this.#data = [];
    return data.length > 0 ? { event, data: JSON.parse(data.join('\n')), id: this.lastEventId } : undefined;
  }
}

export class EventSourceOfTests {
  readonly url: string;
  readonly parser = new EventParser();
  /** What has come and was not looked at. */
  readonly events: ServerEvent[] = [];
  response: IncomingMessage | undefined;
  isEnded = false;
  bytes = 0;
  #request: ClientRequest | undefined;
  #whenNews: (() => void) | undefined;

  constructor(url: string) {
    this.url = url;
  }

  /** Asks, or asks again with the last id that came. Resolves with the head. */
  open(): Promise<IncomingMessage> {
    const { lastEventId } = this.parser;
    const headers = { Accept: 'text/event-stream', ...(lastEventId !== '' && { 'Last-Event-ID': lastEventId }) };
    this.isEnded = false;
    return new Promise((resolve, reject) => {
      const request = httpRequest(this.url, { headers, agent: false }, (response) => {
        this.response = response;
        response.setEncoding('utf8');
        response.on('data', (text: string) => this.#take(text));
        const ended = () => {
          if (this.#request !== request) return;
          this.isEnded = true;
          this.#whenNews?.();
        };
        response.on('end', ended);
        response.on('error', ended);
        resolve(response);
      });
      this.#request = request;
      request.on('error', reject);
      request.end();
    });
  }

  /** Ends the connection, as a network does: what has not come by now never does. */
  close(): void {
    const request = this.#request;
    this.#request = undefined;
    request?.on('error', () => {});
    request?.destroy();
  }

  /** The next event; undefined where the stream ended. */
  async next(): Promise<ServerEvent | undefined> {
    while (this.events.length === 0 && !this.isEnded) {
      await new Promise<void>((resolve) => {
        this.#whenNews = resolve;
      });
    }
    return this.events.shift();
  }

  /** The next so many events, in short. */
  async read(count: number): Promise<string[]> {
    const found: string[] = [];
    for (let i = 0; i < count; i++) {
      const event = await this.next();
      found.push(event ? inShort(event) : 'end');
    }
    return found;
  }

  #take(text: string): void {
    this.bytes += text.length;
    this.events.push(...this.parser.read(text));
    this.#whenNews?.();
  }
}

export function inShort({ event, data }: ServerEvent): string {
  if (event === 'reset') return 'reset';
  if (event === 'problem') return `problem ${data.code}`;
  const { name, value, delta, exists } = data;
  return `${event} ${name}=${exists ? value : 'none'}${delta === undefined ? '' : `(${delta})`}`;
}
