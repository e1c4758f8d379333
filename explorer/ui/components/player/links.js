// The player's share in the state of the page: the playhead that it leads, the expert under the pointer,
// picked points.

import { hoveredExpert, picks, playhead } from "../shared/page_state.js";
import { linkHoveredExpert, mirrorPlayhead, relayPicks } from "../shared/vega_bridge.js";

/** Every chart that follows draws itself at each move: while playing, twenty times a second is enough. */
const ANNOUNCE_MS = 50;

export class PageLinks {
  #player;
  #names = { playhead: null, expert: null, pick: null };
  #leavers = {};
  #announced = 0;
  #down = null;
  #up = null;

  constructor(player) {
    this.#player = player;
    const onDown = (event) => {
      this.#down = [event.clientX, event.clientY];
    };
    const onUp = (event) => {
      this.#up = [event.clientX, event.clientY];
    };
    document.addEventListener("pointerdown", onDown, true);
    document.addEventListener("pointerup", onUp, true);
    this.#leavers.pointer = () => {
      document.removeEventListener("pointerdown", onDown, true);
      document.removeEventListener("pointerup", onUp, true);
    };
  }

  /** Names of the events that charts are bound to, each or null: `{playhead, expert, pick}`. */
  update(names) {
    if (names.playhead) mirrorPlayhead(names.playhead);
    if (names.expert !== this.#names.expert) this.#linkExpert(names.expert);
    if (names.pick !== this.#names.pick) this.#linkPicks(names.pick);
    this.#names = names;
  }

  leave() {
    this.light(null);
    for (const leave of Object.values(this.#leavers)) leave();
    this.#leavers = {};
  }

  /** The playhead of the page is at this step. */
  announce(step) {
    if (!this.#names.playhead) return;
    const now = performance.now();
    if (this.#player.playing && now - this.#announced < ANNOUNCE_MS) return;
    this.#announced = now;
    playhead.publish(step);
  }

  /** This expert is under the pointer, or none. */
  light(expert) {
    if (this.#names.expert) hoveredExpert(this.#names.expert).publish(expert);
  }

  #linkExpert(scope) {
    this.#leavers.expert?.();
    this.#player.lit = null;
    if (!scope) {
      delete this.#leavers.expert;
      return;
    }
    const unlink = linkHoveredExpert(scope);
    const unsubscribe = hoveredExpert(scope).subscribe((expert) => this.#showLit(expert));
    this.#leavers.expert = () => {
      unsubscribe();
      unlink();
    };
  }

  #showLit(expert) {
    const player = this.#player;
    const isKnown = expert !== null && expert >= 0 && expert < player.matrix.experts;
    player.lit = isKnown ? expert : null;
    if (!player.playing) player.draw();
  }

  #linkPicks(event) {
    this.#leavers.pick?.();
    if (!event) {
      delete this.#leavers.pick;
      return;
    }
    const unlink = relayPicks(event);
    const unsubscribe = picks.subscribe((pick) => this.#follow(pick));
    this.#leavers.pick = () => {
      unsubscribe();
      unlink();
    };
  }

  /** A point of a chart was clicked: go to its step and single its expert out. */
  #follow({ expert, step }) {
    const player = this.#player;
    // The end of a drag is a click, too.
    const [down, up] = [this.#down, this.#up];
    const moved = down && up ? Math.hypot(up[0] - down[0], up[1] - down[1]) : 0;
    if (!player.matrix.columns || moved > 5 || expert >= player.matrix.experts) return;
    player.choose(expert);
    player.go(player.matrix.columnOf(step));
    player.report();
  }
}
