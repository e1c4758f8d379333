// Waits until the playhead of the page has come to rest and tells Python its step: what is worth a look,
// but not worth slowing every move down, is then brought up to date. Draws nothing, or the step in words.

import { isPlaying, isReporting, playhead } from "../shared/page_state.js";

const REST_MS = 60;
// How often it looks whether Python has answered the player.
const ANSWER_MS = 20;
// A busy server may lose a report that another one follows at once; it is then told again, twice at most.
const AGAIN_MS = 2000;
const TRIES = 3;

class RestingPlayhead {
  #timer = 0;
  #sent = null;

  constructor(root) {
    this.words = root.querySelector("output");
    this.leave = playhead.subscribe(() => this.show());
  }

  update(component) {
    this.component = component;
    if (this.#sent === component.data.step) this.#sent = null;
    this.show();
  }

  stop() {
    clearTimeout(this.#timer);
    this.leave();
  }

  show() {
    if (this.words && playhead.value !== null) this.words.textContent = `step ${playhead.value}`;
    if (!this.component.data.report) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#rest(), REST_MS);
  }

  #rest() {
    if (isPlaying() || isReporting()) {
      this.#timer = setTimeout(() => this.#rest(), isPlaying() ? REST_MS : ANSWER_MS);
      return;
    }
    const step = playhead.value;
    // Once is enough: Python may have a reason to show another step.
    if (step === null || step === this.component.data.step || step === this.#sent) return;
    this.#sent = step;
    this.#tell(step, 1);
  }

  #tell(step, nth) {
    this.component.setTriggerValue("rested", step);
    if (nth === TRIES) return;
    this.#timer = setTimeout(() => {
      if (this.#sent === step && this.component.data.step !== step) this.#tell(step, nth + 1);
    }, AGAIN_MS);
  }
}

const mounted = new WeakMap();

export default function mount(component) {
  const root = component.parentElement;
  if (!mounted.has(root)) mounted.set(root, new RestingPlayhead(root));
  const resting = mounted.get(root);
  resting.update(component);
  return () => {
    resting.stop();
    mounted.delete(root);
  };
}
