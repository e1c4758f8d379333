// Topics of the page: who is told, and when.

import assert from "node:assert/strict";
import test from "node:test";
import { hoveredExpert, Signal, Topic } from "../../../explorer/ui/components/shared/page_state.js";

test("subscribers hear each change once, until they leave", () => {
  const topic = new Topic(null);
  const heard = [];
  const leave = topic.subscribe((value) => heard.push(value));
  topic.publish(3);
  topic.publish(3);
  topic.publish(null);
  leave();
  topic.publish(5);
  assert.deepEqual(heard, [3, null]);
  assert.equal(topic.value, 5);
});

test("one function may subscribe twice and leave once", () => {
  const topic = new Topic(0);
  const heard = [];
  const listener = (value) => heard.push(value);
  const leave = topic.subscribe(listener);
  topic.subscribe(listener);
  leave();
  topic.publish(1);
  assert.deepEqual(heard, [1]);
});

test("a subscriber may leave during a change", () => {
  const topic = new Topic(0);
  const heard = [];
  const leave = topic.subscribe((value) => {
    heard.push(value);
    leave();
  });
  topic.subscribe((value) => heard.push(10 * value));
  topic.publish(1);
  topic.publish(2);
  assert.deepEqual(heard, [1, 10, 20]);
});

test("a subscriber that is added during a change hears from the next change on", () => {
  const topic = new Topic(0);
  const heard = [];
  const leave = topic.subscribe(() => {
    leave();
    topic.subscribe((value) => heard.push(value));
  });
  topic.publish(1);
  assert.deepEqual(heard, []);
  topic.publish(2);
  assert.deepEqual(heard, [2]);
});

test("a signal tells the same value twice", () => {
  const signal = new Signal(null);
  const heard = [];
  signal.subscribe((value) => heard.push(value));
  signal.publish(1);
  signal.publish(1);
  assert.deepEqual(heard, [1, 1]);
});

test("every scope has an expert of its own", () => {
  hoveredExpert("run/0").publish(3);
  assert.equal(hoveredExpert("run/0").value, 3);
  assert.equal(hoveredExpert("run/1").value, null);
});
