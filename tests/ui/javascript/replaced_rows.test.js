// Which rows a chart takes while it shows the page's own, with views that stand in for Vega's.

import assert from "node:assert/strict";
import test, { beforeEach } from "node:test";
import { holdReplacedRows } from "../../../explorer/ui/components/replaced_rows.js";

let View;

beforeEach(() => {
  View = class {
    signals = { dragged: "" };
    sets = { lines: ["first"], texts: ["first"], changes: [] };
    drawings = [];
    resized = 0;
    signal(name, ...values) {
      if (!(name in this.signals)) throw Error(`no signal ${name}`);
      if (values.length > 0) [this.signals[name]] = values;
      return this.signals[name];
    }
    data(name, ...values) {
      if (values.length > 0) [this.sets[name]] = values;
      return this.sets[name];
    }
    insert(name, rows) {
      this.sets[name] = [...this.sets[name], ...rows];
      return this;
    }
    remove(name) {
      this.sets[name] = [];
      this.isRemoved = true;
      return this;
    }
    change() {
      return this;
    }
    resize() {
      this.resized += 1;
      return this;
    }
    async runAsync(_encode, before) {
      before?.(this);
      this.drawings.push(this.signals.dragged ? "page" : this.sets.lines.join());
      return this;
    }
  };
  holdReplacedRows(View);
});

/** As Streamlit gives a chart other rows. */
function update(view, lines) {
  view.data("lines", [lines]);
  view.remove("changes");
  return view.resize().runAsync();
}

/** As a chart hears of the page's rows: from an event. */
function mirror(view, rows) {
  return view.runAsync(null, () => view.signal("dragged", rows));
}

test("a chart that shows its own rows is drawn with others at once", async () => {
  for (const signals of [{ dragged: "" }, {}]) {
    const view = new View();
    view.signals = signals;
    assert.equal(await update(view, "server"), view);
    assert.deepEqual([view.drawings, view.resized, view.isRemoved], [["server"], 1, true]);
  }
});

test("a chart that shows the page's rows is not drawn for the server's", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  assert.equal(await update(view, "server"), view);
  assert.deepEqual([view.drawings, view.resized], [["page"], 0]);
});

test("the latest rows are drawn, once, when the page's go", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "second");
  await update(view, "third");
  assert.deepEqual(view.data("lines"), ["third"], "who asks is told the latest");
  await mirror(view, { max_vio: { lines: {} } });
  assert.deepEqual(view.sets.lines, ["first"], "other rows of the page bring no rows of the server");
  await mirror(view, "");
  assert.deepEqual(view.drawings, ["page", "page", "third"]);
  await update(view, "fourth");
  await mirror(view, "");
  assert.deepEqual(view.drawings, ["page", "page", "third", "fourth", "fourth"]);
});

test("a chart whose signal has been set by other means takes its rows with the next drawing", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "server");
  view.signal("dragged", "");
  await view.runAsync();
  assert.deepEqual(view.drawings, ["page", "server"]);
});

test("an event that changes nothing about the rows leaves them waiting", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "server");
  await view.runAsync(null, () => {});
  assert.deepEqual(view.drawings, ["page", "page"]);
  assert.deepEqual(view.sets.lines, ["first"]);
});

test("another size is drawn while rows wait", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "server");
  await view.resize().runAsync();
  assert.deepEqual([view.drawings, view.resized], [["page", "page"], 1]);
});

test("rows that are added come after those that wait, and are drawn with what follows", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "server");
  view.insert("lines", ["more"]);
  view.data("texts", ["other"]);
  await view.resize().runAsync();
  assert.deepEqual(view.sets.lines, ["server", "more"]);
  assert.equal(view.resized, 1);
  assert.equal(view.drawings.length, 3, "the page's, then those that waited, then all");
});

test("rows that are taken out of a data set that has some are taken out", async () => {
  const view = new View();
  await mirror(view, { max_vio: {} });
  await update(view, "server");
  view.remove("lines");
  await view.runAsync();
  assert.deepEqual([view.sets.lines, view.isRemoved], [[], true]);
});
