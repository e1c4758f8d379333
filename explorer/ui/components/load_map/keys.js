// The keys on a heatmap that has the focus: arrows move from cell to cell, Enter picks.

import { showCell } from "./pointer.js";

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const FAR = 10;

export function listenToKeys(map) {
  map.stage.onkeydown = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (MOVES[event.key]) move(map, MOVES[event.key], event.shiftKey ? FAR : 1);
    else if (event.key === "Enter" || event.key === " ") map.pick();
    else if (event.key === "Escape") leave(map);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  map.stage.onblur = () => leave(map);
}

function move(map, [down, right], far) {
  const { cells } = map;
  const from = map.cursor ?? { expert: 0, column: cells.columns - 1 };
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  const cursor = map.cursor
    ? {
        expert: within(from.expert + down * far, cells.experts),
        column: within(from.column + right * far, cells.columns),
      }
    : from;
  map.point(cursor);
  showCell(map, cursor);
  const { title, lines } = cells.words(cursor.expert, cursor.column);
  map.said.textContent = [title, ...lines].join(", ");
}

function leave(map) {
  map.point(null);
  map.tip.hidden = true;
}
