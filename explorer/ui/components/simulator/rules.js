/** One update of every rule, as `explorer/simulate/update.py` and `auxiliary.py` define them. */

import { mean, pairwiseSum } from "./float32.js";
import { TopK, valueAt } from "./selection.js";

const { fround } = Math;

export const hasBias = (rule) => rule.rule !== "none" && rule.rule !== "aux_loss";

export const neutralBias = (rule) => (rule.bias_form === "multiplicative" ? 1 : 0);

/** The form of the bias, or null without a bias. */
export const readsBias = (rule) => (hasBias(rule) ? rule.bias_form : null);

/** The rate of the update that follows this step; 0 before the rule starts. */
export function rateAt(rule, step) {
  const updates = step - rule.start_step + 1;
  if (updates < 1) return 0;
  if (rule.step_decay === "constant") return rule.rate;
  return rule.rate / (rule.step_decay === "sqrt" ? Math.sqrt(updates) : updates);
}

/** e = (mean load - load) / mean load. counts [E] whole numbers. */
export function loadError(counts) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return Float64Array.from(counts, (count) => (total - count * counts.length) / (total || 1));
}

const DIRECTIONS = {
  sign: (error) => error.map(Math.sign),
  proportional: (error) => error,
  rms: (error) => {
    const square = mean(error.map((e) => e * e));
    const root = Math.sqrt(square || 1);
    return error.map((e) => e / root);
  },
};

function centred(values) {
  const middle = mean(values);
  return values.map((value) => value - middle);
}

/**
 * The bias [E] after the update that follows this step.
 *
 * scores: {values, start, tokens}: [T, E] from index `start` of a typed array, whose type is that of the
 * comparison.
 */
export function nextBias(bias, counts, scores, rule, step, topK) {
  const rate = rateAt(rule, step);
  if (rate === 0 || !hasBias(rule)) return bias;
  if (rule.rule === "quantile") return quantileBias(bias, scores, Math.min(rate, 1), topK);
  const direction = DIRECTIONS[rule.rule](loadError(counts));
  const moved = rule.centred ? centred(direction) : direction;
  return bias.map((value, i) => value + rate * moved[i]);
}

/**
 * What SMEBU adds to the bias after this step, [E]; before: what it added last, 0 at the start.
 *
 * The engine's tanh and NumPy's may differ in the last bit of a float64.
 */
export function momentumMove(before, counts, rule, step) {
  const rate = rateAt(rule, step);
  const { momentum, sharpness } = rule;
  const direction = centred(loadError(counts).map((error) => Math.tanh(error * sharpness)));
  return before.map((move, i) => momentum * move + (1 - momentum) * (rate * direction[i]));
}

function quantileBias(bias, { values, start, tokens }, rate, topK) {
  const experts = bias.length;
  if (topK === experts) return bias;
  const kind = values.constructor;
  const rounded = kind.from(bias);
  const row = new kind(experts);
  const best = new TopK(topK + 1, kind);
  const required = Array.from({ length: experts }, () => new kind(tokens));
  for (let t = 0, at = start; t < tokens; t += 1, at += experts) {
    for (let i = 0; i < experts; i += 1) row[i] = values[at + i] + rounded[i];
    best.select(row, 0, experts);
    const cutoff = best.values[topK];
    for (let i = 0; i < experts; i += 1) required[i][t] = cutoff - values[at + i];
  }
  const rank = Math.min(Math.floor((topK * tokens) / experts), tokens - 1);
  const kept = 1 - rate;
  return centred(bias.map((value, i) => kept * value + (1 - kept) * valueAt(required[i], rank)));
}

/** dL / d offset of the auxiliary loss, [E]; sums in float64, where NumPy's are in float32. */
export function lossGradient({ values, start, tokens }, counts, scoreFunction) {
  const experts = counts.length;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const share = Float32Array.from(counts, (count) => count / total);
  const [mass, pull] = [new Float64Array(experts), new Float64Array(experts)];
  for (let t = 0, at = start; t < tokens; t += 1, at += experts) {
    const sum = pairwiseSum(values, at, experts, fround);
    let weighted = 0;
    for (let i = 0; i < experts; i += 1) weighted += values[at + i] * share[i];
    weighted /= sum;
    for (let i = 0; i < experts; i += 1) {
      const s = values[at + i];
      const slope = fround((scoreFunction === "softmax" ? s : fround(s * fround(1 - s))) / sum);
      mass[i] += slope;
      pull[i] += slope * weighted;
    }
  }
  return mass.map((sum, i) => (experts * (sum * share[i] - pull[i])) / tokens);
}
