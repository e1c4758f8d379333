// The heatmap player: its state, what comes from Python and what goes there, moving and playing.

import { readTheme } from "../shared/colours.js";
import { fillSpeeds, listenToControls, partsOf, placeScrubber, showPosition, showTheme } from "./controls.js";
import { imageOf } from "./image.js";
import { listenToKeys } from "./keys.js";
import { LayerKeys } from "./layer_keys.js";
import { layoutOf } from "./layout.js";
import { PageLinks } from "./links.js";
import { LoadMatrix } from "./matrix.js";
import { drawAll } from "./paint.js";
import { advance, isLate } from "./playback.js";
import { listenToPointer } from "./pointer.js";
import { players, waiting } from "./registry.js";

const REPORT_EVENT = "moved";
const AGAIN_MS = 2000;
const TRIES = 3;

export class Player {
  column = 0;
  clock = 0;
  still = 0;
  expert = null;
  /** The cell under the pointer. */
  hover = null;
  /** The expert under the pointer, here or in a linked chart. */
  lit = null;
  events = [];
  rows = [];
  playing = false;
  dragging = false;
  /** Whether a key that moves is held; Python hears of it on release. */
  moving = false;
  known = { step: null, expert: null };
  frames = 0;
  /** Whether Python names a step: only then it answers a report, or has lost it. */
  isLed = false;
  /** When the last report was made (ms since 1970), which is its name; 0 before the first. */
  reported = 0;
  again = 0;

  constructor(root) {
    this.box = root.querySelector(".player");
    this.parts = partsOf(root);
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.parts.stage);
    this.links = new PageLinks(this);
    this.layerKeys = new LayerKeys(this);
    listenToControls(this);
    listenToPointer(this);
    this.stopListening = listenToKeys(this);
  }

  leave() {
    this.stop(false);
    clearTimeout(this.again);
    this.observer.disconnect();
    this.layerKeys.leave();
    this.links.leave();
    this.stopListening();
    // A new player of the same id may have come before this one goes.
    if (players.get(this.id) !== this) return;
    players.delete(this.id);
    this.handOver();
  }

  /** The page may mount its player anew, without Python naming the step again. */
  handOver() {
    if (this.known.step !== null && !waiting.has(this.id)) waiting.set(this.id, this.known);
  }

  // --- what comes from Python ---------------------------------------------------------------

  update(component) {
    const { data } = component;
    this.component = component;
    this.settings = data;
    this.box.style.zoom = data.scale;
    this.box.classList.toggle("no-list", !data.keys);
    this.events = data.events;
    if (data.matrix.version !== this.version) this.replaceMatrix(data.matrix);
    this.orderRows(data.order);
    this.links.update(data.vega);
    if (this.id !== data.id) {
      players.delete(this.id);
      players.get(data.id)?.handOver();
      this.id = data.id;
      players.set(this.id, this);
    }
    fillSpeeds(this);
    this.updateTheme();
    showPosition(this);
    const message = waiting.get(this.id);
    if (message) this.sync(message);
    if (data.keys) this.layerKeys.ask();
    this.draw();
  }

  /** The same step of another matrix; one that grows is followed from its end while Python names no step. */
  replaceMatrix(payload) {
    const isAtEnd = this.matrix && this.column >= this.matrix.columns - 1;
    const step = this.matrix?.columns ? this.matrix.first[this.column] : null;
    this.version = payload.version;
    this.matrix = new LoadMatrix(payload);
    const stays = step !== null && !(isAtEnd && this.known.step === null);
    // A matrix that was sent too early has no column for the step that Python named; this one may.
    const named = this.playing || this.dragging ? null : this.known.step;
    this.column = stays ? this.matrix.columnOf(named ?? step) : Math.max(0, this.matrix.columns - 1);
    this.clock = this.column;
    this.image = null;
  }

  /** Experts, or lists of those that share a row, from top to bottom; by index where Python names no order. */
  orderRows(order) {
    const key = JSON.stringify(order);
    if (key === this.order && this.rowOf.length === this.matrix.experts) return;
    this.order = key;
    this.rows = order || Array.from({ length: this.matrix.experts }, (_, expert) => expert);
    this.rowOf = [];
    for (const [row, experts] of this.rows.entries())
      for (const expert of [experts].flat()) this.rowOf[expert] = row;
    this.image = null;
  }

  updateTheme() {
    const theme = readTheme(this.box, this.settings);
    if (theme.key !== this.theme?.key) this.image = null;
    this.theme = theme;
    showTheme(this);
  }

  /**
   * Step and expert as Python has them; while playing, the player leads.
   *
   * `heard` is the report that Python had heard of last: with a later one under way, following what Python
   * says would jerk back.
   */
  sync({ step, expert, heard = Infinity }) {
    waiting.delete(this.id);
    this.isLed = step !== null;
    if (isLate(heard, this.reported, Date.now())) return;
    clearTimeout(this.again);
    if (expert !== this.known.expert) {
      this.known.expert = expert;
      this.expert = expert;
    }
    if (step !== null && step !== this.known.step) {
      this.known.step = step;
      if (!this.playing && !this.dragging && this.matrix.columns) {
        this.moveTo(this.matrix.columnOf(step));
        this.links.announce(step);
      }
    }
    this.draw();
  }

  // --- what goes to Python: on pause, release and click only, never while playing -----------

  report() {
    if (!this.matrix.columns) return;
    if (this.matrix.first[this.column] === this.known.step && this.expert === this.known.expert) return;
    this.send({});
  }

  send(more) {
    this.known = { step: this.matrix.first[this.column], expert: this.expert };
    this.reported = Math.max(this.reported + 1, Date.now());
    this.tell({ ...this.known, ...more, time: this.reported }, 1);
  }

  /** A busy server may lose a report that another component's follows at once. */
  tell(report, nth) {
    clearTimeout(this.again);
    this.component.setTriggerValue(REPORT_EVENT, report);
    if (!this.isLed || nth === TRIES) return;
    this.again = setTimeout(() => {
      if (!this.playing && !this.dragging) this.tell(report, nth + 1);
    }, AGAIN_MS);
  }

  // --- moving -------------------------------------------------------------------------------

  moveTo(column) {
    const last = Math.max(0, this.matrix.columns - 1);
    this.column = Math.max(0, Math.min(last, Math.floor(column)));
    if (Math.floor(this.clock) !== this.column) this.clock = this.column;
    showPosition(this);
    if (this.matrix.columns) this.links.announce(this.matrix.first[this.column]);
  }

  go(column) {
    this.stop(false);
    this.moveTo(column);
    this.draw();
  }

  nudge(by) {
    this.go(this.column + by);
    this.report();
  }

  /** To an event: its step, and its expert if it is about one. */
  jump(event) {
    if (Number.isInteger(event.expert)) this.choose(event.expert);
    this.go(this.matrix.columnOf(event.step));
    this.report();
  }

  choose(expert) {
    this.expert = expert === null ? null : Math.max(0, Math.min(this.matrix.experts - 1, expert));
    this.draw();
  }

  // --- playing ------------------------------------------------------------------------------

  toggle() {
    if (this.playing) {
      this.stop(true);
      return;
    }
    if (!this.matrix.columns) return;
    if (this.column >= this.matrix.columns - 1) this.moveTo(0);
    this.clock = this.column;
    this.lastTime = null;
    this.play(true);
    showPosition(this);
    this.frame = requestAnimationFrame((time) => this.tick(time));
  }

  play(isPlaying) {
    this.playing = isPlaying;
  }

  stop(reports) {
    cancelAnimationFrame(this.frame);
    const was = this.playing;
    this.play(false);
    if (was) this.moveTo(this.column);
    if (was && reports) this.report();
    this.draw();
  }

  tick(time) {
    if (!this.playing) return;
    const last = this.matrix.columns - 1;
    const seconds = this.lastTime === null ? 0 : Math.min(0.25, (time - this.lastTime) / 1000);
    this.lastTime = time;
    const speed = Number(this.parts.speed.value);
    Object.assign(this, advance(this, seconds, { last, speed, calm: this.calm.matches }));
    if (this.clock >= last) {
      this.moveTo(last);
      this.stop(true);
      return;
    }
    this.moveTo(this.clock);
    this.paint();
    this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  // --- drawing ------------------------------------------------------------------------------

  resized() {
    const width = Math.floor(this.parts.stage.clientWidth);
    if (width === this.width) return;
    this.width = width;
    this.image = null;
    this.draw();
  }

  /** At the next frame, however often it is asked for until then. */
  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.paint();
    });
  }

  paint() {
    if (!this.matrix || !this.theme) return;
    this.width ||= Math.floor(this.parts.stage.clientWidth);
    if (!this.width) return;
    const { matrix, rows, theme } = this;
    const { height, limit, scale } = this.settings;
    this.at = layoutOf(this.width, height, this.events.length > 0);
    placeScrubber(this);
    const density = (window.devicePixelRatio || 1) * scale;
    if (!this.image && matrix.columns) {
      this.image = imageOf(matrix, rows, theme.ramp, theme.dead, limit, this.at.plot * density);
    }
    drawAll(this.parts.plot, this, density);
    this.frames += 1;
  }
}
