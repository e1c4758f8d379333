// The cells as they came from Python, and where they lie on the axis of steps.

import { numbersOf } from "../shared/numbers.js";

const NO_TOKENS = 254;
const NOT_RECORDED = 255;
const TOP = 253;
const HUNDREDTHS = 100;

export class Cells {
  constructor(data) {
    this.experts = data.experts;
    this.edges = data.edges;
    this.columns = data.edges.length - 1;
    // Of very many experts a row is a rank, or a group of ranks that no single expert owns.
    this.names = data.names ?? null;
    this.owners = data.owners ?? null;
    this.busiest = data.busiest ? numbersOf(data.busiest) : null;
    for (const name of ["first", "last", "level", "tokens", "ratio", "low", "high"]) {
      this[name] = numbersOf(data[name]);
    }
  }

  /** First and last step of the whole axis. */
  get span() {
    return [this.edges[0], this.edges[this.columns]];
  }

  /** The column at a place on the axis of steps, or the nearest. */
  columnAt(step) {
    let low = 0;
    let high = this.columns - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.edges[middle] <= step) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  isRecorded(expert, column) {
    return this.level[expert * this.columns + column] !== NOT_RECORDED;
  }

  nameOf(row) {
    return this.names ? this.names[row] : String(row);
  }

  /** The expert whose loads a row shows, or null for a group. */
  ownerOf(row) {
    if (!this.owners) return row;
    return this.owners[row] < 0 ? null : this.owners[row];
  }

  /** The row of an expert, or null where it has none of its own. */
  rowOf(expert) {
    if (expert === null || expert < 0) return null;
    const row = this.owners ? this.owners.indexOf(expert) : expert;
    return row >= 0 && row < this.experts ? row : null;
  }

  /** The expert that a click on a cell opens. */
  expertAt(row, column) {
    return this.busiest ? this.busiest[row * this.columns + column] : row;
  }

  /** What the tooltip says: its title and its lines. */
  words(expert, column) {
    const at = expert * this.columns + column;
    const [from, to] = [this.first[column], this.last[column]];
    const steps = from === to ? `step ${from}` : `steps ${from} to ${to}`;
    const number = (values) => (values[at] / HUNDREDTHS).toFixed(2);
    const range =
      from === to && this.ownerOf(expert) !== null
        ? []
        : [`${number(this.low)} to ${number(this.high)} in between`];
    const isGroup = this.ownerOf(expert) === null;
    const mean = isGroup ? "mean " : "";
    const load = this.tokens[at] ? `${mean}${number(this.ratio)} × uniform` : "no tokens: idle";
    const busiest = isGroup ? [`busiest: expert ${this.busiest[at]}`] : [];
    return {
      title: `${isGroup ? "" : "expert "}${this.nameOf(expert)}, ${steps}`,
      lines: [`${this.tokens[at].toLocaleString("en-US")} tokens`, load, ...range, ...busiest],
    };
  }

  /** One pixel per cell; a cell that was not recorded stays clear. */
  image(theme) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.columns, this.experts];
    const context = canvas.getContext("2d");
    const image = context.createImageData(this.columns, this.experts);
    const inks = new Uint32Array(256);
    const bytes = new Uint8Array(inks.buffer);
    for (let level = 0; level < NOT_RECORDED; level++) {
      const ramp = theme.ramp[Math.round((level / TOP) * 255)];
      bytes.set([...(level === NO_TOKENS ? theme.dead : ramp), 255], 4 * level);
    }
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = inks[this.level[i]];
    context.putImageData(image, 0, 0);
    return canvas;
  }
}
