import type { Site } from '../site.mjs';

export const CLASSES: readonly object[];
export function servePosts(countersUrl: string, port?: number): Promise<Site>;
