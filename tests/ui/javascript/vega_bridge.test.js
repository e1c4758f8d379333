// What charts and page tell each other, with elements that stand in for those of a page.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { hoveredExpert, picks, playhead } from "../../../explorer/ui/components/shared/page_state.js";
import {
  linkHoveredExpert,
  mirrorPlayhead,
  parsePick,
  relayPicks,
} from "../../../explorer/ui/components/shared/vega_bridge.js";

beforeEach(() => {
  globalThis.document = {
    body: new EventTarget(),
    head: new EventTarget(),
    documentElement: new EventTarget(),
  };
});

/** The values that a chart bound to this element reads. */
function valuesAt(element, event) {
  const values = [];
  element.addEventListener(event, () => values.push(element.value));
  return values;
}

/** A chart writes a value, as Vega's direct binding does. */
function write(element, event, value) {
  element.value = value;
  element.dispatchEvent(new Event(event));
}

test("the body follows the playhead, once per move", () => {
  const values = valuesAt(document.body, "moved");
  mirrorPlayhead("moved");
  mirrorPlayhead("moved");
  playhead.publish(7);
  playhead.publish(7);
  playhead.publish(8);
  assert.deepEqual(values, ["7", "8"]);
});

test("an expert goes to the charts, and comes from them without an echo", () => {
  const root = document.documentElement;
  const values = valuesAt(root, "scope-a");
  const unlink = linkHoveredExpert("scope-a");
  const topic = hoveredExpert("scope-a");
  topic.publish(4);
  assert.deepEqual(values, [4]);
  write(root, "scope-a", 2);
  assert.equal(topic.value, 2);
  assert.deepEqual(values, [4, 2]);
  // What a chart writes when the pointer leaves it.
  write(root, "scope-a", undefined);
  assert.equal(topic.value, null);
  unlink();
  topic.publish(1);
  write(root, "scope-a", 9);
  assert.equal(topic.value, 1);
});

test("an expert of another scope is none of ours", () => {
  linkHoveredExpert("scope-b");
  write(document.documentElement, "scope-c", 5);
  assert.equal(hoveredExpert("scope-b").value, null);
});

test("a click becomes a pick, and the chart forgets it", async () => {
  const { head } = document;
  const heard = [];
  picks.subscribe((pick) => heard.push(pick));
  const leave = relayPicks("picked");
  write(head, "picked", "9@400");
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(head.value, "");
  write(head, "picked", "9@400");
  assert.deepEqual(heard, [
    { expert: 9, step: 400 },
    { expert: 9, step: 400 },
  ]);
  leave();
  write(head, "picked", "1@1");
  assert.equal(heard.length, 2);
});

test("only expert@step is a pick", () => {
  for (const value of [undefined, null, "", "9", "@4", "9@", "-1@4", "9@4@2", "a@b"]) {
    assert.equal(parsePick(value), null, String(value));
  }
});
