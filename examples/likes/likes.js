import { connect } from './tallystick.js';

/** Like buttons whose counts are live, and which ask until they are answered. */

const RETRY_MILLISECONDS = 300;
/** The server of counters may be named: ?server=ws://127.0.0.1:7090 */
const url = new URLSearchParams(location.search).get('server') ?? `ws://${location.hostname}:7090`;
const likes = new Map();

function show(button) {
  const { state } = button.dataset;
  button.textContent = `${state === 'liked' ? '♥' : '♡'} ${likes.get(button.id) ?? '–'}`;
  button.setAttribute('aria-label', `${state === 'liked' ? 'you like' : 'like'} ${button.id}`);
}

/** Resolves when the site has said that the like is counted, now or before. */
async function ask(post) {
  for (;;) {
    // Without an answer nobody knows whether it counted, and it does not matter: a second one does not count.
    const response = await fetch(`/like/${post}`, { method: 'POST' }).catch(() => undefined);
    if (response?.ok) return;
    if (response && response.status < 500) throw new Error(`The site refuses: ${response.status}.`);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

async function like(button) {
  button.dataset.state = 'asking';
  show(button);
  try {
    await ask(button.id);
    button.dataset.state = 'liked';
    localStorage.setItem(`liked:${button.id}`, 'yes');
  } catch (error) {
    button.dataset.state = '';
    button.title = String(error);
  }
  show(button);
}

const buttons = [...document.querySelectorAll('button')];
for (const button of buttons) {
  button.dataset.state = localStorage.getItem(`liked:${button.id}`) ? 'liked' : '';
  button.addEventListener('click', () => like(button));
  show(button);
}
const client = await connect(url, { producer: false, timeout: 60_000 });
for await (const update of client.subscribe({ names: buttons.map(({ id }) => `likes:${id}`), interval: 50 })) {
  if (update.kind === 'reset') continue; // the values come anew
  const post = update.name.slice('likes:'.length);
  likes.set(post, update.value);
  show(document.getElementById(post));
}
