import { checkpointConformance } from './checkpoint.conformance.js';
import { lmdbCheckpointsHome, simCheckpointsHome } from './homes.js';

checkpointConformance('SimCheckpoints', simCheckpointsHome);
checkpointConformance('LmdbCheckpoints', lmdbCheckpointsHome);
