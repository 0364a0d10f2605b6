import { randomBytes, randomInt } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { TallystickError } from './errors.js';

/**
 * A data directory:
 *
 *   tallystick.json   the manifest below
 *   server.pid        who has it open: process id and start time
 *   lane-0/ …         the log of each lane and its head mark
 *
 * The manifest is written twice at creation: as `creating` before anything else, and as `ready` when every lane has flushed its first
 * group, before the server accepts anything. So an unfinished creation can be told from a lost lane. A directory that is
 * made from a backup is `restoring` until all of it is there; no server takes it before.
 */

const MANIFEST = 'tallystick.json';
const LOCK = 'server.pid';
const FORMAT = 2;
const SECRET_BYTES = 16;
/** Free on its file system before a directory is made: more than the logs keep as their reserve. */
const NEEDED_BYTES = 80 * 1_048_576;

const manifestSchema = z.object({
  format: z.literal(FORMAT),
  state: z.enum(['creating', 'restoring', 'ready']),
  /** The life of the directory in which ids and positions are valid. */
  epoch: z.number().int().min(1).max(0xffffffff),
  /** For each lane its partitions. */
  lanes: z.array(z.array(z.number().int().min(0)).min(1)).min(1),
  /** Key of the index hash, hexadecimal. */
  secret: z.string().length(SECRET_BYTES * 2),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** In the file, behind the manifest: CRC-32 of its values as JSON. A flipped bit in the epoch or the secret would be noticed by nobody. */
const storedSchema = manifestSchema.extend({ checksum: z.string() });

/** What is fixed when a directory is made. */
interface Shape {
  readonly lanes: number;
  readonly partitions: number;
}

/** A shape that is asked for, as far as it is. */
interface Wish {
  readonly lanes?: number | undefined;
  readonly partitions?: number | undefined;
}

export class DataDirectory {
  readonly path: string;
  #manifest: Manifest;
  readonly #lock: Lock | undefined;

  private constructor(path: string, manifest: Manifest, lock: Lock | undefined) {
    this.path = path;
    this.#manifest = manifest;
    this.#lock = lock;
  }

  /**
   * Opens a data directory for this process alone, making it if there is none.
   *
   * @param lanes partitions  for a new directory; an existing one keeps its own, and another wish is CONFIG_INVALID
   * @throws TallystickError DIRECTORY_IN_USE, DIRECTORY_INVALID, CONFIG_INVALID, STORAGE_FULL
   */
  static open(path: string, wish: Wish, defaults: Shape): DataDirectory {
    let lock: Lock | undefined;
    try {
      makeDirectory(path);
      lock = Lock.take(join(path, LOCK));
      return new DataDirectory(path, openManifest(path, wish, defaults), lock);
    } catch (error) {
      lock?.release();
      throw unusable(error);
    }
  }

  /**
   * Makes a directory for this process alone, for what a backup holds: with its secret and a new epoch.
   *
   * @throws TallystickError CONFIG_INVALID where there is something already, DIRECTORY_IN_USE
   */
  static createForRestore(path: string, shape: Shape, secret: Uint8Array): DataDirectory {
    let lock: Lock | undefined;
    try {
      makeDirectory(path);
      if (readdirSync(path).length > 0) {
        throw new TallystickError('CONFIG_INVALID', `dataDir: ${path} is not empty; restore into a new directory.`);
      }
      lock = Lock.take(join(path, LOCK));
      const manifest: Manifest = {
        ...newManifest(newShape(shape, shape)),
        state: 'restoring',
        secret: Buffer.from(secret).toString('hex'),
      };
      writeManifest(path, manifest);
      return new DataDirectory(path, manifest, lock);
    } catch (error) {
      lock?.release();
      throw unusable(error);
    }
  }

  /**
   * Opens a directory that no server has open, as it is, and keeps servers away. On a file system that can't be written
   * there is no need to.
   *
   * @throws TallystickError DIRECTORY_IN_USE, DIRECTORY_INVALID
   */
  static openStopped(path: string): DataDirectory {
    const { state } = existingManifest(path);
    if (state !== 'ready') {
      throw new TallystickError('DIRECTORY_INVALID', `${path} was never made to the end, and holds nothing yet.`);
    }
    let lock: Lock | undefined;
    try {
      lock = Lock.take(join(path, LOCK));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw unusable(error);
    }
    return new DataDirectory(path, existingManifest(path), lock);
  }

  /** What is fixed of a directory that a server may have open. @throws TallystickError DIRECTORY_INVALID */
  static look(path: string): { readonly epoch: number; readonly secret: Uint8Array; readonly lanes: LanePlace[] } {
    const manifest = existingManifest(path);
    if (manifest.state !== 'ready') throw new TallystickError('DIRECTORY_INVALID', `${path} is no data directory yet.`);
    const { epoch, secret } = manifest;
    return { epoch, secret: Buffer.from(secret, 'hex'), lanes: placesOf(path, manifest) };
  }

  /** The lanes of a directory that a server may have open. @throws TallystickError DIRECTORY_INVALID */
  static lanesOf(path: string): LanePlace[] {
    return DataDirectory.look(path).lanes;
  }

  /**
   * What `open` would come to, without opening anything; `made`: it was fixed before.
   *
   * @throws TallystickError DIRECTORY_INVALID, CONFIG_INVALID
   */
  static shapeOf(path: string, wish: Wish, defaults: Shape): Shape & { readonly made: boolean } {
    const manifest = readManifest(path);
    if (manifest) compare(path, manifest, wish);
    return { ...(manifest ? shapeOf(manifest) : newShape(wish, defaults)), made: manifest !== undefined };
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  get lanes(): LanePlace[] {
    return placesOf(this.path, this.#manifest);
  }

  get secret(): Uint8Array {
    return Buffer.from(this.#manifest.secret, 'hex');
  }

  /** Removes what an interrupted creation left; nothing in it was ever acknowledged. */
  discardUnfinished(): void {
    if (this.#manifest.state !== 'creating') return;
    for (const { path } of this.lanes) rmSync(path, { recursive: true, force: true });
  }

  /**
   * Records that every lane has its first group on the device.
   *
   * @throws TallystickError DIRECTORY_IN_USE if another server took the directory at the same moment
   */
  markReady(): void {
    this.#lock?.confirm();
    if (this.#manifest.state === 'ready') return;
    this.#manifest = { ...this.#manifest, state: 'ready' };
    try {
      writeManifest(this.path, this.#manifest);
    } catch (error) {
      throw unusable(error);
    }
  }

  close(): void {
    this.#lock?.release();
  }
}

/** A lane's directory and its partitions. */
export interface LanePlace {
  readonly path: string;
  readonly partitions: readonly number[];
}

function placesOf(path: string, { lanes }: Manifest): LanePlace[] {
  return lanes.map((partitions, lane) => ({ path: join(path, `lane-${lane}`), partitions }));
}

function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  fsyncDirectory(dirname(path));
}

/** What the system says of a directory that it won't give, in terms of who can do something about it. */
function unusable(error: unknown): unknown {
  if (error instanceof TallystickError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const isFull = code === 'ENOSPC' || code === 'EDQUOT';
  return new TallystickError(isFull ? 'STORAGE_FULL' : 'CONFIG_INVALID', `dataDir: ${message}.`, { cause: error });
}

function openManifest(path: string, wish: Wish, defaults: Shape): Manifest {
  const found = readManifest(path);
  if (found) {
    if (found.state === 'restoring') {
      throw new TallystickError(
        'DIRECTORY_INVALID',
        `${path} was not restored to the end. Remove it and restore again.`,
      );
    }
    compare(path, found, wish);
    return found;
  }
  if (existsSync(join(path, 'lane-0'))) {
    throw new TallystickError('DIRECTORY_INVALID', `${path} has lanes but no ${MANIFEST}.`);
  }
  const { bavail, bsize } = statfsSync(path);
  if (bavail * bsize < NEEDED_BYTES) {
    throw new TallystickError('STORAGE_FULL', `dataDir: a new directory needs ${NEEDED_BYTES} bytes.`);
  }
  const manifest = newManifest(newShape(wish, defaults));
  writeManifest(path, manifest);
  return manifest;
}

function newShape(wish: Wish, defaults: Shape): Shape {
  const partitions = wish.partitions ?? defaults.partitions;
  return { lanes: Math.min(wish.lanes ?? defaults.lanes, partitions), partitions };
}

/** Partition p belongs to lane p / (partitions per lane): neighbours share a lane. */
function newManifest({ lanes, partitions }: Shape): Manifest {
  const assignment = Array.from({ length: lanes }, (_, lane) => {
    const first = Math.ceil((lane * partitions) / lanes);
    const end = Math.ceil(((lane + 1) * partitions) / lanes);
    return Array.from({ length: end - first }, (_, i) => first + i);
  });
  const secret = randomBytes(SECRET_BYTES).toString('hex');
  return { format: FORMAT, state: 'creating', epoch: randomInt(1, 0xffffffff), lanes: assignment, secret };
}

const shapeOf = ({ lanes }: Manifest): Shape => ({ lanes: lanes.length, partitions: lanes.flat().length });

function compare(path: string, manifest: Manifest, wish: Wish): void {
  const has = shapeOf(manifest);
  for (const key of ['lanes', 'partitions'] as const) {
    const wanted = wish[key];
    if (wanted === undefined || wanted === has[key]) continue;
    throw new TallystickError('CONFIG_INVALID', `${key}: ${path} was made with ${has[key]}, not ${wanted}.`);
  }
}

function readManifest(path: string): Manifest | undefined {
  const file = join(path, MANIFEST);
  if (!existsSync(file)) return undefined;
  try {
    const { checksum, ...manifest } = storedSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
    if (checksum !== checksumOf(manifest)) throw new Error('Its checksum differs.');
    return manifest;
  } catch (cause) {
    throw new TallystickError('DIRECTORY_INVALID', `${file} cannot be read, or is damaged.`, { cause });
  }
}

function existingManifest(path: string): Manifest {
  const manifest = readManifest(path);
  if (!manifest) throw new TallystickError('DIRECTORY_INVALID', `${path} is no data directory.`);
  return manifest;
}

function checksumOf({ format, state, epoch, lanes, secret }: Manifest): string {
  return crc32(JSON.stringify([format, state, epoch, lanes, secret]))
    .toString(16)
    .padStart(8, '0');
}

/** The content of the file. */
export function manifestText(manifest: Manifest): string {
  return `${JSON.stringify({ ...manifest, checksum: checksumOf(manifest) }, null, 2)}\n`;
}

/** Whole or not at all: a new file is flushed, takes the place of the old one, and the directory is flushed. */
function writeManifest(path: string, manifest: Manifest): void {
  const file = join(path, MANIFEST);
  const temporary = `${file}.new`;
  const descriptor = openSync(temporary, 'w', 0o600);
  writeFileSync(descriptor, manifestText(manifest));
  fsyncSync(descriptor);
  closeSync(descriptor);
  renameSync(temporary, file);
  fsyncDirectory(path);
}

function fsyncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

/**
 * One server a directory. The file names a process and when it started, so that a process that got the number of a dead
 * server later is not taken for it.
 */
class Lock {
  readonly #path: string;
  readonly #content: string;

  private constructor(path: string, content: string) {
    this.#path = path;
    this.#content = content;
  }

  static take(path: string): Lock {
    const content = JSON.stringify({ pid: process.pid, start: startOf(process.pid) });
    // The file appears with its content: nobody may take it for one that a process died over.
    const whole = `${path}.${process.pid}`;
    try {
      do {
        const holder = holderOf(path);
        if (holder !== undefined)
          throw new TallystickError('DIRECTORY_IN_USE', `Process ${holder} has ${dirname(path)} open.`);
        // First, since on a full disk there is no room for two.
        rmSync(path, { force: true });
        writeFileSync(whole, content, { mode: 0o600 });
      } while (!isLinked(whole, path));
      return new Lock(path, content);
    } finally {
      rmSync(whole, { force: true });
    }
  }

  /**
   * Two servers that find the lock of a dead one at the same moment may both remove it, and the later one then removes
   * that of the earlier one: so the earlier one looks again before it serves.
   *
   * @throws TallystickError DIRECTORY_IN_USE
   */
  confirm(): void {
    if (!this.#isOwn()) throw new TallystickError('DIRECTORY_IN_USE', `Another server took ${dirname(this.#path)}.`);
  }

  release(): void {
    if (this.#isOwn()) rmSync(this.#path, { force: true });
  }

  #isOwn(): boolean {
    return existsSync(this.#path) && readFileSync(this.#path, 'utf8') === this.#content;
  }
}

/** Gives a file a second name, unless there is a file of that name. */
function isLinked(file: string, name: string): boolean {
  try {
    linkSync(file, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The process that holds a lock file, if it lives. */
function holderOf(path: string): number | undefined {
  let holder: { pid: number; start: string | undefined };
  try {
    holder = z
      .object({ pid: z.number(), start: z.string().optional() })
      .parse(JSON.parse(readFileSync(path, 'utf8'))) as never;
  } catch {
    return undefined; // gone by now, or damaged
  }
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined;
  }
  return startOf(holder.pid) === holder.start ? holder.pid : undefined;
}

/** When a process started, as the system tells it; undefined where it does not. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
