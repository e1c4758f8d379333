/** The rows of the Theory page's charts over steps, as `explorer/figures/theory.py` makes them. */

import { descend } from "./descent.js";
import { placed } from "./labels.js";

const LEAST_GAP = 1e-12;
const FLOOR = 1e-4;
const [SEATS, ACROSS] = [8, 4];
const NAMES = ["over", "exact", "under"];

function pathOf(run, job) {
  const best = job.optimum / run.tokens;
  return run.dual.map((value, step) => {
    const dual = value / run.tokens;
    return { step, dual, gap: dual - best };
  });
}

function dualChart(run, job) {
  const path = pathOf(run, job);
  const best = job.optimum / run.tokens;
  const duals = path.map((row) => row.dual);
  const high = Math.max(...duals);
  const last = duals[duals.length - 1];
  const labels = [
    { ...job.labels.dual, end: last - best > LEAST_GAP ? last : best, strong: true },
    { ...job.labels.optimum, end: best, strong: false },
  ];
  const place = { field: "dual", low: Math.min(best, high), high, height: job.heights.dual };
  return { path, dual_texts: placed(labels, place) };
}

/** Promise and benefit; what is smaller than a ten-thousandth of the largest is left out. */
function accountChart(run, job) {
  const most = Math.max(...run.promise, ...run.benefit);
  const floor = most * FLOOR;
  if (!(floor > 0)) return null;
  const labels = [];
  const score = (part) => {
    const rows = run[part].map((value, step) => ({
      step,
      verdict: run.verdict[step],
      part,
      score: value > floor ? value : null,
    }));
    const drawn = rows.filter((row) => row.score !== null);
    const end = drawn[drawn.length - 1]?.score;
    if (end !== undefined) labels.push({ ...job.labels[part], end, strong: true });
    return rows;
  };
  const scores = [...score("promise"), ...score("benefit")];
  const place = { field: "score", low: floor, high: most, height: job.heights.account, isLog: true };
  const verdicts = run.verdict.map((verdict, step) => ({ step, end: step + 1, word: job.verdicts[verdict] }));
  return { scores, verdicts, score_texts: placed(labels, place) };
}

function movesChart(run, job) {
  const isFree = job.rule.rule !== "sign";
  const moves = NAMES.flatMap((left, i) =>
    NAMES.map((joined, j) => ({ left, joined, pairs: run.moves[3 * i + j], allowed: i < j || isFree })),
  );
  return { moves };
}

function bandChart(run) {
  const deviation = run.loads.map((loads, step) => ({
    step,
    deviation: Math.max(...loads.map((load) => Math.abs(load - run.load))),
  }));
  return { deviation };
}

/** Dots on the seats of each expert after the last update, as `explorer/charts/seats.py` places them. */
function seatChart(run) {
  const [loads, prices] = [run.loads[run.loads.length - 1], run.prices[run.prices.length - 1]];
  const dots = [];
  loads.forEach((load, expert) => {
    const count = Math.floor((SEATS * load) / run.load + 0.5);
    for (let n = 0; n < Math.max(SEATS, count); n += 1) {
      const state = n >= count ? "empty" : n < SEATS ? "seated" : "beyond";
      const place = (ACROSS + 1) * expert + (n % ACROSS) + 0.5;
      dots.push({ place, row: Math.floor(n / ACROSS) + 0.5, state });
    }
  });
  const feet = Array.from(loads, (tokens, expert) => ({ expert, tokens, bias: prices[expert] }));
  return { dots, feet };
}

/** Chart -> its rows. */
export function descentPictures(job, charts) {
  const run = descend(job);
  const draw = {
    seats: () => seatChart(run),
    dual: () => dualChart(run, job),
    gap: () => ({ path: pathOf(run, job).filter((row) => row.gap > LEAST_GAP) }),
    account: () => accountChart(run, job),
    moves: () => movesChart(run, job),
    band: () => bandChart(run),
  };
  return Object.fromEntries(charts.map((chart) => [chart, draw[chart]()]).filter(([, rows]) => rows));
}
