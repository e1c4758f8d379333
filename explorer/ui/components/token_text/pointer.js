// The pointer: a click picks a token, and the tooltip of the token under it.

import { written } from "./words.js";

export function chipOf(event) {
  return event.target.closest?.(".token");
}

export function listenToPointer(view) {
  view.texts.onclick = (event) => {
    const chip = chipOf(event);
    if (chip) view.pick(Number(chip.dataset.index));
  };
  view.texts.onpointerover = (event) => showTip(view, chipOf(event));
  view.texts.onpointerleave = () => showTip(view, null);
}

/** The tooltip of a token, and its experts in the key; null: neither. */
export function showTip(view, chip) {
  const { tip, text } = view;
  const index = chip ? Number(chip.dataset.index) : null;
  const experts = chip ? text.chosen[index] : [];
  for (const [expert, button] of view.keys.entries()) {
    button.classList.toggle("near", experts.includes(expert));
  }
  tip.hidden = !chip;
  if (!chip) return;
  const head = document.createElement("b");
  head.append(...written(text.texts[index]));
  const lines = experts.map((expert, slot) => {
    const line = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.style.background = view.colour(expert);
    const gate = text.gates ? `, gate ${(text.gates[index][slot] / 100).toFixed(2)}` : "";
    line.append(swatch, `expert ${expert}${gate}`);
    return line;
  });
  if (!lines.length) lines.push(sentence("no expert takes it"));
  if (text.moved?.[index]) lines.push(sentence("the bias changed its experts"));
  tip.replaceChildren(head, ...lines);
  const [stage, at] = [view.stage.getBoundingClientRect(), chip.getBoundingClientRect()];
  const left = Math.min(Math.max(0, at.left - stage.left), Math.max(0, stage.width - tip.offsetWidth));
  const below = at.bottom - stage.top + 8;
  const fits = below + tip.offsetHeight <= stage.height;
  const top = fits ? below : at.top - stage.top - tip.offsetHeight - 8;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}

function sentence(words) {
  return Object.assign(document.createElement("span"), { textContent: words });
}
