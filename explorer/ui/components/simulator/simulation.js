/** One rule on one distribution of scores, step by step: `explorer/simulate/dynamics.py`, in the browser. */

import {
  hasBias,
  loadError,
  lossGradient,
  momentumMove,
  neutralBias,
  nextBias,
  rateAt,
  readsBias,
} from "./rules.js";
import { Scores } from "./scores.js";
import { TopK } from "./selection.js";

const BLOCK = 256;
const FEEDBACK_LIMIT = 3;

/** Scores of a pool whose offsets are constant, and their top K, computed where a step asks for them. */
class StaticPool {
  constructor(source) {
    const { experts, tokens } = source;
    this.source = source;
    this.offset = source.offset(0);
    this.values = new Float32Array(tokens * experts);
    this.plain = new Uint8Array(tokens * experts);
    this.ready = new Uint8Array(Math.ceil(tokens / BLOCK));
    this.top = new TopK(source.settings.top_k, Float32Array);
  }

  ensure(first, rows) {
    const last = Math.floor((first + rows - 1) / BLOCK);
    for (let block = Math.floor(first / BLOCK); block <= last; block += 1) {
      if (!this.ready[block]) this.#compute(block);
    }
  }

  #compute(block) {
    const { source, values, plain, top } = this;
    const { experts, tokens } = source;
    const first = block * BLOCK;
    const rows = Math.min(BLOCK, tokens - first);
    const zeros = new Float32Array(experts);
    source.of(first, rows, this.offset, values.subarray(first * experts, (first + rows) * experts));
    for (let row = first; row < first + rows; row += 1) {
      top.selectSums(values, row * experts, zeros);
      for (const expert of top.experts) plain[row * experts + expert] = 1;
    }
    this.ready[block] = 1;
  }
}

/** Both rules act on one distribution, so its pool is kept. */
const kept = { key: "", source: null, pool: null };

function sourceOf(settings, poolNumbers) {
  const key = JSON.stringify([settings, poolNumbers]);
  if (kept.key !== key) {
    kept.key = key;
    kept.source = new Scores(settings, poolNumbers);
    kept.pool = new StaticPool(kept.source);
  }
  return kept;
}

const moves = (s) => s.drift > 0 || s.shift_step > 0 || s.feedback > 0;

/**
 * A simulation that is run piece by piece.
 *
 * After `advance` the rows before `done` hold: `counts` [S, E] tokens, `bias` [S, E] and `learnt` [S, E] before
 * the step's update, `switched` [S] assignments that the bias changed.
 */
export class Simulation {
  /** side: {rule, changes: [[step, rule]]}; numbers of the pool as in `explorer/simulate/scores.py`. */
  constructor(scores, side, steps, poolNumbers = undefined) {
    this.settings = scores;
    this.rule = side.rule;
    this.changes = new Map(side.changes);
    this.steps = steps;
    const { source, pool } = sourceOf(scores, poolNumbers);
    this.source = source;
    this.pool = pool;
    const experts = scores.num_experts;
    this.windows = source.windows(steps);
    this.counts = new Int32Array(steps * experts);
    this.bias = new Float32Array(steps * experts);
    this.learnt = new Float32Array(steps * experts);
    this.switched = new Int32Array(steps);
    this.nowBias = new Float64Array(experts).fill(neutralBias(side.rule));
    this.nowLearnt = new Float64Array(experts);
    this.nowMove = new Float64Array(experts);
    this.isStatic = !moves(scores) && side.rule.rule !== "aux_loss";
    this.buffer = null;
    this.products = new Float32Array(experts);
    this.zeros = new Float32Array(experts);
    this.top = new TopK(scores.top_k, Float32Array);
    this.plainTop = new TopK(scores.top_k, Float32Array);
    this.done = 0;
  }

  /** Further steps until the end or until `isLate()`; whether the end is reached. */
  advance(isLate) {
    while (this.done < this.steps) {
      this.#step(this.done);
      this.done += 1;
      if (isLate()) break;
    }
    const isDone = this.done === this.steps;
    // What is kept for later is the result, not the scores.
    if (isDone) [this.source, this.pool, this.buffer] = [null, null, null];
    return isDone;
  }

  #step(step) {
    if (this.changes.has(step)) this.#change(this.changes.get(step));
    const experts = this.settings.num_experts;
    this.bias.set(this.nowBias, step * experts);
    this.learnt.set(this.nowLearnt, step * experts);
    const scores = this.#scores(step);
    const counts = this.counts.subarray(step * experts, (step + 1) * experts);
    this.switched[step] = this.#choose(scores, counts);
    this.#update(step, counts, scores);
  }

  #change(rule) {
    if (readsBias(rule) !== readsBias(this.rule)) this.nowBias.fill(neutralBias(rule));
    this.rule = rule;
    this.nowMove.fill(0);
    this.isStatic = this.isStatic && rule.rule !== "aux_loss";
  }

  #scores(step) {
    const { num_experts: experts, num_tokens: tokens } = this.settings;
    const first = this.windows[step];
    if (this.isStatic) {
      this.pool.ensure(first, tokens);
      return { values: this.pool.values, start: first * experts, tokens };
    }
    this.buffer ??= new Float32Array(tokens * experts);
    const offset = this.source.offset(step).map((value, i) => value + this.nowLearnt[i]);
    this.source.of(first, tokens, offset, this.buffer);
    return { values: this.buffer, start: 0, tokens };
  }

  /** Counts of one step; returns the assignments that the bias changed. */
  #choose({ values, start, tokens }, counts) {
    const isBiased = hasBias(this.rule);
    const isProduct = isBiased && this.rule.bias_form === "multiplicative";
    const experts = counts.length;
    const bias = isBiased ? Float32Array.from(this.nowBias) : this.zeros;
    const selection = this.top.experts;
    let switched = 0;
    for (let t = 0, at = start; t < tokens; t += 1, at += experts) {
      if (isProduct) this.#selectProducts(values, at, bias);
      else this.top.selectSums(values, at, bias);
      for (let k = 0; k < selection.length; k += 1) counts[selection[k]] += 1;
      if (isBiased) switched += this.#switched(values, at);
    }
    return switched;
  }

  #selectProducts(values, at, bias) {
    const { products } = this;
    for (let i = 0; i < bias.length; i += 1) products[i] = values[at + i] * bias[i];
    this.top.select(products, 0, bias.length);
  }

  /** Selected experts of a row that are not among the top K of its scores alone. */
  #switched(values, at) {
    const selection = this.top.experts;
    let switched = selection.length;
    if (this.isStatic) {
      for (let k = 0; k < selection.length; k += 1) switched -= this.pool.plain[at + selection[k]];
      return switched;
    }
    this.plainTop.selectSums(values, at, this.zeros);
    for (let k = 0; k < selection.length; k += 1) {
      if (this.plainTop.experts.includes(selection[k])) switched -= 1;
    }
    return switched;
  }

  #update(step, counts, scores) {
    const { feedback, score_function: scoreFunction, top_k: topK } = this.settings;
    if (feedback > 0) {
      const error = loadError(counts);
      this.nowLearnt = this.nowLearnt.map((value, i) => {
        return Math.min(Math.max(value - feedback * error[i], -FEEDBACK_LIMIT), FEEDBACK_LIMIT);
      });
    }
    const rate = rateAt(this.rule, step);
    if (rate === 0 || this.rule.rule === "none") return;
    if (this.rule.rule === "aux_loss") {
      const gradient = lossGradient(scores, counts, scoreFunction);
      this.nowLearnt = this.nowLearnt.map((value, i) => value - rate * gradient[i]);
    } else if (this.rule.rule === "smebu") {
      this.nowMove = momentumMove(this.nowMove, counts, this.rule, step);
      this.nowBias = this.nowBias.map((value, i) => value + this.nowMove[i]);
    } else {
      this.nowBias = nextBias(this.nowBias, counts, scores, this.rule, step, topK);
    }
  }
}
