// Which clicks on the menu a lesson redirects, with elements that stand in for those of a page.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import follow from "../../../explorer/ui/components/course_menu/course_menu.js";

const PLAIN = { button: 0, ctrlKey: false, metaKey: false, shiftKey: false, altKey: false };
let clicks, links, page;

beforeEach(() => {
  clicks = 0;
  links = { ".st-key-back a": { click: () => clicks++ } };
  page = new EventTarget();
  page.querySelector = (selector) => links[selector] ?? null;
  globalThis.document = page;
  globalThis.location = { pathname: "/lessons" };
  globalThis.CSS = { escape: (text) => text };
});

/** Click on an entry of the menu, or beside it; returns whether the browser still follows it by itself. */
function click(pathname, keys = {}) {
  const target = { closest: () => (pathname ? { pathname } : null) };
  const event = new Event("click", { cancelable: true });
  for (const [name, value] of Object.entries({ ...PLAIN, ...keys }))
    Object.defineProperty(event, name, { value });
  Object.defineProperty(event, "target", { value: target });
  page.dispatchEvent(event);
  return !event.defaultPrevented;
}

test("a click on the entry of the open page follows the link instead", () => {
  follow({ data: { link: "back" } });
  assert.equal(click("/lessons"), false);
  assert.equal(clicks, 1);
});

test("other entries, other places and clicks for another tab are the browser's", () => {
  follow({ data: { link: "back" } });
  assert.ok(click("/compare"));
  assert.ok(click(null));
  for (const key of ["ctrlKey", "metaKey", "shiftKey", "altKey"])
    assert.ok(click("/lessons", { [key]: true }));
  assert.ok(click("/lessons", { button: 1 }));
  assert.equal(clicks, 0);
});

test("without the link, and after the lesson is left, nothing is redirected", () => {
  const leave = follow({ data: { link: "back" } });
  leave();
  assert.ok(click("/lessons"));
  follow({ data: { link: "elsewhere" } });
  assert.ok(click("/lessons"));
  assert.equal(clicks, 0);
});
