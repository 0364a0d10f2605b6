import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TallystickError } from '../../errors.js';
import { HEAD_BYTES, inputShorter, lineGrown } from './cursor.js';

const READ_BYTES = 256 * 1024;
const LF = 0x0a;
const CR = 0x0d;

/** A stream of bytes, decompressed where it has to be, that keeps its first 64 KiB and can begin in the middle. */
export class Input {
  /** Length in bytes as far as it is known before reading: of a file that is not compressed. */
  readonly length: number | undefined;

  readonly #chunks: AsyncIterator<Buffer>;
  readonly #reopenAt: ((offset: number) => AsyncIterable<Buffer>) | undefined;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /** Chunks that were read for the head and not yet given out. */
  #waiting: Buffer[] = [];
  /** Bytes taken from `chunks`. */
  #taken = 0;

  constructor(
    chunks: AsyncIterable<Buffer>,
    seek: { length?: number; reopenAt?: (offset: number) => AsyncIterable<Buffer> } = {},
  ) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#reopenAt = seek.reopenAt;
    this.length = seek.length;
  }

  /** The first bytes, as many as have been read, at most 64 KiB. */
  get head(): Buffer {
    return this.#head.subarray(0, Math.min(this.#taken, HEAD_BYTES));
  }

  /** Reads ahead until the head has `bytes` or the input ends, and gives the head. */
  async readHead(bytes: number): Promise<Buffer> {
    while (this.#taken < Math.min(bytes, HEAD_BYTES)) {
      const chunk = await this.#take();
      if (chunk === undefined) break;
      this.#waiting.push(chunk);
    }
    return this.head;
  }

  /**
   * The bytes from the line on that begins at `begin`, where a cursor stands: behind a line end. Where it stands behind
   * a last line that had none, a line end must be all that was added to that line, and the next one begins behind it.
   *
   * @throws TallystickError INPUT_CHANGED
   */
  async fromLine(begin: number): Promise<{ offset: number; chunks: AsyncIterator<Buffer> }> {
    if (begin === 0) return { offset: 0, chunks: this.#from(0) };
    const chunks = this.#from(begin - 1);
    const first = await firstBytes(chunks, 3);
    if (first.length === 0) throw inputShorter(begin);
    const skip = lengthOfLineEnd(first);
    if (skip < 0) throw lineGrown(begin);
    return { offset: begin - 1 + skip, chunks: prepended(first.subarray(skip), chunks) };
  }

  /** The bytes from an offset on: by seeking where that is possible, else by reading over what lies before it. */
  async *#from(offset: number): AsyncGenerator<Buffer> {
    if (this.#reopenAt !== undefined && offset > this.#taken) {
      await this.#chunks.return?.();
      yield* this.#reopenAt(offset);
      return;
    }
    let skip = offset;
    for (;;) {
      const chunk = this.#waiting.shift() ?? (await this.#take());
      if (chunk === undefined) return;
      if (chunk.length > skip) yield chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
    }
  }

  async #take(): Promise<Buffer | undefined> {
    const result = await this.#chunks.next();
    if (result.done) return undefined;
    if (this.#taken < HEAD_BYTES) result.value.copy(this.#head, this.#taken);
    this.#taken += result.value.length;
    return result.value;
  }
}

/** An input and what its progress is measured by. */
export interface OpenInput {
  readonly input: Input;
  /** Bytes of the file as it lies there, compressed or not; unknown for a pipe. */
  readonly size: number | undefined;
  /** Of these, read so far. */
  bytesRead(): number;
  close(): Promise<void>;
}

/**
 * Opens a file, or stdin for `-`. What begins with the magic bytes of gzip (RFC 1952) is decompressed.
 *
 * @throws TallystickError INPUT_FAILED, also later while reading
 */
export async function openInput(path: string, stdin: Readable): Promise<OpenInput> {
  if (path === '-') return openPipe(stdin, path, async () => void stdin.destroy());
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    const stat = await file.stat();
    return stat.isFile()
      ? await openRegular(file, stat.size, path)
      : await openPipe(readFrom(file), path, closing(file));
  } catch (error) {
    await file?.close();
    throw inputFailed(path, error);
  }
}

const closing = (file: FileHandle) => (): Promise<void> => file.close();

async function openRegular(file: FileHandle, size: number, path: string): Promise<OpenInput> {
  let read = 0;
  const readAt = (offset: number): AsyncIterable<Buffer> => {
    read = offset;
    return watched(readFrom(file, offset), path, (bytes) => {
      read += bytes;
    });
  };
  const { gzip, chunks } = await recognized(readAt(0));
  const input = gzip ? new Input(watched(gunzip(chunks), path)) : new Input(chunks, { length: size, reopenAt: readAt });
  return { input, size, bytesRead: () => read, close: closing(file) };
}

async function openPipe(raw: AsyncIterable<Buffer>, path: string, close: () => Promise<void>): Promise<OpenInput> {
  let read = 0;
  const { gzip, chunks } = await recognized(
    watched(raw, path, (bytes) => {
      read += bytes;
    }),
  );
  const input = new Input(gzip ? watched(gunzip(chunks), path) : chunks);
  return { input, size: undefined, bytesRead: () => read, close };
}

function readFrom(file: FileHandle, start?: number): AsyncIterable<Buffer> {
  const position = start === undefined ? {} : { start };
  return file.createReadStream({ ...position, autoClose: false, highWaterMark: READ_BYTES });
}

/** Looks at the first two bytes, and gives the stream as if nobody had. */
async function recognized(raw: AsyncIterable<Buffer>): Promise<{ gzip: boolean; chunks: AsyncIterable<Buffer> }> {
  const iterator = raw[Symbol.asyncIterator]();
  const first = await firstBytes(iterator, 2);
  return { gzip: first[0] === 0x1f && first[1] === 0x8b, chunks: prepended(first, iterator) };
}

/** At least `count` bytes, less only where the stream ends. */
async function firstBytes(chunks: AsyncIterator<Buffer>, count: number): Promise<Buffer> {
  let first: Buffer = Buffer.alloc(0);
  while (first.length < count) {
    const result = await chunks.next();
    if (result.done) break;
    first = Buffer.concat([first, result.value]);
  }
  return first;
}

async function* prepended(first: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  yield* { [Symbol.asyncIterator]: () => chunks };
}

/** How much of the up to three bytes around a cursor is the end of the line before it; -1: that line goes on. */
function lengthOfLineEnd([before, next, afterNext]: Buffer): number {
  if (before === LF || next === undefined) return 1;
  if (next === LF) return 2;
  return next === CR && afterNext === LF ? 3 : -1;
}

function gunzip(chunks: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  // A failure of either end destroys both, so who reads the result meets it; there is no one else to tell.
  return pipeline(Readable.from(chunks), createGunzip({ chunkSize: READ_BYTES }), () => {});
}

async function* watched(
  chunks: AsyncIterable<Buffer>,
  path: string,
  onBytes: (bytes: number) => void = () => {},
): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of chunks) {
      onBytes(chunk.length);
      yield chunk;
    }
  } catch (error) {
    throw inputFailed(path, error);
  }
}

function inputFailed(path: string, cause: unknown): TallystickError {
  if (cause instanceof TallystickError) return cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TallystickError('INPUT_FAILED', `${path === '-' ? 'stdin' : path}: ${reason}.`, { cause });
}
