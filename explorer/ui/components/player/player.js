// The heatmap player: state, controls and the one function that Streamlit calls at every change.

const REPORT_EVENT = "moved";
const SPEEDS = [2, 5, 15, 30, 60, 120, 300, 600];
// The step comes through a second, tiny component (sync.js), so that moving it does not send the
// matrix again. Both meet here.
const SHARED = Symbol.for("moe-routing-explorer.player");
const shared = (globalThis[SHARED] ??= { players: new Map(), waiting: new Map() });
const mounted = new WeakMap();

class Player {
  constructor(root) {
    const find = (name) => root.querySelector(`.${name}`);
    this.box = find("player");
    this.parts = Object.fromEntries(
      ["stage", "plot", "tip", "scrub", "now", "play", "previous", "next", "speed", "ramp", "ticks", "swatch", "help", "list", "close"].map(
        (name) => [name, find(name)],
      ),
    );
    this.column = 0;
    this.clock = 0;
    this.expert = null;
    this.hover = null;
    this.lit = null;
    this.events = [];
    this.playing = false;
    this.dragging = false;
    this.known = { step: null, expert: null };
    this.sent = [];
    this.frame = 0;
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(this.parts.stage);
    this.listen();
    this.listenToPage();
  }

  // --- what comes from Python ---------------------------------------------------------------

  update(component) {
    this.component = component;
    const data = component.data;
    this.settings = data;
    this.box.style.zoom = data.scale;
    this.box.classList.toggle("no-list", !data.keys);
    this.events = data.events;
    if (data.matrix.version !== this.version) {
      const atEnd = this.matrix && this.column >= this.matrix.columns - 1;
      const step = this.matrix && this.matrix.columns ? this.matrix.first[this.column] : null;
      this.version = data.matrix.version;
      this.matrix = new LoadMatrix(data.matrix);
      const stay = step !== null && !(atEnd && this.known.step === null);
      this.column = stay ? this.matrix.columnOf(step) : Math.max(0, this.matrix.columns - 1);
      this.clock = this.column;
      this.image = null;
    }
    const order = (data.order || []).join();
    if (order !== this.order || this.rows.length !== this.matrix.experts) {
      this.order = order;
      this.rows = data.order || Array.from({ length: this.matrix.experts }, (_, expert) => expert);
      this.rowOf = [];
      this.rows.forEach((expert, row) => (this.rowOf[expert] = row));
      this.image = null;
    }
    this.link(data.scope);
    if (this.id !== data.id) {
      shared.players.delete(this.id);
      this.id = data.id;
      shared.players.set(this.id, this);
    }
    this.fillSpeeds();
    this.readTheme();
    this.controls();
    const waiting = shared.waiting.get(this.id);
    if (waiting) this.sync(waiting);
    if (data.keys) this.askForLayer();
    this.draw();
  }

  /** Step and expert as Python has them; while playing, the player leads. */
  sync(message) {
    shared.waiting.delete(this.id);
    const { step, expert } = message;
    if (expert !== this.known.expert) {
      this.known.expert = expert;
      this.expert = expert;
    }
    if (step !== null && step !== this.known.step && !this.isEcho(step)) {
      this.known.step = step;
      if (!this.playing && !this.dragging && this.matrix.columns) {
        this.moveTo(this.matrix.columnOf(step));
        this.announce(step);
      }
    }
    this.draw();
  }

  /** An answer to an earlier report while a later one is under way: following it would jerk back. */
  isEcho(step) {
    const now = performance.now();
    this.sent = this.sent.filter((one) => now - one.time < 5000);
    const index = this.sent.findIndex((one) => one.step === step);
    if (index >= 0) this.sent.splice(0, index + 1);
    return index >= 0 && this.sent.length > 0;
  }

  readTheme() {
    const style = getComputedStyle(this.box);
    const value = (name, other) => style.getPropertyValue(name).trim() || other;
    const paper = value("--st-background-color", "#ffffff");
    const dark = isDark(paper);
    const colours = dark ? this.settings.colours.dark : this.settings.colours.light;
    const family = style.fontFamily || "sans-serif";
    this.box.style.colorScheme = dark ? "dark" : "light";
    const key = [paper, dark, this.settings.limit, colours.stops.join()].join();
    const text = colours.stops.join();
    this.theme = {
      paper,
      ink: value("--st-text-color", "#222222"),
      quiet: dark ? "#A9B0BC" : "#5A6270",
      line: value("--st-border-color", "#cccccc"),
      font: `12px ${family}`,
      bold: `600 12px ${family}`,
      small: `10.5px ${family}`,
      ramp: rampOf(colours.stops),
      dead: rgbOf(colours.dead),
      deadText: colours.dead,
    };
    this.theme.rampText = rampOf(colours.bars).map((c) => `rgb(${c.join(" ")})`);
    if (key !== this.themeKey) this.image = null;
    this.themeKey = key;
    this.parts.ramp.style.background = `linear-gradient(to right, ${text})`;
    this.parts.swatch.style.background = colours.dead;
    this.parts.ticks.replaceChildren(
      ...this.settings.ticks.map(([power, label]) => {
        const tick = document.createElement("span");
        tick.textContent = label;
        tick.style.left = `${((power / this.settings.limit + 1) / 2) * 100}%`;
        return tick;
      }),
    );
  }

  fillSpeeds() {
    const { speed } = this.parts;
    if (speed.options.length) return;
    // The whole run passes in about twelve seconds.
    const wanted = this.matrix.columns / 12;
    const best = SPEEDS.reduce((a, b) => (Math.abs(Math.log(b / wanted)) < Math.abs(Math.log(a / wanted)) ? b : a));
    speed.replaceChildren(...SPEEDS.map((s) => new Option(`${s} / s`, s, s === best, s === best)));
  }

  // --- moving -------------------------------------------------------------------------------

  moveTo(column) {
    const last = Math.max(0, this.matrix.columns - 1);
    this.column = Math.max(0, Math.min(last, Math.floor(column)));
    if (Math.floor(this.clock) !== this.column) this.clock = this.column;
    this.controls();
    if (this.matrix.columns) this.announce(this.matrix.first[this.column]);
  }

  /** Figures of the page may follow the playhead: Vega reads the value of the body at this event. */
  announce(step) {
    if (!this.settings.follow) return;
    const now = performance.now();
    // While it plays, twenty times a second: every figure that follows draws itself.
    if (this.playing && now - (this.told || 0) < 50) return;
    this.told = now;
    const page = document.body;
    if (page.value === String(step)) return;
    page.value = String(step);
    page.dispatchEvent(new Event(this.settings.follow));
  }

  go(column) {
    this.stop(false);
    this.moveTo(column);
    this.draw();
  }

  toggle() {
    if (this.playing) return this.stop(true);
    if (!this.matrix.columns) return undefined;
    if (this.column >= this.matrix.columns - 1) this.moveTo(0);
    this.clock = this.column;
    this.playing = true;
    this.lastTime = null;
    this.controls();
    this.frame = requestAnimationFrame((time) => this.tick(time));
    return undefined;
  }

  stop(tell) {
    cancelAnimationFrame(this.frame);
    const was = this.playing;
    this.playing = false;
    if (was) this.moveTo(this.column);
    if (was && tell) this.report();
    this.draw();
  }

  tick(time) {
    if (!this.playing) return;
    const last = this.matrix.columns - 1;
    const passed = this.lastTime === null ? 0 : Math.min(0.25, (time - this.lastTime) / 1000);
    this.lastTime = time;
    if (this.calm.matches) {
      // Less motion wished: twenty still pictures, one a second, instead of a moving line.
      this.rest = (this.rest || 0) + passed;
      if (this.rest >= 1) {
        this.rest = 0;
        this.clock += Math.max(1, Math.round(last / 20));
      }
    } else {
      this.clock += passed * Number(this.parts.speed.value);
    }
    if (this.clock >= last) {
      this.moveTo(last);
      this.stop(true);
      return;
    }
    this.moveTo(this.clock);
    this.paint();
    this.frame = requestAnimationFrame((next) => this.tick(next));
  }

  /** Tells Python the step and expert: on pause, release and click only, never while playing. */
  report() {
    if (!this.matrix.columns) return;
    if (this.matrix.first[this.column] === this.known.step && this.expert === this.known.expert) return;
    this.send({});
  }

  send(more) {
    const step = this.matrix.first[this.column];
    this.known = { step, expert: this.expert };
    this.sent.push({ step, time: performance.now() });
    this.component.setTriggerValue(REPORT_EVENT, { ...this.known, ...more });
  }

  choose(expert) {
    this.expert = expert === null ? null : Math.max(0, Math.min(this.matrix.experts - 1, expert));
    this.draw();
  }

  // --- showing ------------------------------------------------------------------------------

  controls() {
    const { scrub, now, play, stage, previous, next } = this.parts;
    const { matrix } = this;
    const last = Math.max(0, matrix.columns - 1);
    this.box.classList.toggle("playing", this.playing);
    play.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    for (const part of [scrub, play, previous, next]) part.disabled = matrix.columns < 2;
    scrub.max = String(last);
    scrub.value = String(this.column);
    scrub.style.setProperty("--done", `${last ? (100 * this.column) / last : 0}%`);
    if (!matrix.columns) return;
    const name = matrix.stepName(this.column).replace(/^steps? /, "");
    now.innerHTML = `step <b>${name}</b> <span>of ${matrix.last[last]}</span>`;
    stage.setAttribute("aria-label", this.settings.label);
    stage.setAttribute("aria-valuemin", String(matrix.first[0]));
    stage.setAttribute("aria-valuemax", String(matrix.last[last]));
    stage.setAttribute("aria-valuenow", String(matrix.first[this.column]));
    // While playing, a screen reader would be flooded.
    if (!this.playing) {
      stage.setAttribute("aria-valuetext", matrix.sentence(this.column));
      scrub.setAttribute("aria-valuetext", matrix.stepName(this.column));
    }
  }

  resized() {
    const width = Math.floor(this.parts.stage.clientWidth);
    if (width === this.width) return;
    this.width = width;
    this.image = null;
    this.draw();
  }

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
    const at = layoutOf(this.width, this.settings.height, this.events.length > 0);
    this.at = at;
    const { limit } = this.settings;
    const density = (window.devicePixelRatio || 1) * this.settings.scale;
    if (!this.image && this.matrix.columns) {
      this.image = imageOf(this.matrix, this.rows, this.theme.ramp, this.theme.dead, limit, at.plot * density);
    }
    const { matrix, image, theme, column, expert, hover, lit, rows, rowOf, events, playing } = this;
    const view = { matrix, image, theme, column, expert, hover, lit, rows, rowOf, events, playing, at, limit, density };
    drawAll(this.parts.plot, view);
    this.frames = (this.frames || 0) + 1;
  }
}

export default function (component) {
  const root = component.parentElement;
  let player = mounted.get(root);
  if (!player || !player.box.isConnected) {
    player = new Player(root);
    mounted.set(root, player);
    shared.mounts = (shared.mounts || 0) + 1;
  }
  player.update(component);
  return () => {
    player.stop(false);
    player.observer.disconnect();
    player.leavePage();
    shared.players.delete(player.id);
    mounted.delete(root);
  };
}
