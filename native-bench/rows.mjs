import { median } from '../load/histogram.mjs';
import { three } from '../load/table.mjs';

/** A row: what we reach, what C reaches, and their ratio, from runs that took turns. */

export class Row {
  /** `unit` for people; `isLatency`: less is better. */
  constructor(layer, work, unit, { isLatency = false, target } = {}) {
    Object.assign(this, { layer, work, unit, isLatency, target });
    this.ours = [];
    this.ceiling = [];
  }

  /** 1 = as good as the ceiling. */
  get ratio() {
    const ratios = this.ours.map((ours, i) => (this.isLatency ? this.ceiling[i] / ours : ours / this.ceiling[i]));
    return median(ratios);
  }

  toJSON() {
    const { layer, work, unit, target, ours, ceiling, ratio } = this;
    return { layer, work, unit, target, ours: median(ours), ceiling: median(ceiling), ratio, runs: { ours, ceiling } };
  }

  get cells() {
    return rowCells(this.toJSON());
  }
}

export const ROW_HEAD = ['layer', 'work', 'unit', 'ours', 'ceiling', 'ratio', 'target'];

export function rowCells({ layer, work, unit, ours, ceiling, ratio, target }) {
  return [layer, work, unit, three(ours), three(ceiling), ratio.toFixed(2), target === undefined ? '' : `>= ${target}`];
}
