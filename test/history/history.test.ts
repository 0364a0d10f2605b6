import { historyConformance } from './history.conformance.js';
import { lmdbHome, simHome } from './homes.js';

historyConformance('SimTables', simHome);
historyConformance('LmdbTables', lmdbHome);
