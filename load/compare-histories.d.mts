import type { Client } from '../src/client/index.js';

export function wrongHistories(client: Client, expected: ReadonlyMap<string, bigint>): Promise<number>;
export function historiesUnlikeValues(client: Client): Promise<number>;
