// The load matrix as it came from Python, and the questions that the player asks about it.
// Counts are exact integers, column by column; every ratio is derived here.

import { numbersOf } from "../shared/numbers.js";

export class LoadMatrix {
  constructor(payload) {
    this.experts = payload.experts;
    this.first = numbersOf(payload.first_step);
    this.last = numbersOf(payload.last_step);
    this.columns = this.first.length;
    this.counts = numbersOf(payload.counts);
    this.bias = payload.bias ? numbersOf(payload.bias) : null;
    this.biasUnit = payload.bias_unit;
    this.totals = new Float64Array(this.columns);
    for (let c = 0; c < this.columns; c++) {
      for (let e = 0; e < this.experts; e++) this.totals[c] += this.counts[c * this.experts + e];
    }
  }

  tokens(column, expert) {
    return this.counts[column * this.experts + expert];
  }

  /** Load relative to uniform; 0 where nothing was routed at all. */
  ratio(column, expert) {
    const total = this.totals[column];
    return total > 0 ? (this.tokens(column, expert) * this.experts) / total : 0;
  }

  /** The same for a row: an expert, or the experts that share it. */
  tokensOf(column, row) {
    if (!Array.isArray(row)) return this.tokens(column, row);
    let sum = 0;
    for (const expert of row) sum += this.tokens(column, expert);
    return sum;
  }

  /** The mean of those that share a row. */
  ratioOf(column, row) {
    if (!Array.isArray(row)) return this.ratio(column, row);
    const total = this.totals[column] * row.length;
    return total > 0 ? (this.tokensOf(column, row) * this.experts) / total : 0;
  }

  /** The expert that a row stands for: of several the busiest. */
  expertOf(column, row) {
    if (!Array.isArray(row)) return row;
    return row.reduce((top, one) => (this.tokens(column, one) > this.tokens(column, top) ? one : top));
  }

  biasAt(column, expert) {
    const stored = this.bias ? this.bias[column * this.experts + expert] : -32768;
    return stored === -32768 ? null : stored * this.biasUnit;
  }

  /** The column that holds a step, or the nearest one before it. */
  columnOf(step) {
    let low = 0;
    let high = this.columns - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.first[middle] <= step) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  stepName(column) {
    const [a, b] = [this.first[column], this.last[column]];
    return a === b ? `step ${a}` : `steps ${a} to ${b}`;
  }

  /** What a screen reader hears about a column. */
  sentence(column) {
    if (this.totals[column] === 0) return `${this.stepName(column)}: no tokens recorded in this layer`;
    let top = 0;
    let idle = 0;
    for (let e = 0; e < this.experts; e++) {
      if (this.tokens(column, e) > this.tokens(column, top)) top = e;
      if (this.tokens(column, e) === 0) idle++;
    }
    const none = idle ? `, ${idle} experts without tokens` : "";
    return `${this.stepName(column)}: expert ${top} receives ${this.ratio(column, top).toFixed(2)}× the uniform load${none}`;
  }
}
