/** The top K of a row: of equal values, those with the lower expert index (`explorer/routing/selection.py`). */

const { fround } = Math;

/** Keeps the `depth` largest values of a row with their experts, best first. */
export class TopK {
  /** Values keep the type of `kind`, Float32Array or Float64Array. */
  constructor(depth, kind) {
    this.depth = depth;
    this.values = new kind(depth);
    this.experts = new Int32Array(depth);
    this.sums = new Float32Array(0);
  }

  /** Select from the sums of float32 values, from index `start`, and biases, rounded to float32. */
  selectSums(values, start, bias) {
    if (this.depth === 2) {
      bestTwo(values, start, bias, this.experts);
      return;
    }
    const count = bias.length;
    if (this.sums.length !== count) this.sums = new Float32Array(count);
    for (let i = 0; i < count; i += 1) this.sums[i] = values[start + i] + bias[i];
    this.select(this.sums, 0, count);
  }

  /** Select from `count` values of `row` from index `start`. */
  select(row, start, count) {
    const { depth, values, experts } = this;
    const last = depth - 1;
    values.fill(-Infinity);
    for (let i = 0; i < count; i += 1) {
      const value = row[start + i];
      if (value <= values[last]) continue;
      let place = last;
      for (; place > 0 && values[place - 1] < value; place -= 1) {
        values[place] = values[place - 1];
        experts[place] = experts[place - 1];
      }
      values[place] = value;
      experts[place] = i;
    }
  }
}

/** The best two of float32 sums, without a loop over places: most of the time of a simulation passes here. */
function bestTwo(values, start, bias, experts) {
  let [best, second, bestAt, secondAt] = [-Infinity, -Infinity, 0, 0];
  for (let i = 0; i < bias.length; i += 1) {
    const value = fround(values[start + i] + bias[i]);
    if (value > second) {
      if (value > best) {
        second = best;
        secondAt = bestAt;
        best = value;
        bestAt = i;
      } else {
        second = value;
        secondAt = i;
      }
    }
  }
  experts[0] = bestAt;
  experts[1] = secondAt;
}

/** The value with `rank` smaller ones (from 0) in `values`, which is put into another order: Hoare's selection. */
export function valueAt(values, rank) {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let [left, right] = [low, high];
    while (left <= right) {
      while (values[left] < pivot) left += 1;
      while (values[right] > pivot) right -= 1;
      if (left > right) break;
      const kept = values[left];
      values[left] = values[right];
      values[right] = kept;
      left += 1;
      right -= 1;
    }
    if (rank <= right) high = right;
    else if (rank >= left) low = left;
    else break;
  }
  return values[rank];
}
