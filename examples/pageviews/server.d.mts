import type { Site } from '../site.mjs';

export function serveBakery(countersUrl: string, port?: number): Promise<Site>;
