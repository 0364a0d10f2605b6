import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { CLASSES } from '../../examples/pageviews/page-views.mjs';
import { serveBakery } from '../../examples/pageviews/server.mjs';
import { freePorts } from '../../load/ports.mjs';
import { clientOfTest } from '../integration/clients.js';
import { directoryOfTest, serverOfTest } from '../integration/server-process.js';
import { describeInBrowser } from './browser.js';

/** The site of examples/pageviews: its counts by requests of its own, and its pages in a real browser. */

async function bakery() {
  const config = join(directoryOfTest(), 'classes.json');
  writeFileSync(config, JSON.stringify({ classes: CLASSES }));
  const port = await freePorts(1);
  const server = await serverOfTest({ lanes: 2, flags: ['--config', config, '--http-port', String(port)] });
  const site = await serveBakery(`http://127.0.0.1:${port}`);
  onTestFinished(() => site.close());
  return { server, site, client: await clientOfTest(server) };
}

test('Views and visitors of a site are exact, also of those that came while the server of counters was dead', async () => {
  const { server, site, client } = await bakery();
  const view = async (path: string, agent: string) => {
    const response = await fetch(new URL(path, site.url), { headers: { 'user-agent': agent } });
    expect(response.status).toBe(200);
    await response.text();
  };
  const day = () => new Date().toISOString().slice(0, 10);
  const before = day();
  for (let i = 0; i < 40; i++) await view('/about', `agent ${i % 8}`);
  await server.kill();
  for (let i = 0; i < 60; i++) await view('/about', `agent ${i % 10}`);
  await view('/', 'agent 1');
  expect((await fetch(new URL('/views.json', site.url))).status).toBe(503);
  await server.start();
  await site.close();
  expect(await client.get('views:/about')).toBe(100n);
  expect(await client.get('views:/')).toBe(1n);
  const { count, exact } = await client.uniques(`visitors:${before}:/about`);
  // Who comes again behind midnight is one of the next day, whose salt is another
  if (day() === before) expect([count, exact]).toEqual([10, true]);
});

describeInBrowser('The pages of a site', (browser) => {
  test('show their views and visitors, and a table of all, which goes on when the server of counters comes back', async () => {
    const { server, site } = await bakery();
    const [ann, bob] = await Promise.all(['Ann', 'Bob'].map((userAgent) => browser.open({ userAgent })));
    const page = ann as NonNullable<typeof ann>;
    const shows = (text: string) => page.locator('#views', { hasText: text }).waitFor();
    await page.goto(site.url);
    await shows('1 view, 1 visitor today');
    await bob?.goto(site.url);
    await bob?.goto(`${site.url}prices`);
    await shows('2 views, 2 visitors today');
    await browser.picture(page, 'pageviews');

    await page.getByRole('link', { name: 'Statistics' }).click();
    const row = (path: string, cells: string) =>
      page.locator(`[id="page:${path}"]`, { hasText: `${path}${cells}` }).waitFor();
    await row('/', '222');
    await row('/prices', '111');
    await row('/about', '000');
    await server.kill();
    await shows('The counts are away for a moment.');
    await bob?.goto(`${site.url}about`);
    await server.start();
    await row('/about', '111');
    await browser.picture(page, 'pageviews-statistics');
  });
});
