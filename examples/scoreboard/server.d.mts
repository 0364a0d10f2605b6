import type { Site } from '../site.mjs';

export function servePage(port?: number): Promise<Site>;
