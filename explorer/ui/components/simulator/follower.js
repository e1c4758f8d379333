/**
 * Lets the charts of a page follow a slider while it is dragged.
 *
 * The page sends what its controls stand for and, for each slider, what each position would change about it
 * (`payload.py`). A moved slider makes a job for the worker, whose rows take the place of the server's in the
 * charts (`shared/vega_bridge.js`). Rows that the server has answered for stay: to exchange them for the same
 * rows would draw every chart once more. They go when the pointer comes to a chart, whose points for the pointer
 * are the server's, or when the server answers for other settings.
 */

import { mirrorRows } from "../shared/vega_bridge.js";
import { isHeld, watchSliders } from "./sliders.js";
import { WORKER_URL } from "./worker.js";

/** Charts draw the server's rows shortly after they arrive; until then other rows from here stay. */
const SETTLE_MS = 250;
/** Simulations of up to this many scores are prepared before they are asked for. */
const MOST_EXPECTED = 6e7;
/** After these, other charts may be in the window. */
const SHIFTS = ["scroll", "resize", "pointerdown", "focusin"];

/** The job with a change applied: objects are merged one level deep. */
function changed(job, change) {
  const result = { ...job };
  for (const [key, value] of Object.entries(change)) {
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    result[key] = isObject ? { ...job[key], ...value } : value;
  }
  return result;
}

/** What a picture shows, to be compared. */
const answerOf = (job, step) => JSON.stringify([job, step]);

export class Follower {
  #data = null;
  /** Positions of sliders that the visitor has moved and the server has not answered for. */
  #moved = new Map();
  #worker = null;
  #id = 0;
  #waiting = null;
  #isAsked = false;
  #timer = 0;
  #frame = 0;
  /** Whether lines show rows of another job than the server's. */
  #isMirrored = false;
  /** Chart -> the job and step that its rows from here are for, and whether they reach the last step. */
  #mirrored = new Map();
  /** Whether rows from here are shown that the server has answered for. */
  #isKept = false;
  /** The request whose rows are awaited. */
  #request = null;
  /** Charts in the window, or null where something may have moved since: asking the page makes it lay itself out. */
  #charts = null;
  #stop = () => {};

  /** The server has answered: forget the sliders that it has followed, or that are not held any more. */
  update(data) {
    const isFirst = this.#data === null;
    this.#data = data;
    this.#charts = null;
    if (isFirst) this.#watch();
    for (const [key, position] of this.#moved) {
      if (data.sliders[key]?.at === position || !isHeld(key)) this.#moved.delete(key);
    }
    if (this.#moved.size > 0) this.#show();
    else if (this.#isAnswered()) this.#keep();
    else this.#letGo(this.#isKept ? 0 : SETTLE_MS);
  }

  /** Whether every chart that shows rows from here shows what the server has answered. */
  #isAnswered() {
    const answer = answerOf(this.#data.job, this.#data.step);
    const jobs = [...this.#mirrored.values()];
    return jobs.every(({ job, step, isWhole }) => isWhole && answerOf(job, step) === answer);
  }

  /** Rows from here stay for as long as nothing else is to be seen. */
  #keep() {
    this.#forget();
    this.#isMirrored = false;
    this.#isKept = this.#mirrored.size > 0;
  }

  #watch() {
    const leave = watchSliders(
      Object.keys(this.#data.sliders),
      (key, position) => this.#onMove(key, position),
      (key) => this.#onNear(key),
    );
    const forget = () => {
      this.#charts = null;
    };
    const onPointer = ({ target }) => {
      if (this.#isKept && this.#isChart(target)) this.#letGo(0);
    };
    const options = { capture: true, passive: true };
    for (const kind of SHIFTS) addEventListener(kind, forget, options);
    addEventListener("pointermove", onPointer, options);
    this.#stop = () => {
      leave();
      for (const kind of SHIFTS) removeEventListener(kind, forget, options);
      removeEventListener("pointermove", onPointer, options);
    };
  }

  #isChart(target) {
    const panels = Object.values(this.#data.charts);
    return target instanceof Element && panels.some((panel) => target.closest(`.st-key-panel-${panel}`));
  }

  stop() {
    this.#stop();
    this.#worker?.terminate();
    this.#letGo(0);
  }

  #onMove(key, position) {
    const { at } = this.#data.sliders[key];
    // A slider writes its position into two attributes, one after the other.
    if (this.#moved.get(key) === position) return;
    // Sliders also write their value again when the server's answer arrives.
    if (position === at && !this.#moved.delete(key)) return;
    if (position !== at) this.#moved.set(key, position);
    this.#show();
  }

  #onNear(key) {
    const { options, at } = this.#data.sliders[key];
    const { num_experts: experts, num_tokens: tokens } = this.#data.job.scores;
    const isLarge = experts * tokens * this.#data.job.steps > MOST_EXPECTED;
    const order = (options ?? []).map((_, i) => i).sort((a, b) => Math.abs(a - at) - Math.abs(b - at));
    const jobs = order.map((i) => options[i]).filter((change) => change !== null);
    const near = (isLarge ? [] : jobs).map((change) => changed(this.#data.job, change));
    this.#post({ kind: "expect", jobs: [this.#data.job, ...near] });
  }

  /** The job of the present positions with its step, or null where the server alone knows the answer. */
  #current() {
    let { job, step } = this.#data;
    let isStep = !this.#isMirrored;
    for (const [key, position] of this.#moved) {
      const { options } = this.#data.sliders[key];
      const change = options ? options[position] : {};
      if (!change) return null;
      job = changed(job, change);
      if (options) isStep = false;
      else step = position;
    }
    return { job, step: Math.min(step, job.steps - 1), isStep };
  }

  #show() {
    clearTimeout(this.#timer);
    const current = this.#current();
    if (!current) {
      this.#letGo(0);
      return;
    }
    this.#isMirrored = !current.isStep;
    this.#isKept = false;
    this.#waiting = { kind: "show", ...current, charts: this.#visible() };
    if (!this.#isAsked) this.#ask();
  }

  #ask() {
    this.#id += 1;
    this.#isAsked = true;
    this.#request = this.#waiting;
    this.#waiting = null;
    this.#post({ id: this.#id, ...this.#request });
  }

  #post(message) {
    if (!this.#worker) {
      this.#worker = new Worker(WORKER_URL, { type: "module" });
      this.#worker.onmessage = ({ data }) => this.#receive(data);
    }
    this.#worker.postMessage(message);
  }

  #receive({ id, frames, isWhole }) {
    if (id !== this.#id) return;
    const { job, step } = this.#request;
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#isAsked = false;
      mirrorRows(frames);
      for (const chart of Object.keys(frames)) this.#mirrored.set(chart, { job, step, isWhole });
      if (this.#waiting) this.#ask();
      else if (this.#moved.size === 0 && isWhole && this.#isAnswered()) this.#keep();
    });
  }

  /** Charts in the window: what is out of sight waits for the server. */
  #visible() {
    this.#charts ??= Object.entries(this.#data.charts)
      .filter(([, panel]) => {
        const box = document.querySelector(`.st-key-panel-${panel}`)?.getBoundingClientRect();
        return box && box.bottom > 0 && box.top < innerHeight;
      })
      .map(([chart]) => chart);
    return this.#charts;
  }

  /** Rows that are still on their way are not shown any more. */
  #forget() {
    clearTimeout(this.#timer);
    this.#id += 1;
    this.#isAsked = false;
    this.#waiting = null;
    cancelAnimationFrame(this.#frame);
  }

  /** After this time the charts show the server's rows again. */
  #letGo(delay) {
    clearTimeout(this.#timer);
    const release = () => {
      this.#forget();
      this.#isMirrored = false;
      this.#isKept = false;
      this.#mirrored.clear();
      mirrorRows(null);
    };
    if (delay === 0) release();
    else this.#timer = setTimeout(release, delay);
  }
}
