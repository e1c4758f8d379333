// The heatmap's arithmetic: the part of the axis that is shown, and the cell at a place.

import assert from "node:assert/strict";
import test from "node:test";
import { Cells } from "../../../explorer/ui/components/load_map/cells.js";
import { layoutOf } from "../../../explorer/ui/components/load_map/paint.js";
import { StepWindow } from "../../../explorer/ui/components/load_map/window.js";

function packed(kind, array) {
  return { kind, base64: Buffer.from(array.buffer).toString("base64") };
}

/** Two experts in three bins of steps; the last cell was not recorded. */
function cells() {
  const one = packed("u1", new Uint8Array([100, 50, 0, 100, 150, 0]));
  return new Cells({
    experts: 2,
    edges: [0, 5, 10, 11],
    first: packed("i4", new Int32Array([0, 5, 10])),
    last: packed("i4", new Int32Array([4, 9, 10])),
    level: packed("u1", new Uint8Array([126, 60, 254, 126, 180, 255])),
    tokens: packed("u2", new Uint16Array([40, 20, 0, 40, 60, 0])),
    ratio: one,
    low: one,
    high: one,
  });
}

test("a place belongs to the bin that begins before it", () => {
  assert.deepEqual(
    [-1, 0, 4.9, 5, 10.5, 99].map((step) => cells().columnAt(step)),
    [0, 0, 0, 1, 2, 2],
  );
});

test("the words of a cell are its counts and its ratio", () => {
  assert.deepEqual(cells().words(1, 1), {
    title: "expert 1, steps 5 to 9",
    lines: ["60 tokens", "1.50 × uniform", "1.50 to 1.50 in between"],
  });
  assert.deepEqual(cells().words(0, 2), {
    title: "expert 0, step 10",
    lines: ["0 tokens", "no tokens: idle"],
  });
  assert.equal(cells().isRecorded(1, 2), false);
});

test("zooming keeps the step under the pointer, and nothing leaves the axis", () => {
  const shown = new StepWindow([0, 800], 200);
  shown.zoom(0.5, 0.25);
  assert.deepEqual(shown.shown, [100, 500]);
  assert.equal(shown.step(0.25), 200);
  shown.pan(-1);
  assert.deepEqual(shown.shown, [0, 400]);
  shown.zoom(0.0001, 0.5);
  assert.equal(shown.shown[1] - shown.shown[0], 16, "four columns stay");
  shown.zoom(1000, 0.5);
  assert.equal(shown.isWhole, true);
});

/** Expert 7 alone, then a group whose busiest experts differ from bin to bin. */
function ranks() {
  return Object.assign(cells(), {
    names: ["7", "ranks 2–5"],
    owners: [7, -1],
    busiest: [7, 7, 7, 3, 4, 3],
  });
}

test("a rank is the expert that owns it; a group is none, and opens its busiest", () => {
  assert.deepEqual(
    [7, 0, null].map((expert) => ranks().rowOf(expert)),
    [0, null, null],
  );
  assert.deepEqual(
    [0, 1].map((row) => ranks().ownerOf(row)),
    [7, null],
  );
  assert.deepEqual(
    [0, 1].map((column) => ranks().expertAt(1, column)),
    [3, 4],
  );
  assert.equal(ranks().words(0, 0).title, "expert 7, steps 0 to 4");
  assert.deepEqual(ranks().words(1, 1), {
    title: "ranks 2–5, steps 5 to 9",
    lines: ["60 tokens", "mean 1.50 × uniform", "1.50 to 1.50 in between", "busiest: expert 4"],
  });
});

test("a row by index is its expert", () => {
  assert.deepEqual(
    [1, 2, -1].map((expert) => cells().rowOf(expert)),
    [1, null, null],
  );
  assert.equal(cells().expertAt(1, 2), 1);
});

test("only event marks take room above the plot", () => {
  const [bare, marked] = [false, true].map((isMarked) => layoutOf(400, 160, { hasNames: false, isMarked }));
  assert.ok(bare.top > 18 && bare.top < 30 && marked.top > 30, "room for the name of the axis");
  for (const at of [bare, marked]) assert.equal(at.height - at.top, 160 + 26);
});
