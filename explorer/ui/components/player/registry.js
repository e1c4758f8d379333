/**
 * The players of the page by id, and what Python sent to one that is not there yet.
 *
 * Shared by the player's component and the one that carries its step (`sync.js`), so that moving the step
 * does not send the matrix again.
 */

export const players = new Map();
/** `{step, expert, heard}` by id of the player; `heard` is the time of the last report that had arrived. */
export const waiting = new Map();
/** The layer that keys have asked for and when (ms); it outlives the player of the layer before. */
export const layerRequest = { layer: null, time: 0 };

const inspected = { players, mounts: 0 };
// For the browser's console and for tests; no module reads it.
globalThis[Symbol.for("moe-routing-explorer.player")] = inspected;

export function countMount() {
  inspected.mounts += 1;
}
