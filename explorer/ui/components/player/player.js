// The heatmap player: its state, what comes from Python and what goes there, moving and playing.

import { readTheme } from "../shared/colours.js";
import { fillSpeeds, listenToControls, partsOf, placeScrubber, showPosition, showTheme } from "./controls.js";
import { dialogueWith } from "./dialogue.js";
import { imageOf } from "./image.js";
import { listenToKeys } from "./keys.js";
import { LayerKeys } from "./layer_keys.js";
import { layoutOf } from "./layout.js";
import { PageLinks } from "./links.js";
import { LoadMatrix } from "./matrix.js";
import { drawAll } from "./paint.js";
import { advance } from "./playback.js";
import { listenToPointer } from "./pointer.js";
import { players } from "./registry.js";

const REPORT_EVENT = "moved";

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
  frames = 0;

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
    this.observer.disconnect();
    this.layerKeys.leave();
    this.links.leave();
    this.stopListening();
    this.resign();
  }

  /** No longer the player of its id, unless a new one has come before this one goes. */
  resign() {
    this.dialogue?.detach(this);
    if (players.get(this.id) === this) players.delete(this.id);
  }

  // --- what comes from Python ---------------------------------------------------------------

  update(component) {
    const { data } = component;
    this.component = component;
    this.settings = data;
    this.box.style.zoom = data.scale;
    this.box.classList.toggle("no-list", !data.keys);
    this.events = data.events;
    const isNew = this.id !== data.id;
    if (isNew) {
      this.resign();
      this.id = data.id;
      this.dialogue = dialogueWith(this.id);
      players.set(this.id, this);
    }
    if (data.matrix.version !== this.version) this.replaceMatrix(data.matrix);
    this.orderRows(data.order);
    this.links.update(data.vega);
    fillSpeeds(this);
    this.updateTheme();
    showPosition(this);
    if (isNew) this.dialogue.attach(this);
    if (data.keys) this.layerKeys.ask();
    this.draw();
  }

  /** The same step of another matrix; one that grows is followed from its end while Python names no step. */
  replaceMatrix(payload) {
    const isAtEnd = this.matrix && this.column >= this.matrix.columns - 1;
    const step = this.matrix?.columns ? this.matrix.first[this.column] : null;
    this.version = payload.version;
    this.matrix = new LoadMatrix(payload);
    const stays = step !== null && !(isAtEnd && this.dialogue.known.step === null);
    // A matrix that was sent too early has no column for the step that Python named; this one may.
    const named = this.isBusy ? null : this.dialogue.known.step;
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

  /** Step and expert are these now, and were `before`; while somebody moves it, the player leads. */
  follow({ step, expert }, before) {
    if (expert !== before.expert) this.expert = expert;
    if (step !== before.step && !this.isBusy && this.matrix.columns) {
      this.moveTo(this.matrix.columnOf(step));
      this.links.announce(step);
    }
    this.draw();
  }

  get isBusy() {
    return this.playing || this.dragging || this.moving;
  }

  // --- what goes to Python: on pause, release and click only, never while playing -----------

  report() {
    if (!this.matrix.columns) return;
    const { step, expert } = this.dialogue.known;
    if (this.matrix.first[this.column] !== step || this.expert !== expert) this.send({});
  }

  send(more) {
    this.dialogue.report({ step: this.matrix.first[this.column], expert: this.expert }, more);
  }

  tell(report) {
    this.component.setTriggerValue(REPORT_EVENT, report);
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
