/**
 * The worker that simulates while a slider is dragged. The same module is imported by the page, for its address.
 *
 * In: {kind: "show", id, job, step, charts, isStep}, {kind: "expect", jobs}. Out: {id, frames, isWhole}, the
 * frames as columns; whole: they reach the last step. A job is that of the Playground, or a descent of the Theory
 * page (`kind: "descent"`).
 */

import { columns } from "./columns.js";
import { descentPictures } from "./descent_pictures.js";
import { pictures } from "./pictures.js";
import { Simulation } from "./simulation.js";

export const WORKER_URL = import.meta.url;

const PICTURE_MS = 40;
/** Simulated steps are shown at least this often while more are under way. */
const SLICE_MS = 12;
const MOST_BYTES = 64e6;
const SIDES = ["A", "B"];

/** Simulations by their settings, the latest used last; also those that a newer request interrupted. */
const simulations = new Map();

const bytesOf = (one) => 12 * one.counts.length;

function simulationOf(job, side) {
  const key = JSON.stringify([job.scores, job[side], job.steps]);
  const one = simulations.get(key) ?? new Simulation(job.scores, job[side], job.steps);
  simulations.delete(key);
  simulations.set(key, one);
  let bytes = [...simulations.values()].reduce((sum, each) => sum + bytesOf(each), 0);
  for (const [old, each] of simulations) {
    if (bytes <= MOST_BYTES || old === key) break;
    bytes -= bytesOf(each);
    simulations.delete(old);
  }
  return one;
}

let request = null;
let expected = [];
let isBusy = false;
const channel = new MessageChannel();

/** The next task, so that newer messages come first. */
function nextTask() {
  return new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
}

/** Simulates both sides; false if `isOld()` became true before the end. `onPart` is told what is done so far. */
async function simulate(job, isOld, onPart) {
  const pair = Object.fromEntries(SIDES.map((side) => [side, simulationOf(job, side)]));
  let shown = performance.now();
  for (;;) {
    const start = performance.now();
    const isLate = () => performance.now() - start > SLICE_MS;
    // The side that is behind first: both lines grow together.
    const behind = pair.A.done <= pair.B.done && pair.A.done < job.steps ? pair.A : pair.B;
    behind.advance(isLate);
    const done = SIDES.every((side) => pair[side].done === job.steps);
    if (done) return pair;
    if (performance.now() - shown > PICTURE_MS && SIDES.every((side) => pair[side].done > 0)) {
      onPart(pair);
      shown = performance.now();
    }
    await nextTask();
    if (isOld()) return null;
  }
}

function send(id, rows, isWhole) {
  const { frames, buffers } = columns(rows);
  postMessage({ id, frames, isWhole }, buffers);
}

async function show(current) {
  const { id, job, step, charts, isStep } = current;
  if (job.kind === "descent") {
    send(id, descentPictures(job, charts), true);
    return;
  }
  const answer = (pair, isWhole) => send(id, pictures(pair, job, step, charts, isStep), isWhole);
  const pair = await simulate(
    job,
    () => request !== null,
    (part) => answer(part, false),
  );
  if (pair) answer(pair, true);
}

async function work() {
  isBusy = true;
  while (request || expected.length > 0) {
    if (request) {
      const current = request;
      request = null;
      await show(current);
    } else {
      const [job, ...rest] = expected;
      expected = rest;
      if (job.kind !== "descent") {
        await simulate(
          job,
          () => request !== null,
          () => {},
        );
      }
    }
    await nextTask();
  }
  isBusy = false;
}

function receive({ data }) {
  if (data.kind === "show") request = data;
  else expected = data.jobs;
  if (!isBusy) work();
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.addEventListener("message", receive);
}
