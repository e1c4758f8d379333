// What the player and Python tell each other of step and expert, and who leads when both speak at once.

import { dialogues, waiting } from "./registry.js";

/** A report that nobody answers is told again after so long: a busy server may lose one. */
const AGAIN_MS = 2000;
const TRIES = 3;

const isSame = (a, b) => a.step === b.step && a.expert === b.expert;

/**
 * One per id of a player. It outlives the player, which the page may mount anew while a report is under way.
 *
 * Every report has a name, the time when it was made; Python's messages name the last report that had
 * arrived (`heard`). A message from before the report under way is late: following it would jerk back.
 */
export class Dialogue {
  /** `{step, expert}` that both know, or will once the report under way has arrived. */
  known = { step: null, expert: null };
  #player = null;
  /** Whether Python names a step: only then it answers a report, or has lost it. */
  #isLed = false;
  /** The name of the last report (ms since 1970); 0 before the first. */
  #reported = 0;
  /** The report under way, how often it was told, and the timer of its next telling. */
  #report = null;
  #times = 0;
  #timer = 0;
  /** What Python said before it heard the report under way: at first, and last. */
  #said = null;
  #late = null;

  attach(player) {
    this.#player = player;
    player.follow(this.known, { step: null });
  }

  /** A new player of the same id may have come before the old one goes. */
  detach(player) {
    if (this.#player === player) this.#player = null;
  }

  // --- what comes from Python ---------------------------------------------------------------

  /** `{step, expert, heard}`; step null: the player alone knows it. */
  hear(message) {
    this.#isLed = message.step !== null;
    if (this.#report && message.heard < this.#report.time) {
      // With another name it answers an earlier report, which the player has moved on from.
      if (this.#said?.heard !== message.heard) this.#said = message;
      this.#late = message;
      return;
    }
    this.#accept(message);
  }

  #accept(message) {
    clearTimeout(this.#timer);
    this.#report = null;
    this.#late = null;
    this.#said = message;
    const before = this.known;
    this.known = { step: message.step ?? before.step, expert: message.expert };
    this.#player?.follow(this.known, before);
  }

  // --- what goes to Python ------------------------------------------------------------------

  /** The player was left at `{step, expert}`; `more` joins the report. */
  report(place, more = {}) {
    this.known = place;
    this.#reported = Math.max(this.#reported + 1, Date.now());
    this.#report = { ...place, ...more, time: this.#reported };
    this.#times = 0;
    this.#said = this.#late ?? this.#said;
    this.#late = null;
    this.#tell();
  }

  #tell() {
    this.#times += 1;
    this.#player.tell(this.#report);
    this.#wait();
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#afterSilence(), AGAIN_MS);
  }

  #afterSilence() {
    if (this.#player?.isBusy) {
      this.#wait();
      return;
    }
    // Python moved after the report was made or just before: told again, the report would undo that.
    const hasMoved = this.#late !== null && !isSame(this.#late, this.#said);
    if (this.#player && this.#isLed && !hasMoved && this.#times < TRIES) {
      this.#tell();
      return;
    }
    if (this.#late) this.#accept(this.#late);
    else this.#report = null;
  }
}

/** The dialogue with the player of this id. */
export function dialogueWith(id) {
  if (!dialogues.has(id)) dialogues.set(id, new Dialogue());
  const dialogue = dialogues.get(id);
  if (waiting.has(id)) dialogue.hear(waiting.get(id));
  waiting.delete(id);
  return dialogue;
}
