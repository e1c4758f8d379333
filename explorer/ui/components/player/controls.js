// Buttons, scrubber and menu below the heatmap, the legend, and what a screen reader hears.

import { scrubberPlace } from "./layout.js";
import { SPEEDS, speedFor } from "./playback.js";

const NAMES = ["stage", "plot", "tip", "scrub", "now", "play", "previous", "next", "speed", "ramp", "ticks"];
const MORE = ["swatch", "help", "list", "close"];

/** The elements of the player's html by class. */
export function partsOf(root) {
  return Object.fromEntries([...NAMES, ...MORE].map((name) => [name, root.querySelector(`.${name}`)]));
}

export function listenToControls(player) {
  const { scrub, play, previous, next, speed } = player.parts;
  play.onclick = () => player.toggle();
  previous.onclick = () => player.nudge(-1);
  next.onclick = () => player.nudge(1);
  scrub.oninput = () => {
    player.dragging = true;
    player.go(Number(scrub.value));
  };
  scrub.onchange = () => {
    player.dragging = false;
    player.report();
  };
  scrub.onkeydown = (event) => {
    if (event.key !== " ") return;
    event.preventDefault();
    player.toggle();
  };
  speed.onchange = () => {
    player.lastTime = null;
  };
}

export function fillSpeeds({ parts, matrix }) {
  if (parts.speed.options.length) return;
  const best = speedFor(matrix.columns);
  parts.speed.replaceChildren(...SPEEDS.map((s) => new Option(`${s} / s`, s, s === best, s === best)));
}

/** `tag` with a text, which is never read as markup. */
export function element(tag, textContent) {
  return Object.assign(document.createElement(tag), { textContent });
}

export function showTheme({ box, parts, theme, settings }) {
  box.style.colorScheme = theme.dark ? "dark" : "light";
  parts.ramp.style.background = `linear-gradient(to right, ${theme.stops.join()})`;
  parts.swatch.style.background = theme.deadText;
  parts.ticks.replaceChildren(
    ...settings.ticks.map(([power, label]) => {
      const tick = element("span", label);
      tick.style.left = `${((power / settings.limit + 1) / 2) * 100}%`;
      return tick;
    }),
  );
}

/** Put the scrubber under the heatmap, on the scale of its steps. */
export function placeScrubber({ parts, at, matrix }) {
  const { left, width } = scrubberPlace(at, matrix.columns);
  parts.scrub.style.marginLeft = `${left}px`;
  parts.scrub.style.width = `${width}px`;
}

/** Scrubber, step in words and buttons for the present column. */
export function showPosition({ box, parts, matrix, column, playing, settings }) {
  const { scrub, now, play, stage, previous, next } = parts;
  const last = Math.max(0, matrix.columns - 1);
  box.classList.toggle("playing", playing);
  play.setAttribute("aria-label", playing ? "Pause" : "Play");
  for (const part of [scrub, play, previous, next]) part.disabled = matrix.columns < 2;
  scrub.max = String(last);
  scrub.value = String(column);
  scrub.style.setProperty("--done", `${last ? (100 * column) / last : 0}%`);
  if (!matrix.columns) return;
  const name = matrix.stepName(column).replace(/^steps? /, "");
  now.replaceChildren("step ", element("b", name), " ", element("span", `of ${matrix.last[last]}`));
  stage.setAttribute("aria-label", settings.label);
  stage.setAttribute("aria-valuemin", String(matrix.first[0]));
  stage.setAttribute("aria-valuemax", String(matrix.last[last]));
  stage.setAttribute("aria-valuenow", String(matrix.first[column]));
  // While playing, a screen reader would be flooded.
  if (playing) return;
  stage.setAttribute("aria-valuetext", matrix.sentence(column));
  scrub.setAttribute("aria-valuetext", matrix.stepName(column));
}
