// The keyboard: arrows walk through tokens and lines, and through the experts of the key.

import { chipOf, showTip } from "./pointer.js";

export function listenToKeys(view) {
  view.texts.onkeydown = (event) => onText(view, event, chipOf(event));
  view.key.onkeydown = (event) => onKey(view, event);
}

function isShortcut(event) {
  return event.ctrlKey || event.metaKey || event.altKey;
}

function onText(view, event, chip) {
  if (!chip || isShortcut(event)) return;
  const index = Number(chip.dataset.index);
  const isPick = event.key === "Enter" || event.key === " ";
  const to = isPick ? undefined : placeFor(view, event.key, chip, index);
  if (isPick) view.pick(index);
  else if (to !== undefined) go(view, to);
  else return;
  event.preventDefault();
}

/** The token that a key leads to, or undefined. */
function placeFor({ text, chips }, key, chip, index) {
  const { sequences } = text;
  const sequence = sequences.findIndex(([, start, end]) => index >= start && index < end);
  const startOf = (at) => sequences[at]?.[1];
  switch (key) {
    case "ArrowLeft":
      return index - 1;
    case "ArrowRight":
      return index + 1;
    case "ArrowUp":
      return beside(chips, chip, index, -1);
    case "ArrowDown":
      return beside(chips, chip, index, 1);
    case "Home":
      return startOf(sequence);
    case "End":
      return sequences[sequence]?.[2] - 1;
    case "PageUp":
      return startOf(sequence - 1) ?? startOf(sequence);
    case "PageDown":
      return startOf(sequence + 1) ?? index;
    default:
      return undefined;
  }
}

function go(view, index) {
  const chip = view.chips[Math.min(Math.max(index, 0), view.chips.length - 1)];
  if (!chip) return;
  view.rove(Number(chip.dataset.index));
  chip.focus({ preventScroll: true });
  view.reveal(chip);
  showTip(view, chip);
}

/** The chip in the line above or below whose middle is nearest. */
function beside(chips, chip, index, by) {
  const middle = chip.offsetLeft + chip.offsetWidth / 2;
  let [best, line] = [index, null];
  let least = Number.POSITIVE_INFINITY;
  for (let i = index + by; i >= 0 && i < chips.length; i += by) {
    const other = chips[i];
    if (other.offsetTop === chip.offsetTop) continue;
    line ??= other.offsetTop;
    if (other.offsetTop !== line) break;
    const away = Math.abs(other.offsetLeft + other.offsetWidth / 2 - middle);
    if (away < least) [best, least] = [i, away];
  }
  return best;
}

function onKey({ keys }, event) {
  const at = keys.indexOf(event.target);
  if (at < 0 || isShortcut(event)) return;
  const last = keys.length - 1;
  const places = {
    ArrowLeft: at - 1,
    ArrowUp: at - 1,
    ArrowRight: at + 1,
    ArrowDown: at + 1,
    Home: 0,
    End: last,
  };
  const to = places[event.key];
  if (to === undefined) return;
  const next = keys[Math.min(Math.max(to, 0), last)];
  for (const button of keys) button.tabIndex = button === next ? 0 : -1;
  next.focus();
  event.preventDefault();
}
