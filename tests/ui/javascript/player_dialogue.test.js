// What the player and Python tell each other, and what keys ask for, by a clock that the test moves.

import assert from "node:assert/strict";
import test from "node:test";
import { Dialogue } from "../../../explorer/ui/components/player/dialogue.js";
import { LayerKeys } from "../../../explorer/ui/components/player/layer_keys.js";

const AGAIN_MS = 2000;
const LONG_MS = 10 * AGAIN_MS;

/** A player that goes where it is sent and keeps what it tells. */
class Player {
  told = [];
  place = [];
  isBusy = false;

  follow({ step, expert }) {
    this.place = [step, expert];
  }

  tell(report) {
    this.told.push(report);
  }

  get steps() {
    return this.told.map((report) => report.step);
  }
}

/** A dialogue in which Python has said step 50, the player, and the two ways to speak. */
function talk(t, { start = 50 } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_700_000_000_000 });
  const [dialogue, player] = [new Dialogue(), new Player()];
  dialogue.attach(player);
  const hear = (step, { heard = 0, expert = null } = {}) => dialogue.hear({ step, expert, heard });
  const report = (step, expert = null) => {
    dialogue.report({ step, expert });
    return player.told.at(-1).time;
  };
  hear(start);
  return { dialogue, player, hear, report, wait: (time) => t.mock.timers.tick(time) };
}

test("an answer ends a report", (t) => {
  const { player, hear, report, wait } = talk(t);
  const heard = report(60, 3);
  hear(60, { heard, expert: 3 });
  wait(LONG_MS);
  assert.deepEqual(player.steps, [60]);
  assert.deepEqual(player.place, [60, 3]);
});

test("what Python said before it heard is not followed", (t) => {
  const { player, hear, report } = talk(t);
  const first = report(60);
  hear(50, { expert: 7 });
  const second = report(70);
  hear(60, { heard: first, expert: 7 });
  assert.deepEqual(player.place, [50, null], "it stays where it was moved by hand");
  hear(70, { heard: second, expert: 7 });
  assert.deepEqual(player.place, [70, 7]);
});

test("Python may return to a step that was just reported", (t) => {
  const { player, hear, report } = talk(t);
  const heard = report(60);
  hear(60, { heard });
  hear(50, { heard });
  assert.deepEqual(player.place, [50, null]);
});

test("a lost report is told again until it is heard", (t) => {
  const { player, hear, report, wait } = talk(t);
  const heard = report(60);
  hear(50);
  wait(AGAIN_MS);
  assert.deepEqual(player.steps, [60, 60]);
  hear(60, { heard });
  wait(LONG_MS);
  assert.deepEqual(player.steps, [60, 60]);
});

test("a lost report does not undo what was typed after it", (t) => {
  const { player, hear, report, wait } = talk(t);
  report(60);
  hear(90);
  wait(LONG_MS);
  assert.deepEqual(player.steps, [60]);
  assert.deepEqual(player.place, [90, null]);
});

test("a slow answer to an earlier report is no move of Python's", (t) => {
  const { player, hear, report, wait } = talk(t);
  const heard = report(60);
  report(70);
  hear(60, { heard });
  wait(AGAIN_MS);
  assert.deepEqual(player.steps, [60, 70, 70]);
});

test("what Python said before the newest report is nothing new when it says so again", (t) => {
  const { player, hear, report, wait } = talk(t);
  report(60);
  hear(90);
  report(70);
  hear(90);
  wait(AGAIN_MS);
  assert.deepEqual(player.steps, [60, 70, 70]);
});

test("Python leads again when every try is lost", (t) => {
  const { player, hear, report, wait } = talk(t);
  report(60, 2);
  hear(50);
  for (const _ of [1, 2, 3]) wait(AGAIN_MS);
  assert.deepEqual(player.steps, [60, 60, 60]);
  assert.deepEqual(player.place, [50, null]);
  hear(40);
  assert.deepEqual(player.place, [40, null]);
});

test("a player whose step Python does not name tells once", (t) => {
  const { player, hear, report, wait } = talk(t, { start: null });
  report(60);
  wait(LONG_MS);
  assert.deepEqual(player.steps, [60]);
  hear(null, { expert: 4 });
  assert.deepEqual(player.place, [60, 4]);
});

test("nothing is told again while the player moves", (t) => {
  const { player, report, wait } = talk(t);
  report(60);
  player.isBusy = true;
  wait(LONG_MS);
  assert.deepEqual(player.steps, [60]);
  player.isBusy = false;
  wait(AGAIN_MS);
  assert.deepEqual(player.steps, [60, 60]);
});

test("a player that is made anew goes on with the report", (t) => {
  const { dialogue, player, hear, report, wait } = talk(t);
  const heard = report(60, 3);
  const anew = new Player();
  dialogue.attach(anew);
  dialogue.detach(player);
  assert.deepEqual(anew.place, [60, 3]);
  wait(AGAIN_MS);
  assert.deepEqual(anew.steps, [60]);
  hear(50);
  assert.deepEqual(anew.place, [60, 3]);
  hear(60, { heard, expert: 3 });
  wait(LONG_MS);
  assert.deepEqual(anew.steps, [60]);
});

test("a report of a player that has gone is given up", (t) => {
  const { dialogue, player, hear, report, wait } = talk(t);
  report(60);
  dialogue.detach(player);
  wait(AGAIN_MS);
  hear(50);
  const next = new Player();
  dialogue.attach(next);
  assert.deepEqual(next.place, [50, null]);
});

/** Keys of a player that shows this layer of four, and the layers that they ask Python for. */
function keysOf(run, layer) {
  const sent = [];
  const settings = { layer, layers: 4, vega: { expert: run } };
  return { keys: new LayerKeys({ settings, stop() {}, send: (more) => sent.push(more.layer) }), sent };
}

test("a layer that keys asked for belongs to the run", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const [first, next, other] = [keysOf("a", 0), keysOf("a", 1), keysOf("b", 0)];
  for (const { keys } of [first, next, other]) {
    keys.change(1);
    t.mock.timers.tick(200);
  }
  assert.deepEqual([first.sent, next.sent, other.sent], [[1], [2], [1]]);
});

test("a layer that keys asked for is forgotten", (t) => {
  let now = 1e6;
  t.mock.method(performance, "now", () => now);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { keys, sent } = keysOf("c", 0);
  keys.change(1);
  t.mock.timers.tick(200);
  now += 10_000;
  keys.change(1);
  t.mock.timers.tick(200);
  assert.deepEqual(sent, [1, 1], "Python may have gone elsewhere: from the layer that is shown");
});
