// The part of the axis of steps that is shown: zooming around a place, panning, and back to the whole.

/** Fewer columns than this are not worth a look. */
const FEWEST = 4;

export class StepWindow {
  constructor([low, high], columns) {
    this.whole = [low, high];
    this.shown = [low, high];
    this.least = Math.min(high - low, ((high - low) * FEWEST) / Math.max(1, columns));
  }

  get isWhole() {
    return this.shown[0] <= this.whole[0] && this.shown[1] >= this.whole[1];
  }

  /** Place of a step in the plot: 0 at its left edge, 1 at its right. */
  share(step) {
    return (step - this.shown[0]) / (this.shown[1] - this.shown[0]);
  }

  step(share) {
    return this.shown[0] + share * (this.shown[1] - this.shown[0]);
  }

  /** factor > 1 shows more. */
  zoom(factor, share) {
    const fixed = this.step(share);
    const length = this.shown[1] - this.shown[0];
    const next = Math.min(this.whole[1] - this.whole[0], Math.max(this.least, length * factor));
    this.#show(fixed - share * next, next);
  }

  pan(share) {
    const length = this.shown[1] - this.shown[0];
    this.#show(this.shown[0] + share * length, length);
  }

  reset() {
    this.shown = [...this.whole];
  }

  #show(low, length) {
    const start = Math.max(this.whole[0], Math.min(this.whole[1] - length, low));
    this.shown = [start, start + length];
  }
}
