/**
 * Rows from the server wait while a chart shows the browser's own in their place.
 *
 * While a slider moves, the page's simulation draws a chart (`charts/dragged.py`, `simulator/follower.js`), and
 * what it has drawn stays when the server has answered for the same settings. The server's rows are not visible
 * then, but Vega would lay out and draw the whole chart once more for them. So a view takes them when it shows
 * its own rows again: the event that makes it do so causes one drawing for both. `preload.py` puts this into the
 * page, after `near_first.js`; like that script, it changes methods of Vega's views.
 */

/** `PARAM` of `charts/dragged.py`. */
const PARAM = "dragged";

/** What waits for one view. */
class Waiting {
  /** Data set -> all its rows, the latest. */
  rows = new Map();
  /** Whether rows, and nothing else, have come since the view was last to be drawn. */
  isOnlyRows = false;
  /** Whether the view has taken other changes, for which it has to be drawn. */
  isChanged = false;
}

/** Whether the view shows rows from the page in the place of its own. */
function isReplaced(view) {
  try {
    return Boolean(view.signal(PARAM));
  } catch {
    return false; // it has no such signal
  }
}

/** View: Vega's class, of which every chart of the page is one. */
export function holdReplacedRows(View) {
  const { runAsync, data, resize } = View.prototype;
  const ofViews = new WeakMap();
  const of = (view) => ofViews.get(view) ?? ofViews.set(view, new Waiting()).get(view);

  const takeRows = (view) => {
    const { rows } = of(view);
    for (const [name, values] of rows) data.call(view, name, values);
    rows.clear();
  };

  /** For a data set without rows Streamlit removes all rows whenever rows of others come. */
  const hasNothing = (view, name) => isReplaced(view) && !of(view).isChanged && view.data(name)?.length === 0;

  View.prototype.data = function (...parts) {
    const [name, values] = parts;
    const waiting = of(this);
    if (parts.length === 1) return waiting.rows.get(name) ?? data.call(this, name);
    if (!isReplaced(this)) {
      waiting.rows.delete(name);
      return data.call(this, name, values);
    }
    waiting.rows.set(name, values);
    waiting.isOnlyRows = !waiting.isChanged;
    return this;
  };

  // Before rows are added or removed, the view needs those that wait.
  for (const kind of ["insert", "remove", "change"]) {
    const original = View.prototype[kind];
    View.prototype[kind] = function (...parts) {
      const waiting = of(this);
      if (kind === "remove" && hasNothing(this, parts[0])) return this;
      if (waiting.rows.size > 0) {
        takeRows(this);
        runAsync.call(this);
      }
      waiting.isOnlyRows = false;
      waiting.isChanged = true;
      return original.apply(this, parts);
    };
  }

  // Streamlit calls it whenever it sends rows, and the chart has its size already.
  View.prototype.resize = function () {
    return of(this).isOnlyRows ? this : resize.call(this);
  };

  View.prototype.runAsync = function (encode, before, after) {
    const waiting = of(this);
    if (waiting.isOnlyRows && !encode && !before && !after) {
      waiting.isOnlyRows = false;
      return Promise.resolve(this);
    }
    waiting.isChanged = false;
    const takeIfShown = (view) => {
      if (!isReplaced(view)) takeRows(view);
    };
    if (!before) takeIfShown(this);
    // `before` of an event first tells the view which rows to show.
    const begin = (view) => {
      const done = before(view);
      takeIfShown(view);
      return done;
    };
    return runAsync.call(this, encode, before && begin, after);
  };
}
