/**
 * Charts near the window are drawn first, the others right after them.
 *
 * A click brings rows for every chart of the page, and Vega draws all of them at once, also those far below the
 * window. `preload.py` puts this into the page, beside Streamlit's own scripts: it changes two methods of Vega's
 * views. Only the browser knows of it: what the server hears, and what a chart shows once it has been drawn, is
 * the same.
 *
 * A view that waits has taken its rows and is drawn when it comes near the window, when something else has to be
 * computed in it (an event, a signal), before it takes further rows (Vega would forget those that wait), or in its
 * turn, a few per task. If the browser itself skips its place (`content-visibility`), its turn comes once the
 * page rests.
 */

/** How far from the window a chart is near, in heights of the window. */
const NEAR = "25%";
/** Further charts are drawn in the same task for so long: each task costs the page a layout of its own. */
const TASK_MS = 40;
/** The page rests when no chart has received rows for this long. */
const REST_MS = 1000;

class Turns {
  #draw;
  /** Views whose rows are not drawn yet, in the order in which they came. */
  #waiting = new Set();
  #isScheduled = false;
  #restTimer = 0;

  constructor(draw) {
    this.#draw = draw;
    // A hidden page has no frames.
    document.addEventListener("visibilitychange", () => this.#drawAll());
    addEventListener("beforeprint", () => this.#drawAll());
  }

  add(view) {
    this.#waiting.add(view);
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => this.#next(() => true), REST_MS);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // What is near has been painted by then.
    requestAnimationFrame(() => setTimeout(() => this.#next(isRendered)));
  }

  /** Whether the view was waiting. */
  remove(view) {
    return this.#waiting.delete(view);
  }

  /** Draw the waiting views that `hasTurn` accepts: for one task now, the rest of them in further tasks. */
  #next(hasTurn) {
    const end = performance.now() + TASK_MS;
    const views = [...this.#waiting].filter(hasTurn);
    let drawn = 0;
    while (drawn < views.length && performance.now() <= end) this.#draw(views[drawn++]);
    const isLeft = drawn < views.length;
    if (hasTurn === isRendered) this.#isScheduled = isLeft;
    if (isLeft) setTimeout(() => this.#next(hasTurn));
  }

  #drawAll() {
    for (const view of this.#waiting) this.#draw(view);
  }
}

/** Whether the browser lays out and paints the place of a view. */
function isRendered(view) {
  return view.container()?.checkVisibility?.({ contentVisibilityAuto: true }) ?? true;
}

/** Which views are far from the window, as the browser reports it; a new one counts as near. */
class Places {
  #views = new WeakMap();
  #observed = new WeakSet();
  #far = new WeakSet();
  #observer;

  constructor(onNear) {
    const onMove = (entries) => {
      for (const { target, isIntersecting } of entries) {
        const view = this.#views.get(target);
        if (!isIntersecting) this.#far.add(view);
        else if (this.#far.delete(view)) onNear(view);
      }
    };
    // The page scrolls inside the window, where a margin of the window alone does not count.
    this.#observer = new IntersectionObserver(onMove, { rootMargin: NEAR, scrollMargin: NEAR });
  }

  isFar(view) {
    const place = view.container();
    if (place && !this.#observed.has(view)) {
      this.#observed.add(view);
      this.#views.set(place, view);
      // It reports at once, also where it has watched another view of this place.
      this.#observer.unobserve(place);
      this.#observer.observe(place);
    }
    return this.#far.has(view);
  }

  /** A view that is no more. */
  leave(view) {
    const place = view.container();
    if (place && this.#views.get(place) === view) this.#observer.unobserve(place);
  }
}

/** View: Vega's class, of which every chart of the page is one. */
export function drawNearFirst(View) {
  const { runAsync, pulse, finalize } = View.prototype;
  const draw = (view) => {
    if (turns.remove(view)) runAsync.call(view);
  };
  const turns = new Turns(draw);
  const places = new Places(draw);

  View.prototype.runAsync = function (encode, before, after) {
    if (!encode && !before && !after && places.isFar(this) && !document.hidden) {
      turns.add(this);
      return Promise.resolve(this);
    }
    turns.remove(this);
    return runAsync.call(this, encode, before, after);
  };

  View.prototype.pulse = function (...rows) {
    draw(this);
    return pulse.apply(this, rows);
  };

  View.prototype.finalize = function () {
    turns.remove(this);
    places.leave(this);
    return finalize.call(this);
  };
}
