import { RECORD_BYTES, SLOT } from './batch';
import { REGISTER_STEPS, SCRATCH } from './layout';
import { STEP_BYTES, slotOfStep } from './steps';

/**
 * The slot + 1 of a record in SCRATCH of the body that apply() has checked, or applied last: of batch.ts or of steps.ts; 0 where it has no counter,
 * or none yet.
 */
export function slotOfRecord(index: u32): u32 {
  if (load<u32>(REGISTER_STEPS)) return slotOfStep(SCRATCH + index * STEP_BYTES) + 1;
  return load<u32>(SCRATCH + index * RECORD_BYTES + SLOT);
}
