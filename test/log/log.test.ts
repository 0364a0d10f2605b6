import { logConformance } from './log.conformance.js';
import { lmdbPlace, simPlace } from './places.js';

logConformance('SimLog', simPlace);
logConformance('LmdbLog', lmdbPlace);
