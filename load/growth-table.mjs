import { milliseconds, rate, three } from './table.mjs';

/** The rows of growth.mjs as tables. */

const RATES = ['durable, by name', 'durable, by id', 'applied, by id'];

export const GROWTH_HEADS = {
  counters: ['counters', 'made/s', ...RATES, 'B a counter', 'restart'],
  partitions: ['partitions', 'empty server', ...RATES],
  lanes: ['lanes', 'empty server', ...RATES],
  connections: ['clients', 'awaiting', 'increments/s', 'p50', 'p99', 'memory before', 'memory under load'],
  stall: ['counters', 'quiet p50', 'p99', 'p99.9', 'growing p50', 'p99', 'p99.9', 'checkpoints made'],
};

const megabytes = (bytes) => `${three(bytes / 1e6)} MB`;
const rates = ({ durableByName, durableById, appliedById }) => [durableByName, durableById, appliedById].map(rate);

export function growthRow(section, row) {
  if (section === 'counters')
    return [
      row.counters.toLocaleString('en'),
      rate(row.created),
      ...rates(row),
      three(row.bytesPerCounter),
      `${three(row.restartSeconds)} s`,
    ];
  if (section === 'connections') {
    const { clients, awaiting, perSecond, p50, p99, memoryBefore, memoryAfter } = row;
    return [
      clients,
      awaiting,
      rate(perSecond),
      milliseconds(p50),
      milliseconds(p99),
      megabytes(memoryBefore),
      megabytes(memoryAfter),
    ];
  }
  if (section === 'stall') {
    const of = ({ p50, p99, p999 }) => [p50, p99, p999].map(milliseconds);
    return [row.counters.toLocaleString('en'), ...of(row.quiet), ...of(row.busy), row.checkpoints];
  }
  return [row[section], megabytes(row.emptyBytes), ...rates(row)];
}
