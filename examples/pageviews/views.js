/** Shows the views of this page, or on the statistics those of all, and keeps them up to date. */

const INTERVAL_MILLISECONDS = 500;
const footer = document.querySelector('#views');
const table = document.querySelector('#statistics');
for (const link of document.querySelectorAll('nav a'))
  if (link.pathname === location.pathname) link.setAttribute('aria-current', 'page');

const counted = (number, one) => `${number.toLocaleString('en')} ${one}${number === 1 ? '' : 's'}`;

function show(pages) {
  const own = pages.find(({ path }) => path === location.pathname);
  footer.textContent = own ? `${counted(own.views, 'view')}, ${counted(own.visitors, 'visitor')} today` : '';
  if (table)
    table.replaceChildren(rowOf('th', ['page', 'views', 'last hour', 'visitors today']), ...pages.map(pageRow));
}

const pageRow = ({ path, views, lastHour, visitors }) => {
  const row = rowOf('td', [path, ...[views, lastHour, visitors].map((number) => number.toLocaleString('en'))]);
  row.id = `page:${path}`;
  return row;
};

function rowOf(kind, texts) {
  const row = document.createElement('tr');
  for (const text of texts) row.append(Object.assign(document.createElement(kind), { textContent: text }));
  return row;
}

async function refresh() {
  try {
    const response = await fetch('/views.json');
    if (response.ok) show(await response.json());
    else footer.textContent = 'The counts are away for a moment.';
  } catch {
    footer.textContent = 'The site is away for a moment.';
  }
  setTimeout(refresh, INTERVAL_MILLISECONDS);
}
await refresh();
