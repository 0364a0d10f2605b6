import { damageConformance } from './damage.conformance.js';
import { filesHome, lmdbHome, simHome } from './homes.js';
import { logConformance } from './log.conformance.js';
import { readingConformance } from './reading.conformance.js';
import { segmentsConformance } from './segments.conformance.js';

for (const conformance of [logConformance, damageConformance, readingConformance]) {
  conformance('SimLog', simHome);
  conformance('LMDB', lmdbHome);
  conformance('Files', filesHome);
}
segmentsConformance('SimLog', simHome, 60);
segmentsConformance('LMDB', lmdbHome, 15);
segmentsConformance('Files', filesHome, 30);
