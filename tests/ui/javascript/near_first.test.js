// Which charts are drawn at once and which in their turn, with views that stand in for Vega's.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { drawNearFirst } from "../../../explorer/ui/components/near_first.js";

let frames, report, page, View;

beforeEach(() => {
  frames = [];
  page = new EventTarget();
  globalThis.document = page;
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.requestAnimationFrame = (next) => frames.push(next);
  globalThis.IntersectionObserver = class {
    observed = new Set();
    constructor(tell) {
      report = (view, isIntersecting) => {
        if (this.observed.has(view.place)) tell([{ target: view.place, isIntersecting }]);
      };
    }
    observe(place) {
      this.observed.add(place);
    }
    unobserve(place) {
      this.observed.delete(place);
    }
  };
  View = class {
    place = {};
    rows = [];
    drawn = [];
    container() {
      return this.place;
    }
    pulse(rows) {
      this.rows = [rows];
      return this;
    }
    finalize() {}
    async runAsync(_encode, before) {
      before?.(this);
      this.drawn.push(...this.rows.splice(0));
      return this;
    }
  };
  drawNearFirst(View);
});

/** A view whose place the browser has told. */
async function view(isNear) {
  const one = new View();
  await one.pulse("first").runAsync();
  report(one, isNear);
  one.drawn = [];
  return one;
}

async function turns() {
  for (const next of frames.splice(0)) next();
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve));
}

test("a chart that the browser has not placed yet is drawn at once", async () => {
  const one = new View();
  await one.pulse("rows").runAsync();
  assert.deepEqual(one.drawn, ["rows"]);
});

test("a chart near the window is drawn at once, one far from it after the next frame", async () => {
  const [near, far, further] = [await view(true), await view(false), await view(false)];
  for (const one of [further, far, near]) assert.equal(await one.pulse("rows").runAsync(), one);
  assert.deepEqual([near.drawn, far.drawn, further.drawn], [["rows"], [], []]);
  await turns();
  assert.deepEqual([near.drawn, far.drawn, further.drawn], [["rows"], ["rows"], ["rows"]]);
  far.pulse("more").runAsync();
  await turns();
  assert.deepEqual(far.drawn, ["rows", "more"], "and so the next time");
});

test("a chart that comes near the window while it waits is drawn then, and once", async () => {
  const one = await view(false);
  one.pulse("rows").runAsync();
  report(one, true);
  assert.deepEqual(one.drawn, ["rows"]);
  await turns();
  assert.deepEqual(one.drawn, ["rows"]);
  one.pulse("more").runAsync();
  assert.deepEqual(one.drawn, ["rows", "more"]);
});

test("rows that wait are drawn before others come: Vega would forget them", async () => {
  const one = await view(false);
  one.pulse("taken out").runAsync();
  one.pulse("put in").runAsync();
  assert.deepEqual(one.drawn, ["taken out"]);
  await turns();
  assert.deepEqual(one.drawn, ["taken out", "put in"]);
});

test("an event draws what waits, far away as well", async () => {
  const one = await view(false);
  one.pulse("rows").runAsync();
  await one.runAsync(null, () => one.rows.push("event"));
  assert.deepEqual(one.drawn, ["rows", "event"]);
});

test("a page that is hidden or printed waits for nothing", async () => {
  for (const kind of ["visibilitychange", "beforeprint"]) {
    const one = await view(false);
    one.pulse("rows").runAsync();
    page.dispatchEvent(new Event(kind));
    assert.deepEqual(one.drawn, ["rows"]);
  }
  const one = await view(false);
  page.hidden = true;
  one.pulse("rows").runAsync();
  assert.deepEqual(one.drawn, ["rows"]);
});

test("a chart that is gone is not drawn, and its place belongs to the next one", async () => {
  const [gone, next] = [await view(false), new View()];
  gone.pulse("rows").runAsync();
  next.place = gone.place;
  next.pulse("rows").runAsync();
  gone.finalize();
  report(next, false);
  next.pulse("more").runAsync();
  assert.deepEqual([gone.drawn, next.drawn], [[], ["rows"]]);
  await turns();
  assert.deepEqual([gone.drawn, next.drawn], [[], ["rows", "more"]]);
});

test("charts are drawn together until they have taken long", async (t) => {
  let now = 0;
  const order = [];
  t.mock.method(performance, "now", () => now);
  for (const takes of [1, 1, 1000, 1]) {
    const one = await view(false);
    one.pulse("rows").runAsync();
    const push = () => {
      now += takes;
      order.push(takes);
    };
    one.drawn = { push };
  }
  for (const next of frames.splice(0)) next();
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(order, [1, 1, 1000]);
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(order, [1, 1, 1000, 1]);
});

test("a chart that the browser skips is drawn once no chart has been given rows for a second", async (t) => {
  const [skipped, other] = [await view(false), await view(false)];
  skipped.place.checkVisibility = ({ contentVisibilityAuto }) => !contentVisibilityAuto;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  skipped.pulse("rows").runAsync();
  for (const next of frames.splice(0)) next();
  t.mock.timers.tick(900);
  other.pulse("rows").runAsync();
  for (const next of frames.splice(0)) next();
  t.mock.timers.tick(900);
  assert.deepEqual([skipped.drawn, other.drawn], [[], ["rows"]]);
  t.mock.timers.tick(100);
  assert.deepEqual(skipped.drawn, ["rows"]);
});
