// The player's arithmetic: matrix, scale, places on the canvas, and time.

import assert from "node:assert/strict";
import test from "node:test";
import {
  cellAt,
  layoutOf,
  marksAt,
  scrubberPlace,
  stepX,
} from "../../../explorer/ui/components/player/layout.js";
import { LoadMatrix } from "../../../explorer/ui/components/player/matrix.js";
import { rowNames } from "../../../explorer/ui/components/player/paint.js";
import { advance, nextEvent, SPEEDS, speedFor } from "../../../explorer/ui/components/player/playback.js";
import { isDark, rampIndex, rampOf, rgbOf } from "../../../explorer/ui/components/shared/colours.js";
import { apart, niceStep } from "../../../explorer/ui/components/shared/ticks.js";

function packed(kind, array) {
  return { kind, base64: Buffer.from(array.buffer).toString("base64") };
}

/** Three columns (steps 0 to 4, 5 to 9, 10) of two experts, with biases in units of 0.5. */
function matrix() {
  return new LoadMatrix({
    experts: 2,
    first_step: packed("i4", new Int32Array([0, 5, 10])),
    last_step: packed("i4", new Int32Array([4, 9, 10])),
    counts: packed("u2", new Uint16Array([300, 100, 0, 50, 0, 0])),
    bias: packed("i2", new Int16Array([1, -2, -32768, 0, 3, 4])),
    bias_unit: 0.5,
  });
}

test("counts are exact and ratios derived", () => {
  const loads = matrix();
  assert.equal(loads.columns, 3);
  assert.equal(loads.tokens(0, 0), 300);
  assert.equal(loads.ratio(0, 0), 1.5);
  assert.equal(loads.ratio(1, 1), 2);
  assert.equal(loads.ratio(2, 0), 0, "nothing was routed");
  assert.equal(loads.biasAt(0, 1), -1);
  assert.equal(loads.biasAt(1, 0), null);
});

test("a step is in the column that holds it, or in the nearest", () => {
  const loads = matrix();
  const columns = [-3, 0, 4, 5, 9, 10, 99].map((step) => loads.columnOf(step));
  assert.deepEqual(columns, [0, 0, 0, 1, 1, 2, 2]);
  assert.equal(loads.stepName(0), "steps 0 to 4");
  assert.equal(loads.stepName(2), "step 10");
  assert.equal(
    loads.sentence(1),
    "steps 5 to 9: expert 1 receives 2.00× the uniform load, 1 experts without tokens",
  );
  assert.equal(loads.sentence(2), "step 10: no tokens recorded in this layer");
});

test("the colour scale is logarithmic and ends at its limits", () => {
  assert.deepEqual(
    [0.25, 0.01, 1, 4, 99].map((ratio) => rampIndex(ratio, 2)),
    [0, 0, 128, 255, 255],
  );
  const ramp = rampOf(["#000000", "#808080", "#ffffff"]);
  assert.equal(ramp.length, 256);
  assert.deepEqual(ramp[0], [0, 0, 0]);
  assert.deepEqual(ramp[255], [255, 255, 255]);
  assert.deepEqual(rgbOf(" #0A0bff "), [10, 11, 255]);
  assert.deepEqual(rgbOf("rgba(1, 2, 3, 0.5)"), [1, 2, 3]);
  assert.deepEqual([isDark("#0F1218"), isDark("rgb(250, 250, 250)")], [true, false]);
});

test("a point of the canvas is a cell, a bar, an event, or nothing", () => {
  const loads = matrix();
  const at = layoutOf(800, 300, true);
  const events = [{ step: 5, expert: null, sign: "S", label: "switch" }];
  const view = { at, matrix: loads, rows: [1, 0], events };
  const middle = stepX(loads, at, 7);
  const upper = at.top + at.tall / 4;
  assert.deepEqual(cellAt(view, [middle, upper]), { column: 1, expert: 1, x: middle, y: upper });
  assert.equal(cellAt(view, [at.barsLeft + 5, upper]).column, null);
  assert.equal(cellAt(view, [middle, at.top - 1]), null);
  assert.deepEqual(marksAt(view, [middle + 3, at.top - 5]), events);
  assert.deepEqual(marksAt(view, [middle + 30, at.top - 5]), []);
  assert.equal(layoutOf(300, 300, false).bars, 0, "no room for bars");
});

test("experts that share a row show their mean, and the row opens the busiest of them", () => {
  const loads = matrix();
  const rows = [[0, 1]];
  assert.equal(loads.tokensOf(1, rows[0]), loads.tokens(1, 0) + loads.tokens(1, 1));
  assert.ok(Math.abs(loads.ratioOf(1, rows[0]) - (loads.ratio(1, 0) + loads.ratio(1, 1)) / 2) < 1e-12);
  assert.equal(loads.ratioOf(1, 0), loads.ratio(1, 0));
  const busiest = loads.tokens(1, 1) > loads.tokens(1, 0) ? 1 : 0;
  const at = layoutOf(800, 300, true);
  const cell = cellAt({ at, matrix: loads, rows }, [stepX(loads, at, 7), at.top + 5]);
  assert.deepEqual([cell.column, cell.expert], [1, busiest]);
  assert.deepEqual(rowNames([7, 3, [1, 2, 4], [0, 5]]), ["7", "3", "#3", "#6"]);
});

test("ticks are round numbers", () => {
  assert.deepEqual(
    [
      [16, 20],
      [64, 10],
      [800, 7],
      [5, 0],
    ].map(([span, wanted]) => niceStep(span, wanted)),
    [1, 10, 200, 5],
  );
});

test("a run passes in about twelve seconds", () => {
  assert.equal(speedFor(800), 60);
  assert.equal(speedFor(0), SPEEDS[0]);
  assert.equal(speedFor(1e6), SPEEDS.at(-1));
});

test("time moves the clock; with less motion it jumps once per second", () => {
  const settings = { last: 200, speed: 30 };
  assert.deepEqual(advance({ clock: 10, still: 0 }, 0.5, { ...settings, calm: false }), {
    clock: 25,
    still: 0,
  });
  let state = { clock: 10, still: 0 };
  const clocks = [];
  for (let i = 0; i < 8; i++) {
    state = advance(state, 0.25, { ...settings, calm: true });
    clocks.push(state.clock);
  }
  assert.deepEqual(clocks, [10, 10, 10, 20, 20, 20, 20, 30]);
});

test("the next event lies beyond the playhead, the nearest first", () => {
  const loads = matrix();
  const events = [0, 10, 7].map((step) => ({ step }));
  assert.equal(nextEvent(loads, events, 0, 1).step, 7);
  assert.equal(nextEvent(loads, events, 2, -1).step, 7);
  assert.equal(nextEvent(loads, events, 2, 1), undefined);
});

test("the thumb of the scrubber stands under the playhead at every step", () => {
  const at = layoutOf(800, 300, false);
  const { left, width } = scrubberPlace(at, 3);
  const thumb = 18;
  for (const [column, step] of [0, 5, 10].entries()) {
    const centre = left + thumb / 2 + (column / 2) * (width - thumb);
    assert.ok(Math.abs(centre - stepX(matrix(), at, step)) < 1e-9, `column ${column}`);
  }
});

test("a label that would cover the one before it is left out", () => {
  const labels = [0, 40, 49, 80].map((left) => ({ left, wide: 20 }));
  assert.deepEqual(
    apart(labels).map(({ left }) => left),
    [0, 40, 80],
  );
});
