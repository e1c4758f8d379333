// The pointer on the heatmap: click, drag, and the tooltip of what lies under it.

import { element } from "./controls.js";
import { cellAt, marksAt } from "./layout.js";

const MOST_EVENTS = 5;

export function listenToPointer(player) {
  const { stage } = player.parts;
  stage.onpointerdown = (event) => press(player, event);
  stage.onpointermove = (event) => move(player, event);
  stage.onpointerup = (event) => release(player, event);
  stage.onpointercancel = () => {
    player.dragging = false;
  };
  stage.onpointerleave = () => leave(player);
}

/** Where the pointer is, in the pixels that the picture is drawn in: a lecture enlarges them. */
function pointOf({ parts }, event) {
  const box = parts.stage.getBoundingClientRect();
  const scale = box.width / (parts.stage.clientWidth || box.width) || 1;
  return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
}

function press(player, event) {
  if (event.button !== 0) return;
  const point = pointOf(player, event);
  const cell = cellAt(player, point);
  const [mark] = cell ? [] : marksAt(player, point);
  if (mark) player.jump(mark);
  if (!cell) return;
  player.dragging = cell.column !== null;
  if (player.dragging) player.parts.stage.setPointerCapture(event.pointerId);
  player.choose(cell.expert);
  if (cell.column !== null) player.go(cell.column);
}

function move(player, event) {
  const point = pointOf(player, event);
  const cell = cellAt(player, point);
  if (player.dragging) {
    const share = (point[0] - player.at.left) / player.at.plot;
    player.go(share * player.matrix.columns);
  }
  player.hover = cell;
  player.links.light(cell ? cell.expert : null);
  const marks = cell ? [] : marksAt(player, point);
  player.parts.stage.classList.toggle("on-mark", marks.length > 0);
  player.parts.tip.hidden = !cell && !marks.length;
  if (marks.length) showMarks(player, marks, point);
  else if (cell) showCell(player, cell);
  if (!player.playing) player.draw();
}

function release(player, event) {
  if (!player.dragging && !cellAt(player, pointOf(player, event))) return;
  player.dragging = false;
  player.report();
}

function leave(player) {
  player.hover = null;
  player.links.light(null);
  player.parts.tip.hidden = true;
  if (!player.playing) player.draw();
}

/** Exact counts of the cell, or of this expert at the playhead when over the bars. */
function showCell(player, { column: hovered, expert, x, y }) {
  const { matrix } = player;
  const column = hovered ?? player.column;
  const tokens = matrix.tokens(column, expert);
  const bias = matrix.biasAt(column, expert);
  const idle = matrix.totals[column] ? "no tokens: idle" : "none recorded in this layer";
  const lines = [
    `${tokens.toLocaleString("en-US")} tokens`,
    tokens ? `${matrix.ratio(column, expert).toFixed(2)} × uniform` : idle,
    ...(bias === null ? [] : [`bias ${bias >= 0 ? "+" : "−"}${Math.abs(bias).toFixed(4)}`]),
  ];
  showTip(player, `expert ${expert}, ${matrix.stepName(column)}`, lines, [x, y - 20]);
}

function showMarks(player, marks, [x]) {
  const lines = marks.slice(0, MOST_EVENTS).map((mark) => `step ${mark.step}: ${mark.label}`);
  if (marks.length > MOST_EVENTS) lines.push(`and ${marks.length - MOST_EVENTS} more`);
  showTip(player, marks.length > 1 ? "events" : "event", lines, [x, player.at.top + 8]);
}

function showTip({ parts, width, settings }, title, lines, [x, y]) {
  const { tip } = parts;
  tip.replaceChildren(element("b", title), ...lines.map((line) => element("span", line)));
  const isRight = x + 16 + tip.offsetWidth > width;
  const left = isRight ? Math.max(0, x - tip.offsetWidth - 14) : x + 16;
  const top = Math.min(Math.max(0, y), Math.max(0, settings.height - tip.offsetHeight));
  tip.style.transform = `translate(${left}px, ${top}px)`;
}
