/** How a row of accuracy.json is shown. */

export const ACCURACY_HEAD = ['different items', 'runs', 'sd %', 'at most', 'bias %', 'at most ±', 'worst %', ''];

export function accuracyRow({ cardinality, runs, deviation, deviationBound, bias, biasBound, worst, isWithin }) {
  return [
    cardinality.toLocaleString('en'),
    runs,
    deviation.toFixed(3),
    deviationBound.toFixed(3),
    bias.toFixed(3),
    biasBound.toFixed(3),
    worst.toFixed(2),
    isWithin ? '' : 'too much',
  ];
}
