import { connect } from './tallystick.js';

/** A page that shows counters as they are, for as long as it is open: it goes on by itself when its server was away. */

const TEAMS = ['red', 'green', 'blue'];
/** The server may be named: ?server=ws://127.0.0.1:7090 */
const url = new URLSearchParams(location.search).get('server') ?? `ws://${location.hostname}:7090`;

const state = document.querySelector('#state');
const body = document.querySelector('#scores');
const nameOf = (team) => `score:${team}`;

function show(kind, text) {
  state.dataset.state = kind;
  state.textContent = text;
}

/** One row for each team; the score comes with the first update. */
function addRow(team, onClick) {
  const row = body.insertRow();
  row.insertCell().textContent = team;
  const score = row.insertCell();
  score.className = 'score';
  score.id = nameOf(team);
  score.textContent = '–';
  const act = row.insertCell();
  act.className = 'act';
  const button = document.createElement('button');
  button.textContent = '+1';
  button.setAttribute('aria-label', `one more for ${team}`);
  button.addEventListener('click', onClick);
  act.append(button);
}

const client = await connect(url, { timeout: 60_000 });
for (const team of TEAMS) {
  addRow(team, async () => {
    show('waiting', 'saving');
    // Sent again under its number until it is answered: a click counts once, whatever becomes of the connection.
    await client.increment(nameOf(team)).then(
      () => show('live', 'saved'),
      (error) => show('waiting', String(error)),
    );
  });
}
show('live', 'connected');
for await (const update of client.subscribe({ names: TEAMS.map(nameOf), interval: 50 })) {
  if (update.kind === 'reset') continue; // the values come anew
  document.getElementById(update.name).textContent = String(update.value);
}
