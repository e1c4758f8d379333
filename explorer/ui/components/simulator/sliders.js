/**
 * What Streamlit's sliders say while they move. Streamlit tells the server of the value on release only; the
 * range input inside carries it all the time, for screen readers, and that is what is read here. Where a slider
 * is not found or says nothing, nothing happens: the server's answer comes on release as ever.
 */

const INPUT = 'input[type="range"]';

function keyOf(element, keys) {
  return keys.find((key) => element.closest(`.st-key-${key}`));
}

/** The position of a slider: an index for a list of options, the number itself otherwise; NaN if not found. */
function positionOf(key) {
  return Number(document.querySelector(`.st-key-${key} ${INPUT}`)?.value ?? Number.NaN);
}

/** Whether the visitor is moving this slider: it has the focus, or the pointer holds it. */
export function isHeld(key) {
  const place = document.querySelector(`.st-key-${key}`);
  return Boolean(place?.contains(document.activeElement) || place?.querySelector("[data-dragging]"));
}

/**
 * Calls `onMove(key, position)` while the visitor moves one of the sliders, and `onNear(key)` when the pointer or
 * the focus comes near; returns the call that ends it.
 */
export function watchSliders(keys, onMove, onNear) {
  const main = document.querySelector('[data-testid="stMain"]');
  if (!main) return () => {};
  const observer = new MutationObserver((changes) => {
    const moved = new Set();
    for (const { target } of changes) {
      const key = target.matches(INPUT) ? keyOf(target, keys) : undefined;
      if (key) moved.add(key);
    }
    for (const key of moved) if (isHeld(key)) onMove(key, positionOf(key));
  });
  observer.observe(main, { subtree: true, attributes: true, attributeFilter: ["aria-valuetext", "value"] });
  let near = null;
  const approach = ({ target }) => {
    const key = target instanceof Element ? keyOf(target, keys) : undefined;
    if (key && key !== near) onNear(key);
    near = key;
  };
  const kinds = ["pointerover", "focusin"];
  for (const kind of kinds) main.addEventListener(kind, approach);
  return () => {
    observer.disconnect();
    for (const kind of kinds) main.removeEventListener(kind, approach);
  };
}
