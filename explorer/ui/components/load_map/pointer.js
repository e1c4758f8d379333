// The pointer on a heatmap: the tooltip, a click that picks, and the zoom of `charts.theme.zoom`.

import { markAt } from "./paint.js";

/** A press that moves further is no click. */
const CLICK_PX = 5;

export function listenToPointer(map) {
  const { stage } = map;
  stage.onpointerdown = (event) => press(map, event);
  stage.onpointermove = (event) => move(map, event);
  stage.onpointerup = () => release(map);
  stage.onclick = (event) => click(map, event);
  stage.onpointercancel = () => {
    map.pressed = null;
  };
  stage.onpointerleave = () => {
    map.tip.hidden = true;
    map.point(null);
  };
  stage.ondblclick = () => {
    map.window.reset();
    map.draw();
  };
  stage.addEventListener("wheel", (event) => wheel(map, event), { passive: false });
}

/** Where the pointer is, in the pixels that the picture is drawn in: a lecture enlarges them. */
function pointOf({ stage }, event) {
  const box = stage.getBoundingClientRect();
  const scale = box.width / (stage.clientWidth || box.width) || 1;
  return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
}

export function cellAt({ at, cells, window }, [x, y]) {
  if (!at || x < at.left || x >= at.left + at.plot || y < at.top || y >= at.top + at.tall) return null;
  const expert = Math.floor(((y - at.top) / at.tall) * cells.experts);
  const column = cells.columnAt(window.step((x - at.left) / at.plot));
  return cells.isRecorded(expert, column) ? { expert, column } : null;
}

function press(map, event) {
  if (event.button !== 0 || !map.at) return;
  const point = pointOf(map, event);
  map.pressed = { start: point, last: point, isDrag: false };
  map.stage.setPointerCapture(event.pointerId);
}

function move(map, event) {
  if (!map.at) return;
  const point = pointOf(map, event);
  if (map.pressed) drag(map, point);
  const cursor = cellAt(map, point);
  const mark = cursor ? undefined : markAt(map, point);
  map.point(cursor);
  if (cursor) showCell(map, cursor, point);
  else if (mark) showTip(map, mark.when, mark.text.split("; "), [point[0], map.at.top + 8]);
  else map.tip.hidden = true;
}

function drag(map, point) {
  const { pressed } = map;
  pressed.isDrag ||= Math.hypot(point[0] - pressed.start[0], point[1] - pressed.start[1]) > CLICK_PX;
  if (pressed.isDrag) map.window.pan((pressed.last[0] - point[0]) / map.at.plot);
  pressed.last = point;
}

function release(map) {
  map.wasDrag = map.pressed?.isDrag ?? false;
  map.pressed = null;
}

function click(map, event) {
  // The second of a double click is none: that shows the whole again.
  if (!map.at || map.wasDrag || event.detail > 1) return;
  map.point(cellAt(map, pointOf(map, event)));
  map.pick();
}

/** The plain wheel goes on scrolling the page. */
function wheel(map, event) {
  if (!map.at || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  const share = (pointOf(map, event)[0] - map.at.left) / map.at.plot;
  map.window.zoom(1.001 ** (event.deltaY * 16 ** event.deltaMode), Math.max(0, Math.min(1, share)));
  map.draw();
}

/** The numbers of a cell beside the pointer, or beside the cell. */
export function showCell(map, { expert, column }, point = null) {
  const { at, cells, window } = map;
  const middle = window.share((cells.edges[column] + cells.edges[column + 1]) / 2);
  const beside = point ?? [
    at.left + Math.max(0, Math.min(1, middle)) * at.plot,
    at.top + ((expert + 0.5) / cells.experts) * at.tall,
  ];
  const { title, lines } = cells.words(expert, column);
  showTip(map, title, lines, [beside[0], beside[1] - 20]);
}

function showTip({ tip, at }, title, lines, [x, y]) {
  const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  tip.hidden = false;
  tip.replaceChildren(element("b", title), ...lines.map((line) => element("span", line)));
  const isRight = x + 16 + tip.offsetWidth > at.width;
  const left = isRight ? Math.max(0, x - tip.offsetWidth - 14) : x + 16;
  const top = Math.min(Math.max(0, y), Math.max(0, at.height - tip.offsetHeight));
  tip.style.transform = `translate(${left}px, ${top}px)`;
}
