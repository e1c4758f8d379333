// Everything that is drawn on the canvas: the heatmap, and around it axes, playhead, events and bars.

import { apart, niceStep } from "../shared/ticks.js";
import { drawBars } from "./bars.js";
import { MARK, stepX } from "./layout.js";

/** The number of each row's expert; where experts share rows, `#33` for the rank of the first one. */
export function rowNames(rows) {
  let rank = 1;
  return rows.map((row) => {
    const name = Array.isArray(row) ? `#${rank}` : String(row);
    rank += Array.isArray(row) ? row.length : 1;
    return name;
  });
}

function drawAxes(context, view) {
  const { matrix, at, theme } = view;
  context.fillStyle = theme.quiet;
  context.font = theme.font;
  const row = at.tall / view.rows.length;
  const every = niceStep(view.rows.length, at.tall / 18);
  context.textAlign = "right";
  context.textBaseline = "middle";
  const bold = [view.lit, view.expert]
    .filter((expert) => expert !== null)
    .map((expert) => [view.rowOf[expert], expert]);
  const names = rowNames(view.rows);
  for (let r = 0; r < view.rows.length; r += every) {
    if (bold.some(([place]) => Math.abs(r - place) * row < 13)) continue;
    context.fillText(names[r], at.left - 7, at.top + (r + 0.5) * row);
  }
  context.fillStyle = theme.ink;
  context.font = theme.bold;
  for (const [i, [place, expert]] of bold.entries()) {
    // The one under the pointer comes first; the chosen one gives way to it.
    if (i && expert !== bold[0][1] && Math.abs(place - bold[0][0]) * row < 13) continue;
    context.fillText(String(expert), at.left - 7, at.top + (place + 0.5) * row);
  }
  context.fillStyle = theme.quiet;
  context.font = theme.font;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText("expert", 0, at.top - at.lift);
  context.textBaseline = "top";
  const [low, high] = [matrix.first[0], matrix.last[matrix.columns - 1]];
  const stride = niceStep(high - low + 1, at.plot / 90);
  const labels = [];
  for (let step = Math.ceil(low / stride) * stride; step <= high; step += stride) {
    const x = at.left + (matrix.columnOf(step) / matrix.columns) * at.plot;
    const text = (labels.length ? "" : "step ") + step.toLocaleString("en-US");
    const wide = context.measureText(text).width;
    labels.push({ text, left: Math.max(at.left, Math.min(at.left + at.plot - wide, x - wide / 2)), wide });
  }
  for (const { text, left } of apart(labels)) context.fillText(text, left, at.top + at.tall + 8);
}

function drawPlayhead(context, view) {
  const { matrix, at, theme } = view;
  const x = at.left + ((view.column + 0.5) / matrix.columns) * at.plot;
  if (view.playing) {
    context.globalAlpha = 0.5;
    context.fillStyle = theme.paper;
    context.fillRect(x, at.top, at.left + at.plot - x, at.tall);
    context.globalAlpha = 1;
  }
  // A line in the page's colour around it keeps the playhead visible on any cell.
  context.fillStyle = theme.paper;
  context.fillRect(x - 2, at.top, 4, at.tall);
  context.fillStyle = theme.ink;
  context.fillRect(x - 1, at.top - 5, 2, at.tall + 5);
  context.font = theme.bold;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  const text = matrix.stepName(view.column);
  const wide = context.measureText(text).width;
  context.fillText(
    text,
    Math.max(at.left + 44, Math.min(at.left + at.plot - wide, x - wide / 2)),
    at.top - at.lift,
  );
}

/** A frame that shows on any cell: the page's colour outside, the text's inside. */
function frameBox(context, theme, x, y, wide, tall) {
  context.lineWidth = 3;
  context.strokeStyle = theme.paper;
  context.strokeRect(x, y, wide, tall);
  context.lineWidth = 1;
  context.strokeStyle = theme.ink;
  context.strokeRect(x, y, wide, tall);
}

function drawRow(context, view, expert) {
  const { at, theme } = view;
  const row = at.tall / view.rows.length;
  const y = Math.round(at.top + view.rowOf[expert] * row) - 0.5;
  const tall = Math.max(3, Math.round(row)) + 1;
  frameBox(context, theme, at.left + 0.5, y, at.plot - 1, tall);
  // What lights up does so in the bars as well.
  if (expert === view.lit && at.bars) frameBox(context, theme, at.barsLeft - 2.5, y, at.bars - 2, tall);
}

function drawHover(context, view) {
  const { matrix, at, theme, hover } = view;
  if (!hover || hover.column === null) return;
  const wide = at.plot / matrix.columns;
  const tall = at.tall / view.rows.length;
  const x = at.left + hover.column * wide;
  frameBox(
    context,
    theme,
    x - 1,
    at.top + view.rowOf[hover.expert] * tall - 1,
    Math.max(3, wide) + 2,
    Math.max(3, tall) + 2,
  );
}

/** A small sign for every event above the heatmap, at the step where it happened. */
function drawMarks(context, view) {
  const { matrix, at, theme } = view;
  context.fillStyle = theme.ink;
  context.font = theme.font;
  context.textAlign = "center";
  context.textBaseline = "middle";
  let last = -Infinity;
  for (const event of view.events) {
    const x = stepX(matrix, at, event.step);
    // Those that would lie on each other share a sign; the tooltip names them all.
    if (x - last < 2 * MARK) continue;
    last = x;
    context.fillText(event.sign, x, at.top - MARK - 2);
  }
}

export function drawAll(canvas, view, density) {
  const { at } = view;
  if (canvas.width !== Math.round(at.width * density) || canvas.height !== Math.round(at.height * density)) {
    canvas.width = Math.round(at.width * density);
    canvas.height = Math.round(at.height * density);
    canvas.style.height = `${at.height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, at.width, at.height);
  if (!view.matrix.columns) {
    context.fillStyle = view.theme.quiet;
    context.font = view.theme.font;
    context.textAlign = "center";
    context.fillText("no expert loads recorded for this view", at.width / 2, at.height / 2);
    return;
  }
  context.imageSmoothingEnabled = false;
  context.drawImage(view.image, at.left, at.top, at.plot, at.tall);
  drawAxes(context, view);
  if (view.expert !== null) drawRow(context, view, view.expert);
  drawMarks(context, view);
  drawPlayhead(context, view);
  drawBars(context, view);
  if (view.lit !== null) drawRow(context, view, view.lit);
  drawHover(context, view);
}
