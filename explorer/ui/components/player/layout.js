// Where things lie on the canvas, in CSS pixels.

const EDGE = { top: 26, bottom: 26, left: 40, right: 6, gap: 26 };
/** Half the width of an event's sign. */
export const MARK = 5;

/** Signs of events need a row of their own under the words. */
export function layoutOf(width, height, marked) {
  const top = EDGE.top + (marked ? 11 : 0);
  const bars = width < 360 ? 0 : Math.max(96, Math.min(230, width * 0.2));
  const plot = Math.max(40, width - EDGE.left - EDGE.right - (bars ? bars + EDGE.gap : 0));
  return {
    width,
    height,
    plot,
    left: EDGE.left,
    top,
    lift: top - EDGE.top + 9,
    tall: height - top - EDGE.bottom,
    bars,
    barsLeft: EDGE.left + plot + EDGE.gap,
  };
}

/** The middle of the column at this step. */
export function stepX(matrix, at, step) {
  return at.left + ((matrix.columnOf(step) + 0.5) / matrix.columns) * at.plot;
}

/** Width of the scrubber's thumb in every browser; see `player.css`. */
const THUMB = 18;

/** Left edge and width of a scrubber whose thumb stands under the playhead at every step. */
export function scrubberPlace(at, columns) {
  const cell = at.plot / Math.max(1, columns);
  return { left: at.left + cell / 2 - THUMB / 2, width: at.plot - cell + THUMB };
}

/** The cell at a point: column null on the bars and left of the plot; null above and below. */
export function cellAt({ at, matrix, rows, column: playhead = 0 }, [x, y]) {
  if (!at || !matrix.columns) return null;
  if (y < at.top || y >= at.top + at.tall) return null;
  const row = Math.min(rows.length - 1, Math.floor(((y - at.top) / at.tall) * rows.length));
  const isInside = x >= at.left && x < at.left + at.plot;
  const column = isInside ? Math.floor(((x - at.left) / at.plot) * matrix.columns) : null;
  return { column, expert: matrix.expertOf(column ?? playhead, rows[row]), x, y };
}

/** The events whose sign lies at a point. */
export function marksAt({ at, matrix, events }, [x, y]) {
  if (!at || !events.length || !matrix.columns) return [];
  if (y >= at.top || y < at.top - 4 * MARK) return [];
  return events.filter((event) => Math.abs(stepX(matrix, at, event.step) - x) <= 2 * MARK);
}
