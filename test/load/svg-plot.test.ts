import { describe, expect, it } from 'vitest';
import { fromZero, lineChart, powersOfTen } from '../../load/svg-plot.mjs';

const axis = { label: 'x', ticks: [[0, '0'] as [number, string], [10, '10'] as [number, string]] };
const pointsOf = (svg: string) =>
  [...svg.matchAll(/points="([^"]*)"/g)].map(([, points = '']) =>
    points.split(' ').map((point) => point.split(',').map(Number)),
  );

describe('a line chart', () => {
  it('places points between the ends of its ticks', () => {
    const svg = lineChart('t', { x: axis, y: axis }, [
      {
        name: 's',
        points: [
          [0, 0],
          [5, 5],
          [10, 10],
        ],
      },
    ]);
    const [[first, middle, last] = []] = pointsOf(svg);
    expect(first).toEqual([72, 368]);
    expect(last).toEqual([740, 44]);
    expect(middle).toEqual([406, 206]);
  });

  it('spreads powers evenly on a logarithmic axis', () => {
    const log = { label: 'x', log: true, ticks: powersOfTen([2, 900], String) };
    const svg = lineChart('t', { x: log, y: axis }, [
      {
        name: 's',
        points: [
          [1, 0],
          [10, 0],
          [100, 0],
          [1000, 0],
        ],
      },
    ]);
    const xs = (pointsOf(svg)[0] ?? []).map(([x]) => x as number);
    expect(log.ticks.map(([value]) => value)).toEqual([1, 10, 100, 1000]);
    for (const [i, x] of xs.entries()) expect(x).toBeCloseTo(72 + (i * 668) / 3, 0);
  });

  it('escapes what a name may hold', () => {
    const svg = lineChart('a < b & "c"', { x: axis, y: axis }, [{ name: '<s>', points: [[0, 0]] }]);
    expect(svg).toContain('a &lt; b &amp; &quot;c&quot;');
    expect(svg).not.toContain('<s>');
  });
});

describe('ticks', () => {
  it('span the values from zero in round steps', () => {
    expect(fromZero([0.3, 11.7], String).map(([value]) => value)).toEqual([0, 2, 4, 6, 8, 10, 12]);
  });
});
