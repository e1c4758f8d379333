// How time passes in the player.

/** Steps per second that the menu offers. */
export const SPEEDS = [2, 5, 15, 30, 60, 120, 300, 600];

/** The speed at which all columns pass in about twelve seconds. */
export function speedFor(columns) {
  const best = Math.log(columns / 12);
  const distance = (speed) => Math.abs(Math.log(speed) - best);
  return SPEEDS.reduce((a, b) => (distance(b) < distance(a) ? b : a));
}

/**
 * The clock (in columns) after some seconds, as `{clock, still}`.
 *
 * With `calm` (the system asks for less motion): still pictures, one per second and a twentieth of the run
 * apart, instead of a moving line; `still` counts the seconds since the last.
 */
export function advance({ clock, still }, seconds, { last, speed, calm }) {
  if (!calm) return { clock: clock + seconds * speed, still };
  const waited = still + seconds;
  if (waited < 1) return { clock, still: waited };
  return { clock: clock + Math.max(1, Math.round(last / 20)), still: 0 };
}

/** The nearest event after (`by` 1) or before (-1) a column, or undefined. */
export function nextEvent(matrix, events, column, by) {
  const places = events.map((event) => [matrix.columnOf(event.step), event]);
  const ahead = places.filter(([place]) => (by > 0 ? place > column : place < column));
  ahead.sort((a, b) => by * (a[0] - b[0]));
  return ahead[0]?.[1];
}
