/** Scores from a distribution, as `explorer/simulate/scores.py` defines them: the same numbers, bit for bit. */

import { exponentials, pairwiseSum } from "./float32.js";
import { Random } from "./random.js";

const POOL_NUMBERS = 2 ** 22;
const FEWEST_BATCHES = 16;
const [OFFSETS, POOL, DOMAINS, WINDOWS] = [0, 1, 2, 3];
const { fround } = Math;

/** The settings that decide the pool's weights; skew, K and the like do not. */
function poolKey(s, numbers) {
  const names = ["seed", "num_experts", "num_tokens", "source", "noise", "domains", "domain_skew"];
  return JSON.stringify([numbers, ...names.map((name) => s[name]), s.sequence_tokens, s.score_function]);
}

/** Pools are large and slow to draw, so the last ones are kept. */
const pools = new Map();
const MOST_POOLS = 2;

function weightsOf(s, poolNumbers) {
  const key = poolKey(s, poolNumbers);
  const kept = pools.get(key);
  pools.delete(key);
  const weights = kept ?? drawWeights(s, poolNumbers);
  pools.set(key, weights);
  if (pools.size > MOST_POOLS) pools.delete(pools.keys().next().value);
  return weights;
}

function drawWeights(s, poolNumbers) {
  const experts = s.num_experts;
  const fresh = Math.max(Math.floor(poolNumbers / experts), FEWEST_BATCHES * s.num_tokens);
  const tokens = s.source === "fresh" ? fresh : s.num_tokens;
  const logits = new Random(s.seed, POOL).normals(tokens * experts);
  const noise = fround(s.noise);
  for (let i = 0; i < logits.length; i += 1) logits[i] *= noise;
  if (s.domains > 1 && s.domain_skew > 0) addDomains(s, logits, tokens);
  if (s.score_function === "sigmoid") for (let i = 0; i < logits.length; i += 1) logits[i] = -logits[i];
  return exponentials(logits);
}

function addDomains(s, logits, tokens) {
  const experts = s.num_experts;
  const liking = new Random(s.seed, DOMAINS).normals(s.domains * experts);
  const skew = fround(s.domain_skew);
  const scaled = liking.map((value) => skew * value);
  const sequences = Math.ceil(tokens / s.sequence_tokens);
  const domain = new Random(s.seed, DOMAINS + 10 * (POOL + 1)).integers(s.domains, sequences);
  for (let t = 0; t < tokens; t += 1) {
    const from = domain[Math.floor(t / s.sequence_tokens)] * experts;
    for (let i = 0; i < experts; i += 1) logits[t * experts + i] += scaled[from + i];
  }
}

export class Scores {
  constructor(settings, poolNumbers = POOL_NUMBERS) {
    this.settings = settings;
    this.experts = settings.num_experts;
    this.weights = weightsOf(settings, poolNumbers);
    this.tokens = this.weights.length / this.experts;
    this.draws = new Random(settings.seed, OFFSETS).wideNormals(4 * this.experts);
  }

  /** First row of the window of every step. */
  windows(steps) {
    const last = this.tokens - this.settings.num_tokens;
    return new Random(this.settings.seed, WINDOWS).integers(last + 1, steps);
  }

  /** The distribution's own offsets in this step, [E] in logits. */
  offset(step) {
    const { skew, drift, shift_step: shift } = this.settings;
    const from = shift > 0 && step >= shift ? 2 * this.experts : 0;
    const angle = (2 * Math.PI * drift * step) / 1000;
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    return Float64Array.from({ length: this.experts }, (_, i) => {
      return skew * (cos * this.draws[from + i] + sin * this.draws[from + this.experts + i]);
    });
  }

  /** Scores of `rows` tokens from row `first` on under these offsets, into `out`. */
  of(first, rows, offset, out) {
    const sigmoid = this.settings.score_function === "sigmoid";
    const factors = Float32Array.from(offset, (value) => Math.exp(sigmoid ? -value : value));
    const { experts, weights } = this;
    let from = first * experts;
    for (let row = 0; row < rows; row += 1, from += experts) {
      const at = row * experts;
      for (let i = 0; i < experts; i += 1) {
        const product = fround(weights[from + i] * factors[i]);
        out[at + i] = sigmoid ? 1 / fround(product + 1) : product;
      }
      if (sigmoid) continue;
      const total = pairwiseSum(out, at, experts, fround);
      for (let i = 0; i < experts; i += 1) out[at + i] /= total;
    }
    return out;
  }
}
