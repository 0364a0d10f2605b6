import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'tallystick/server';

export interface Site {
  readonly url: string;
  close(): void | Promise<void>;
}

export const BROWSER_CLIENT: URL;
export function serveSite(options: {
  readonly files: ReadonlyMap<string, URL>;
  readonly port?: number;
  readonly respond?: (request: IncomingMessage, response: ServerResponse, pathname: string) => Promise<boolean>;
}): Promise<Site>;
export function runExample(
  name: string,
  settings: object,
  open: (counters: Server, port: number) => Promise<Site>,
): Promise<void>;
