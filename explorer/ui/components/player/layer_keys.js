// J and K: another layer at the same step and expert; Python brings its matrix.

import { layerRequest } from "./registry.js";

/** The first key asks at once; those that follow as quickly as this are one request. */
const GATHER_MS = 80;
const FORGET_MS = 3000;

export class LayerKeys {
  #player;
  #timer = 0;

  constructor(player) {
    this.#player = player;
  }

  change(by) {
    const { layer, layers } = this.#player.settings;
    if (layer === null) return;
    const from = this.#requested() ?? layer;
    const to = Math.max(0, Math.min(layers - 1, from + by));
    if (to === from) return;
    const now = performance.now();
    const isFirst = now - layerRequest.time > GATHER_MS;
    Object.assign(layerRequest, { run: this.#run(), layer: to, time: now });
    this.#player.stop(false);
    this.ask(isFirst ? 0 : GATHER_MS);
  }

  /**
   * Ask Python for the layer, if it is another than this player's. A key that was pressed while Python made
   * the next layer's player is answered there: a request of a player that is gone by then is lost.
   */
  ask(delay = GATHER_MS) {
    clearTimeout(this.#timer);
    const layer = this.#requested();
    if (layer === null || layer === this.#player.settings.layer) {
      layerRequest.layer = null;
      return;
    }
    this.#timer = setTimeout(() => this.#player.send({ layer }), delay);
  }

  leave() {
    clearTimeout(this.#timer);
  }

  /** The layer that keys asked for a moment ago, of this player's run, or null. */
  #requested() {
    const { run, layer, time } = layerRequest;
    return run === this.#run() && performance.now() - time <= FORGET_MS ? layer : null;
  }

  /** Only the event that links a run's charts names the run here. */
  #run() {
    return this.#player.settings.vega.expert;
  }
}
