// The step of the playhead in words, wherever the page wants it.

import { playhead } from "../shared/page_state.js";

class StepWords {
  constructor(root) {
    this.words = root.querySelector("output");
    this.leave = playhead.subscribe(() => this.show());
    this.show();
  }

  show() {
    if (playhead.value !== null) this.words.textContent = `step ${playhead.value}`;
  }
}

const mounted = new WeakMap();

export default function mount({ parentElement: root }) {
  if (!mounted.has(root)) mounted.set(root, new StepWords(root));
  return () => {
    mounted.get(root)?.leave();
    mounted.delete(root);
  };
}
