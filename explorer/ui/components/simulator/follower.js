/**
 * Lets the charts of a page follow a slider while it is dragged.
 *
 * The page sends what its controls stand for and, for each slider, what each position would change about it
 * (`payload.py`). A moved slider makes a job for the worker, whose rows take the place of the server's in the
 * charts (`shared/vega_bridge.js`) until the server has answered for the same settings.
 */

import { mirrorRows } from "../shared/vega_bridge.js";
import { isHeld, watchSliders } from "./sliders.js";
import { WORKER_URL } from "./worker.js";

/** Charts draw the server's rows shortly after they arrive; until then the same rows from here stay. */
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
    else this.#letGo(SETTLE_MS);
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
    const options = { capture: true, passive: true };
    for (const kind of SHIFTS) addEventListener(kind, forget, options);
    this.#stop = () => {
      leave();
      for (const kind of SHIFTS) removeEventListener(kind, forget, options);
    };
  }

  stop() {
    this.#stop();
    this.#worker?.terminate();
    this.#letGo(0);
  }

  #onMove(key, position) {
    const { at } = this.#data.sliders[key];
    if (position === at) this.#moved.delete(key);
    else this.#moved.set(key, position);
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
    this.#waiting = { kind: "show", ...current, charts: this.#visible() };
    if (!this.#isAsked) this.#ask();
  }

  #ask() {
    this.#id += 1;
    this.#isAsked = true;
    this.#post({ id: this.#id, ...this.#waiting });
    this.#waiting = null;
  }

  #post(message) {
    if (!this.#worker) {
      this.#worker = new Worker(WORKER_URL, { type: "module" });
      this.#worker.onmessage = ({ data }) => this.#receive(data);
    }
    this.#worker.postMessage(message);
  }

  #receive({ id, frames }) {
    if (id !== this.#id) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#isAsked = false;
      mirrorRows(frames);
      if (this.#waiting) this.#ask();
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

  /** After this time the charts show the server's rows again. */
  #letGo(delay) {
    clearTimeout(this.#timer);
    const release = () => {
      this.#id += 1;
      this.#isAsked = false;
      this.#waiting = null;
      cancelAnimationFrame(this.#frame);
      this.#isMirrored = false;
      mirrorRows(null);
    };
    if (delay === 0) release();
    else this.#timer = setTimeout(release, delay);
  }
}
