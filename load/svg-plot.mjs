/** Line charts as SVG. Pure: data in, text out. */

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 72;
const RIGHT = 20;
const TOP = 44;
const BOTTOM = 52;
/** Okabe and Ito: colours that all can tell apart. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];
const FONT = 'font-family="sans-serif"';

/**
 * @param axes x and y, each with `label`, `ticks` as [value, text] and, for powers, `log: true`; the ticks must span the points
 * @param series each with `name` and `points` as [x, y]
 */
export function lineChart(title, { x, y }, series) {
  const toX = scale(x, LEFT, WIDTH - RIGHT);
  const toY = scale(y, HEIGHT - BOTTOM, TOP);
  const grid = [
    ...x.ticks.map(([value, text]) => {
      const at = toX(value);
      return `${line(at, TOP, at, HEIGHT - BOTTOM)}${label(at, HEIGHT - BOTTOM + 18, 'middle', text)}`;
    }),
    ...y.ticks.map(([value, text]) => {
      const at = toY(value);
      return `${line(LEFT, at, WIDTH - RIGHT, at)}${label(LEFT - 8, at + 4, 'end', text)}`;
    }),
  ];
  const lines = series.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map(([px, py]) => `${toX(px).toFixed(1)},${toY(py).toFixed(1)}`).join(' ');
    const legend = TOP + 16 + i * 18;
    return [
      `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path}"/>`,
      `<line x1="${LEFT + 12}" x2="${LEFT + 32}" y1="${legend - 4}" y2="${legend - 4}" stroke="${colour}" stroke-width="2"/>`,
      label(LEFT + 38, legend, 'start', name),
    ].join('\n');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${LEFT}" y="24" ${FONT} font-size="16" font-weight="bold">${escaped(title)}</text>`,
    ...grid,
    ...lines,
    label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, 'middle', x.label),
    `<text transform="translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle" ${FONT} font-size="12">${escaped(y.label)}</text>`,
    '</svg>\n',
  ].join('\n');
}

function scale({ ticks, log }, from, to) {
  const place = (value) => (log ? Math.log10(value) : value);
  const values = ticks.map(([value]) => place(value));
  const least = Math.min(...values);
  const most = Math.max(...values);
  return (value) => from + ((to - from) * (place(value) - least)) / (most - least);
}

/** Ticks at the powers of ten that span the values. */
export function powersOfTen(values, textOf) {
  const least = Math.floor(Math.log10(Math.min(...values)));
  const most = Math.max(least + 1, Math.ceil(Math.log10(Math.max(...values))));
  return Array.from({ length: most - least + 1 }, (_, i) => [10 ** (least + i), textOf(10 ** (least + i))]);
}

/** Ticks in steps that span the values from 0, about six of them. */
export function fromZero(values, textOf) {
  const most = Math.max(...values);
  const rough = most / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => [i * step, textOf(i * step)]);
}

function line(x1, y1, x2, y2) {
  return `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="#ddd"/>`;
}

function label(x, y, anchor, text) {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" ${FONT} font-size="12">${escaped(text)}</text>`;
}

function escaped(text) {
  return String(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
