import { expect, onTestFinished, test } from 'vitest';
import { servePage } from '../../examples/scoreboard/server.mjs';
import { clientOfTest } from '../integration/clients.js';
import { serverOfTest } from '../integration/server-process.js';
import { describeInBrowser } from './browser.js';

/** The page of examples/scoreboard, in a real browser. */

describeInBrowser('The live scoreboard', (browser) => {
  test('shows a count rise while a client writes, goes on over the death of its server without a reload, and ends at the exact value', async () => {
    const server = await serverOfTest({ lanes: 2, webSocket: true });
    const client = await clientOfTest(server);
    const site = await servePage();
    onTestFinished(() => site.close());
    const page = await browser.open();
    await page.goto(`${site.url}?server=ws://127.0.0.1:${server.wsPort}`);
    const load = await page.evaluate('performance.timeOrigin');
    const shows = (team: string, value: number) =>
      page.locator(`[id="score:${team}"]`, { hasText: new RegExp(`^${value}$`) }).waitFor();

    await page.getByRole('button', { name: 'one more for red' }).click();
    await shows('red', 1);
    await page.locator('#state', { hasText: 'saved' }).waitFor();
    await client.increment('score:red', 40);
    await shows('red', 41);

    await server.kill();
    const meanwhile = [client.increment('score:red', 1), client.increment('score:blue', 7)];
    await page.getByRole('button', { name: 'one more for red' }).click();
    await page.locator('#state', { hasText: 'saving' }).waitFor();
    await server.start();
    await Promise.all(meanwhile);
    await shows('red', 43);
    await page.locator('#state', { hasText: 'saved' }).waitFor();
    await shows('blue', 7);
    await Promise.all(Array.from({ length: 100 }, () => client.increment('score:green', 1)));
    await shows('green', 100);

    expect(await client.get('score:red')).toBe(43n);
    expect(await client.get('score:green')).toBe(100n);
    expect(await page.evaluate('performance.timeOrigin')).toBe(load);
    await browser.picture(page, 'scoreboard');
  });
});
