/**
 * What the components of a page share: the playhead, the expert under the pointer, and clicked points of
 * charts.
 *
 * A page has one instance of this module, whichever component is mounted first (`loader.js`). A topic
 * changes by `publish` only; whoever shows it subscribes. Nothing here touches the DOM: `vega_bridge.js`
 * lets charts take part.
 */

/** A value and its subscribers. */
export class Topic {
  #subscribers = new Set();

  constructor(value) {
    this.value = value;
  }

  /** Call `listener(value)` at every change from now on; returns the function that ends the subscription. */
  subscribe(listener) {
    // Wrapped, so that one function may subscribe twice and end each subscription by itself.
    const subscriber = (value) => listener(value);
    this.#subscribers.add(subscriber);
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }

  /** Publishing the present value again tells nobody. */
  publish(value) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    this.notify(value);
  }

  notify(value) {
    for (const subscriber of [...this.#subscribers]) subscriber(value);
  }
}

/** Events rather than a state: the same value twice is two events. */
export class Signal extends Topic {
  publish(value) {
    this.value = value;
    this.notify(value);
  }
}

/** The step at the playhead; null until a player that leads the page has moved. */
export const playhead = new Topic(null);

/** `{expert, step}`: a point of a chart was clicked. */
export const picks = new Signal(null);

const hovered = new Map();

/**
 * The expert under the pointer, or null. Expert 3 of one run is not expert 3 of another: one topic per
 * scope.
 */
export function hoveredExpert(scope) {
  if (!hovered.has(scope)) hovered.set(scope, new Topic(null));
  return hovered.get(scope);
}
