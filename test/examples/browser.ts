import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished } from 'vitest';

/**
 * A real browser for the pages of the examples. TALLYSTICK_CHROMIUM names another one; TALLYSTICK_SCREENSHOTS, a directory for pictures.
 */
const program = [process.env.TALLYSTICK_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(
  (path) => path !== undefined && existsSync(path),
);

/** What a test does with a browser. */
export interface Browsing {
  /** A page of a visitor of its own, whose script must not fail. */
  open(options?: BrowserContextOptions): Promise<Page>;
  /** Takes a picture, where those are wanted. */
  picture(page: Page, name: string): Promise<void>;
}

/** Long enough for a busy machine; no test waits so long where all is well. */
const TIMEOUT_MILLISECONDS = 240_000;

/** A `describe` whose tests need a browser, skipped where there is none. */
export function describeInBrowser(title: string, tests: (browsing: Browsing) => void): void {
  describe.skipIf(!program)(`${title}${program ? '' : ' (skipped: there is no Chromium here)'}`, () => {
    let browser: Browser;
    beforeAll(async () => {
      const options = { executablePath: program as string, args: ['--no-sandbox'] };
      browser = await chromium.launch({ ...options, timeout: TIMEOUT_MILLISECONDS });
    });
    afterAll(() => browser.close());
    tests({
      open: async (options) => {
        const context = await browser.newContext({ viewport: { width: 520, height: 360 }, ...options });
        const faults: string[] = [];
        context.setDefaultTimeout(TIMEOUT_MILLISECONDS);
        const page = await context.newPage();
        page.on('pageerror', (error) => faults.push(String(error)));
        onTestFinished(async () => {
          await context.close();
          expect(faults).toEqual([]);
        });
        return page;
      },
      picture: async (page, name) => {
        const { TALLYSTICK_SCREENSHOTS: directory } = process.env;
        if (directory) await page.screenshot({ path: `${directory}/${name}.png` });
      },
    });
  });
}
