/**
 * The rows of the Playground's charts, as `explorer/figures/simulation_frames.py` makes them.
 *
 * `simulations` are A's and B's, or what is done of them: rows after the last common step are left out.
 */

import { placed } from "./labels.js";

const MOST_BINS = 300;
const POINTS = 150;
const LIMIT = 2;

/** MaxVio of each step, [S]. */
function maxVio({ counts, settings, done }) {
  const { num_experts: experts, num_tokens: tokens, top_k: topK } = settings;
  const mean = (topK * tokens) / experts;
  return Float64Array.from({ length: done }, (_, step) => {
    let most = 0;
    for (let i = step * experts; i < (step + 1) * experts; i += 1) if (counts[i] > most) most = counts[i];
    return most / mean - 1;
  });
}

/** Share of the assignments that the bias changed, [S]. */
function switchedShare({ switched, settings, done }) {
  const all = settings.top_k * settings.num_tokens;
  return Float64Array.from({ length: done }, (_, step) => switched[step] / all);
}

/** Means, minima and maxima of pieces of equal length. `steps`: of the whole simulation. */
export function bins(values, steps) {
  const size = Math.ceil(steps / MOST_BINS);
  const rows = [];
  for (let first = 0; first < values.length; first += size) {
    const last = Math.min(first + size, values.length) - 1;
    let [sum, low, high] = [0, Infinity, -Infinity];
    for (let step = first; step <= last; step += 1) {
      sum += values[step];
      low = Math.min(low, values[step]);
      high = Math.max(high, values[step]);
    }
    rows.push({ x: first, value: sum / (last - first + 1), low, high, first_step: first, last_step: last });
  }
  return rows;
}

/** One line per side: rows of `lines`, and of the labels at their ends. */
function lineChart(simulations, job, valuesOf, height, reference) {
  const lines = [];
  const labels = [];
  for (const [side, simulation] of Object.entries(simulations)) {
    const rows = bins(valuesOf(simulation), simulation.steps);
    if (rows.length === 0) continue;
    lines.push(...rows.map((row) => ({ run: side, run_id: side, ...row })));
    labels.push({ ...job.labels[side], end: rows[rows.length - 1].value, strong: true });
  }
  if (reference) labels.push({ ...reference.label, end: reference.value, strong: false });
  const low = Math.min(0, ...lines.map((row) => row.low));
  const top = Math.max(...lines.map((row) => row.high));
  const high = top > low ? top : low + 1;
  const behind = reference ? [{ value: reference.value, p95: reference.p95 }] : [];
  return { lines, reference: behind, texts: placed(labels, { field: "value", low, high, height }) };
}

/** The steps of a trajectory that are drawn: an odd stride, or an alternating bias would look constant. */
function keptSteps(steps, done) {
  const stride = Math.max(1, Math.floor(steps / POINTS)) | 1;
  const kept = [];
  for (let step = 0; step < done; step += stride) kept.push(step);
  if (kept[kept.length - 1] !== done - 1) kept.push(done - 1);
  return kept;
}

function range(values, count) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < count; i += 1) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return [low, high];
}

/** The experts with the highest and the lowest value at the end; none where all are equal. */
function extremes(values, from, experts) {
  let [highest, lowest] = [0, 0];
  for (let i = 1; i < experts; i += 1) {
    if (values[from + i] > values[from + highest]) highest = i;
    if (values[from + i] < values[from + lowest]) lowest = i;
  }
  return values[from + highest] === values[from + lowest] ? [] : [highest, lowest];
}

const isLearned = (side) => {
  const rules = [side.rule, ...side.changes.map(([, rule]) => rule)];
  const named = rules.map((rule) => rule.rule);
  return named.every((name) => name === "none" || name === "aux_loss") && named.includes("aux_loss");
};

/** Bias trajectories of one side, or the offsets that it has learned. */
function biasChart(simulations, job, side, height) {
  const simulation = simulations[side];
  const { done, steps, settings } = simulation;
  const experts = settings.num_experts;
  const learned = isLearned(job[side]);
  const values = learned ? simulation.learnt : simulation.bias;
  const curves = learned ? [values] : Object.values(simulations).map((one) => one.bias);
  const ends = curves.map((one) => range(one, done * experts));
  let [low, high] = [Math.min(...ends.map(([l]) => l)), Math.max(...ends.map(([, h]) => h))];
  if (high <= low) [low, high] = [low - 0.01, high + 0.01];
  const named = extremes(values, (done - 1) * experts, experts);
  const inkOf = new Map(named.map((expert, i) => [expert, job.inks[i]]));
  const trajectories = keptSteps(steps, done).flatMap((step) =>
    Array.from({ length: experts }, (_, expert) => ({
      step,
      expert,
      value: values[step * experts + expert],
      light: inkOf.get(expert)?.light ?? null,
      dark: inkOf.get(expert)?.dark ?? null,
    })),
  );
  const labels = [...named]
    .sort((a, b) => a - b)
    .map((expert) => ({
      text: `expert ${expert}`,
      end: values[(done - 1) * experts + expert],
      ...inkOf.get(expert),
      strong: true,
    }));
  const texts = placed(labels, { field: "value", low, high, height });
  return { trajectories, limits: [{ limit: low }, { limit: high }], texts };
}

/** Loads at a step as bars. */
function loadChart(simulations, side, step) {
  const { counts, bias, settings } = simulations[side];
  const experts = settings.num_experts;
  const mean = (settings.top_k * settings.num_tokens) / experts;
  const from = step * experts;
  const bars = Array.from({ length: experts }, (_, expert) => {
    const ratio = counts[from + expert] / mean;
    return {
      step,
      expert,
      tokens: counts[from + expert],
      load_ratio: ratio,
      expert_bias: bias[from + expert],
      value: Math.log2(Math.min(Math.max(ratio, 2 ** -LIMIT), 2 ** LIMIT)),
    };
  });
  const most = Object.values(simulations).map((one) => range(one.counts.subarray(from), experts)[1] / mean);
  return { bars, limits: [{ limit: Math.max(...most) }] };
}

/**
 * Chart -> its rows. `charts`: as the page names them. `isStep`: only the playhead has moved, and no line has to
 * be drawn again.
 */
export function pictures(simulations, job, step, charts, isStep = false) {
  const playhead = [{ playhead: step, name: `step ${step}` }];
  const done = Math.min(...Object.values(simulations).map((one) => one.done));
  const over = (rows) => (isStep ? { playhead } : { ...rows(), playhead });
  const { heights, reference } = job;
  const draw = {
    max_vio: () => over(() => lineChart(simulations, job, maxVio, heights.max_vio, reference)),
    switched: () => over(() => lineChart(simulations, job, switchedShare, heights.switched)),
    bias_A: () => over(() => biasChart(simulations, job, "A", heights.bias)),
    bias_B: () => over(() => biasChart(simulations, job, "B", heights.bias)),
    loads_A: () => (step < done ? loadChart(simulations, "A", step) : null),
    loads_B: () => (step < done ? loadChart(simulations, "B", step) : null),
  };
  return Object.fromEntries(charts.map((chart) => [chart, draw[chart]()]).filter(([, rows]) => rows));
}
