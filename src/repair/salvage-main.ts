import { answerJob } from '../child-job.js';
import { salvage } from './salvage.js';

// The process in which a partition is salvaged.
answerJob(salvage);
