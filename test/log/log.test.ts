import { damageConformance } from './damage.conformance.js';
import { lmdbHome, simHome } from './homes.js';
import { logConformance } from './log.conformance.js';
import { readingConformance } from './reading.conformance.js';
import { segmentsConformance } from './segments.conformance.js';

for (const conformance of [logConformance, damageConformance, readingConformance]) {
  conformance('SimLog', simHome);
  conformance('LmdbLog', lmdbHome);
}
segmentsConformance('SimLog', simHome, 60);
segmentsConformance('LmdbLog', lmdbHome, 15);
