import { describe, expect, test } from 'vitest';
import type { AppendOutcome } from '../../src/log/log.js';
import { damageConformance } from './damage.conformance.js';
import { LogFixture } from './fixture.js';
import { filesHome, lmdbHome, simHome, withinTheCall } from './homes.js';
import { logConformance } from './log.conformance.js';
import { readingConformance } from './reading.conformance.js';
import { segmentsConformance } from './segments.conformance.js';

describe.each([
  ['SimLog', simHome, { kind: 'flushed' }],
  ['LMDB', lmdbHome, undefined],
  ['Files', filesHome, undefined],
] as const)('%s', (_, makeHome, first) => {
  const fixture = new LogFixture(withinTheCall(makeHome));

  test('appends small groups within the call as soon as the file is long enough', async () => {
    const { log } = fixture;
    const outcomes: (AppendOutcome | undefined)[] = [];
    const appendNow = log.appendNow.bind(log);
    log.appendNow = (group) => {
      outcomes.push(appendNow(group));
      return outcomes.at(-1);
    };
    await fixture.writeSmall(30);
    expect(outcomes).toEqual([first, ...new Array(29).fill({ kind: 'flushed' })]);
  });
});

for (const conformance of [logConformance, damageConformance, readingConformance]) {
  conformance('SimLog', simHome);
  conformance('LMDB', lmdbHome);
  conformance('Files', filesHome);
  conformance('SimLog, within the call', withinTheCall(simHome));
  conformance('LMDB, within the call', withinTheCall(lmdbHome));
  conformance('Files, within the call', withinTheCall(filesHome));
}
segmentsConformance('SimLog', simHome, 60);
segmentsConformance('LMDB', lmdbHome, 15);
segmentsConformance('Files', filesHome, 30);
segmentsConformance('SimLog, within the call', withinTheCall(simHome), 60);
segmentsConformance('LMDB, within the call', withinTheCall(lmdbHome), 15);
segmentsConformance('Files, within the call', withinTheCall(filesHome), 30);
