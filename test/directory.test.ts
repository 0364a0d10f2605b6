import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DataDirectory, manifestText } from '../src/directory.js';
import { directoryOfTest } from './integration/server-process.js';

const SHAPE = { lanes: 2, partitions: 5 };

/** A directory of which a server would have flushed its first groups. */
function madeDirectory(): string {
  const path = join(directoryOfTest(), 'data');
  const directory = DataDirectory.open(path, SHAPE, SHAPE);
  directory.markReady();
  directory.close();
  return path;
}

describe('the manifest of a data directory', () => {
  test('says the same or is refused, whichever bit is flipped', () => {
    const path = madeDirectory();
    const file = join(path, 'tallystick.json');
    const whole = readFileSync(file);
    const made = DataDirectory.look(path);
    let refused = 0;
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bytes = Buffer.from(whole);
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      writeFileSync(file, bytes);
      try {
        expect([bit, DataDirectory.look(path)]).toEqual([bit, made]);
      } catch (error) {
        expect(error).toMatchObject({ code: 'DIRECTORY_INVALID' });
        refused++;
      }
    }
    // The rest is white space.
    expect(refused).toBeGreaterThan(whole.length * 6);
  });
});

describe('a directory that is looked after', () => {
  test('is opened as it is, and no server may have it meanwhile', () => {
    const path = madeDirectory();
    const directory = DataDirectory.openStopped(path);
    expect(directory.lanes.map(({ partitions }) => partitions)).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
    for (const open of [() => DataDirectory.open(path, {}, SHAPE), () => DataDirectory.openStopped(path)]) {
      expect(open).toThrow(/DIRECTORY_IN_USE: Process \d+ has /);
    }
    directory.close();
    DataDirectory.open(path, {}, SHAPE).close();
  });

  test('is not made', () => {
    const path = join(directoryOfTest(), 'data');
    expect(() => DataDirectory.openStopped(path)).toThrow(/DIRECTORY_INVALID: .* is no data directory\./);
    mkdirSync(path);
    expect(() => DataDirectory.openStopped(path)).toThrow(/DIRECTORY_INVALID: .* is no data directory\./);
    expect(() => readFileSync(join(path, 'server.pid'))).toThrow(/ENOENT/);
  });

  test('is refused where its creation was interrupted', () => {
    const path = madeDirectory();
    const { manifest } = DataDirectory.openStopped(path);
    rmSync(join(path, 'server.pid'));
    writeFileSync(join(path, 'tallystick.json'), manifestText({ ...manifest, state: 'creating' }));
    expect(() => DataDirectory.openStopped(path)).toThrow(/was never made to the end/);
  });
});
