// Everything on the canvas: the cells, and around them axes, event marks and the row under the pointer.

import { niceStep } from "../shared/ticks.js";

const EDGE = { top: 44, bare: 22, bottom: 26, left: 40, right: 6 };
const MARK = { y: 9, near: 9, number: 11 };

/** Room for "ranks 993–1024" instead of a number. */
const NAMES_PX = 96;

/** Where the plot lies: `hasNames` for rows named in words; above it the name of the axis, and event marks if any. */
export function layoutOf(width, height, { hasNames, isMarked }) {
  const left = hasNames ? NAMES_PX : EDGE.left;
  const plot = Math.max(40, width - left - EDGE.right);
  const top = isMarked ? EDGE.top : EDGE.bare;
  return {
    width,
    left,
    top,
    plot,
    tall: height,
    height: height + top + EDGE.bottom,
  };
}

/** The event mark at a point, or nothing. */
export function markAt({ at, data, window }, [x, y]) {
  if (y >= at.top || y < at.top - 3 * MARK.near) return undefined;
  return data.marks.find((mark) => Math.abs(at.left + window.share(mark.step) * at.plot - x) <= MARK.near);
}

function drawCells(context, { at, cells, window, image }) {
  const [low, high] = window.shown;
  context.imageSmoothingEnabled = false;
  // Column by column: bins need not be equally wide, and edges must meet on whole pixels.
  const place = (step) => at.left + Math.round(window.share(step) * at.plot);
  for (let column = 0; column < cells.columns; column++) {
    const [from, to] = [cells.edges[column], cells.edges[column + 1]];
    if (to <= low || from >= high) continue;
    const [left, right] = [Math.max(at.left, place(from)), Math.min(at.left + at.plot, place(to))];
    context.drawImage(image, column, 0, 1, cells.experts, left, at.top, Math.max(1, right - left), at.tall);
  }
}

function drawAxes(context, { at, cells, window, theme, lit }) {
  const row = at.tall / cells.experts;
  const every = niceStep(cells.experts, at.tall / 15);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let expert = 0; expert < cells.experts; expert++) {
    const isLit = expert === lit;
    if (!isLit && (expert % every || (lit !== null && Math.abs(expert - lit) * row < 13))) continue;
    context.fillStyle = isLit ? theme.ink : theme.quiet;
    context.font = isLit ? theme.bold : theme.font;
    context.fillText(cells.nameOf(expert), at.left - 7, at.top + (expert + 0.5) * row);
  }
  context.fillStyle = theme.quiet;
  context.font = theme.font;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText("expert", 0, at.top - 9);
  drawSteps(context, { at, window });
}

function drawSteps(context, { at, window }) {
  context.textBaseline = "top";
  const [low, high] = window.shown;
  const stride = niceStep(high - low, at.plot / 90);
  const start = Math.ceil(low / stride) * stride;
  for (let step = start; step < high; step += stride) {
    const text = (step === start ? "step " : "") + step.toLocaleString("en-US");
    const half = context.measureText(text).width / 2;
    const x = at.left + window.share(step) * at.plot - half;
    context.fillText(
      text,
      Math.max(at.left, Math.min(at.left + at.plot - 2 * half, x)),
      at.top + at.tall + 8,
    );
  }
}

function drawMarks(context, { at, data, window, theme }) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const mark of data.marks) {
    const share = window.share(mark.step);
    if (share < 0 || share > 1) continue;
    const x = at.left + share * at.plot;
    context.fillStyle = mark.ink[theme.dark ? 1 : 0];
    context.strokeStyle = context.fillStyle;
    context.globalAlpha = 0.6;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(x, at.top);
    context.lineTo(x, at.top + at.tall);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
    context.font = theme.font;
    context.fillText(mark.sign, x, at.top - MARK.y);
    context.font = theme.small;
    if (mark.count > 1) context.fillText(String(mark.count), x, at.top - MARK.y - MARK.number);
  }
}

/** A frame that shows on any cell: the page's colour outside, the text's inside. */
function frameBox(context, theme, [x, y, wide, tall]) {
  for (const [line, ink] of [
    [4, theme.paper],
    [1.5, theme.ink],
  ]) {
    context.lineWidth = line;
    context.strokeStyle = ink;
    context.strokeRect(x, y, wide, tall);
  }
}

function drawFrames(context, { at, cells, window, theme, lit, cursor }) {
  const row = at.tall / cells.experts;
  if (lit !== null) frameBox(context, theme, [at.left, at.top + lit * row, at.plot, row]);
  if (!cursor) return;
  const [from, to] = [0, 1].map((i) =>
    Math.max(0, Math.min(1, window.share(cells.edges[cursor.column + i]))),
  );
  const left = at.left + from * at.plot;
  frameBox(context, theme, [left, at.top + cursor.expert * row, Math.max(3, (to - from) * at.plot), row]);
}

export function drawAll(canvas, view, density) {
  const { at } = view;
  const [wide, tall] = [Math.round(at.width * density), Math.round(at.height * density)];
  if (canvas.width !== wide || canvas.height !== tall) {
    [canvas.width, canvas.height] = [wide, tall];
    canvas.style.height = `${at.height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, at.width, at.height);
  drawCells(context, view);
  drawAxes(context, view);
  drawMarks(context, view);
  drawFrames(context, view);
}
