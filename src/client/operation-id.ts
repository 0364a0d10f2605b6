import { TallystickError } from '../errors.js';
import { encodeUtf8 } from '../protocol/bytes.js';
import { OPERATION_ID_BYTES } from '../protocol/request.js';
import { sha256 } from './sha256.js';

/**
 * The 16 bytes that identify an operation: given as they are, or the first half of the SHA-256 of the string in
 * UTF-8, so that every client makes the same of the same string and nobody can find two strings for one id.
 * Throws INVALID_ARGUMENT for bytes of another length, NAME_INVALID for a string without UTF-8.
 */
export function operationId(id: string | Uint8Array): Uint8Array {
  if (typeof id === 'string') return sha256(encodeUtf8(id)).subarray(0, OPERATION_ID_BYTES);
  if (id.length === OPERATION_ID_BYTES) return id;
  throw new TallystickError('INVALID_ARGUMENT', `An operation id has ${OPERATION_ID_BYTES} bytes, not ${id.length}.`);
}
