/** A bias rule on frozen tokens in float64, as `explorer/simulate/descent.py` defines it; sums in another order. */

import { nextBias } from "./rules.js";
import { Scores } from "./scores.js";
import { TopK } from "./selection.js";

const ROUNDING = 1e-9;
const CLASSES = 3;

/** Index of the class over, exact, under of a load. */
const classOf = (load, balanced) => (load > balanced ? 0 : load < balanced ? 2 : 1);

/** One problem: scores [T, E] of the frozen tokens, and what their top K under given prices is. */
class Problem {
  constructor(settings) {
    const { num_experts: experts, num_tokens: tokens, top_k: topK } = settings;
    const source = new Scores(settings);
    const scores = source.of(0, tokens, source.offset(0), new Float32Array(tokens * experts));
    this.values = Float64Array.from(scores);
    [this.tokens, this.experts, this.topK] = [tokens, experts, topK];
    this.load = (topK * tokens) / experts;
    this.row = new Float64Array(experts);
    this.top = new TopK(topK, Float64Array);
  }

  /** Loads [E], the mask [T, E] and the total of the K best scores and prices. */
  choose(prices) {
    const { values, experts, tokens, row, top } = this;
    const mask = new Uint8Array(values.length);
    const loads = new Int32Array(experts);
    let total = 0;
    for (let t = 0, at = 0; t < tokens; t += 1, at += experts) {
      for (let i = 0; i < experts; i += 1) row[i] = values[at + i] + prices[i];
      top.select(row, 0, experts);
      for (let k = 0; k < this.topK; k += 1) {
        mask[at + top.experts[k]] = 1;
        loads[top.experts[k]] += 1;
        total += top.values[k];
      }
    }
    return { mask, loads, dual: total - this.load * sum(prices) };
  }

  /** Λ of a selection under prices. */
  lagrangian({ mask, loads }, prices) {
    let total = 0;
    for (let i = 0; i < mask.length; i += 1) if (mask[i]) total += this.values[i];
    return total + sum(prices.map((price, i) => price * (loads[i] - this.load)));
  }
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Pairs of an expert left and one joined, by class, added to `moves` [3, 3]; returns the switched slots. */
function countMoves(before, after, { experts, tokens, load }, moves) {
  const kinds = Array.from(before.loads, (count) => classOf(count, load));
  let switched = 0;
  for (let t = 0, at = 0; t < tokens; t += 1, at += experts) {
    for (let joined = 0; joined < experts; joined += 1) {
      if (!after.mask[at + joined] || before.mask[at + joined]) continue;
      switched += 1;
      for (let left = 0; left < experts; left += 1) {
        if (before.mask[at + left] && !after.mask[at + left])
          moves[CLASSES * kinds[left] + kinds[joined]] += 1;
      }
    }
  }
  return switched;
}

/** sure, improves, worse or rests; see `explorer/simulate/descent.py`. */
function verdictOf(dual, after, condition) {
  const small = ROUNDING * Math.abs(dual);
  if (after - dual > small) return "worse";
  if (after - dual >= -small) return "rests";
  return condition ? "sure" : "improves";
}

/**
 * Every step of a rule: `loads` and `prices` [S + 1] of [E], `dual` [S + 1], `promise`, `benefit`, `switched`,
 * `condition` and `verdict` [S], `moves` [9].
 */
export function descend({ scores, rule, steps }) {
  const problem = new Problem(scores);
  const { load, topK, tokens, values } = problem;
  const moves = new Int32Array(CLASSES * CLASSES);
  let prices = new Float64Array(problem.experts);
  let assignment = problem.choose(prices);
  const path = { load, tokens, moves, loads: [assignment.loads], prices: [prices], dual: [assignment.dual] };
  Object.assign(path, { promise: [], benefit: [], switched: [], condition: [], verdict: [] });
  for (let step = 0; step < steps; step += 1) {
    const next = nextBias(prices, assignment.loads, { values, start: 0, tokens }, rule, step, topK);
    const old = prices;
    const delta = next.map((price, i) => price - old[i]);
    const after = problem.choose(next);
    const { loads } = assignment;
    const promise = -sum(delta.map((change, i) => change * (loads[i] - load)));
    const switched = countMoves(assignment, after, problem, moves);
    const reach = switched * (Math.max(...delta) - Math.min(...delta));
    const condition = promise > 0 && reach <= promise * (1 + ROUNDING);
    path.promise.push(promise);
    path.benefit.push(after.dual - problem.lagrangian(assignment, next));
    path.switched.push(switched);
    path.condition.push(condition);
    path.verdict.push(verdictOf(assignment.dual, after.dual, condition));
    path.loads.push(after.loads);
    path.prices.push(next);
    path.dual.push(after.dual);
    [prices, assignment] = [next, after];
  }
  return path;
}
