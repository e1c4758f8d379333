/**
 * The players of the page by id, and what each of them and Python tell each other.
 *
 * Shared by the player's component and the one that carries its step (`sync.js`), so that moving the step
 * does not send the matrix again. It imports nothing: the program of `sync.js` travels with every step.
 */

export const players = new Map();
/** The `Dialogue` of every player that there was. */
export const dialogues = new Map();
/** What Python sent to a player that was never there: `{step, expert, heard}` by its id. */
export const waiting = new Map();
/** The layer of a run that keys have asked for and when (ms); it outlives the player of the layer before. */
export const layerRequest = { run: null, layer: null, time: 0 };

const inspected = { players, mounts: 0 };
// For the browser's console and for tests; no module reads it.
globalThis[Symbol.for("moe-routing-explorer.player")] = inspected;

export function countMount() {
  inspected.mounts += 1;
}
