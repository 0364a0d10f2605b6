import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { CLASSES, servePosts } from '../../examples/likes/server.mjs';
import { clientOfTest } from '../integration/clients.js';
import { directoryOfTest, serverOfTest } from '../integration/server-process.js';
import { describeInBrowser } from './browser.js';

/** The posts of examples/likes: their counts by requests of its own, and the page in a real browser. */

async function posts() {
  const config = join(directoryOfTest(), 'classes.json');
  writeFileSync(config, JSON.stringify({ classes: CLASSES }));
  const server = await serverOfTest({ lanes: 2, webSocket: true, flags: ['--config', config] });
  const site = await servePosts(server.url);
  onTestFinished(() => site.close());
  return { server, site, client: await clientOfTest(server) };
}

/** What a visitor does without a browser: comes, is given a cookie, and asks. */
async function visitor(url: string) {
  const first = await fetch(url);
  await first.text();
  const cookie = (first.headers.get('set-cookie') ?? '').split(';')[0] as string;
  return async (post: string): Promise<number> => {
    const response = await fetch(new URL(`/like/${post}`, url), { method: 'POST', headers: { cookie } });
    await response.text();
    return response.status;
  };
}

test('A visitor counts once, however often and at the same time it asks, and over the death of the server', async () => {
  const { server, site, client } = await posts();
  const visitors = await Promise.all(Array.from({ length: 20 }, () => visitor(site.url)));
  const asked = visitors.flatMap((like) => [like('bread'), like('bread'), like('cake')]);
  await server.kill();
  const meanwhile = visitors.map((like) => like('bread'));
  await server.start();
  // What was not answered is asked again, as the page does
  await Promise.all([...asked, ...meanwhile]);
  for (const like of visitors) expect([await like('bread'), await like('cake')]).toEqual([200, 200]);
  expect(await client.get('likes:bread')).toBe(20n);
  expect(await client.get('likes:cake')).toBe(20n);
  const stranger = await fetch(new URL('/like/bread', site.url), { method: 'POST' });
  expect(stranger.status).toBe(403);
  expect(await visitors[0]?.('nothing')).toBe(404);
});

describeInBrowser('The page of posts', (browser) => {
  test('shows likes live, keeps asking while the server is dead, and counts each visitor once', async () => {
    const { server, site, client } = await posts();
    const url = `${site.url}?server=ws://127.0.0.1:${server.wsPort}`;
    const [ann, bob] = [await browser.open(), await browser.open()];
    await Promise.all([ann.goto(url), bob.goto(url)]);
    const shows = (page: typeof ann, post: string, text: string) =>
      page.locator(`#${post}`, { hasText: new RegExp(`^${text}$`) }).waitFor();

    await ann.getByRole('button', { name: 'like bread' }).dblclick();
    await shows(ann, 'bread', '♥ 1');
    await shows(bob, 'bread', '♡ 1');
    await ann.reload();
    await shows(ann, 'bread', '♥ 1');
    await ann.locator('#bread').click();

    await server.kill();
    await bob.locator('#bread').click();
    await bob.locator('#bread[data-state=asking]').waitFor();
    await ann.locator('#cake').click();
    await server.start();
    await shows(bob, 'bread', '♥ 2');
    await shows(ann, 'bread', '♥ 2');
    await shows(bob, 'cake', '♡ 1');
    await browser.picture(ann, 'likes');
    expect(await client.get('likes:bread')).toBe(2n);
    expect(await client.get('likes:cake')).toBe(1n);
    expect(await client.get('likes:rolls')).toBe(0n);
  });
});
