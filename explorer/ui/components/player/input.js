// Pointer and keyboard. Adds methods to Player; loaded after it, in the same module.

Object.assign(Player.prototype, {
  listen() {
    const { stage, scrub, play, previous, next, speed } = this.parts;
    play.onclick = () => this.toggle();
    previous.onclick = () => this.nudge(-1);
    next.onclick = () => this.nudge(1);
    scrub.oninput = () => {
      this.dragging = true;
      this.go(Number(scrub.value));
    };
    scrub.onchange = () => {
      this.dragging = false;
      this.report();
    };
    scrub.onkeydown = (event) => event.key === " " && (event.preventDefault(), this.toggle());
    speed.onchange = () => (this.lastTime = null);
    stage.onpointerdown = (event) => this.pressed(event);
    stage.onpointermove = (event) => this.moved(event);
    stage.onpointerup = (event) => this.released(event);
    stage.onpointercancel = () => (this.dragging = false);
    stage.onpointerleave = () => this.left();
    stage.onkeydown = (event) => this.key(event);
    stage.onkeyup = (event) => this.moving && ((this.moving = false), this.report(), event.preventDefault());
    stage.onblur = () => this.moving && ((this.moving = false), this.report());
  },

  nudge(by) {
    this.go(this.column + by);
    this.report();
  },

  /** Where the pointer is, in the pixels that the picture is drawn in: a lecture enlarges them. */
  place(event) {
    const { stage } = this.parts;
    const box = stage.getBoundingClientRect();
    const scale = box.width / (stage.clientWidth || box.width) || 1;
    return [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
  },

  /** Which cell lies under the pointer: column null on the bars and left of the plot. */
  cellAt(event) {
    const { at, matrix } = this;
    if (!at || !matrix.columns) return null;
    const [x, y] = this.place(event);
    if (y < at.top || y >= at.top + at.tall) return null;
    const row = Math.min(matrix.experts - 1, Math.floor(((y - at.top) / at.tall) * matrix.experts));
    const expert = this.rows[row];
    const inside = x >= at.left && x < at.left + at.plot;
    const column = inside ? Math.floor(((x - at.left) / at.plot) * matrix.columns) : null;
    return { column, expert, x, y };
  },

  /** The events whose sign lies under the pointer. */
  marksAt(event) {
    const { at, matrix } = this;
    if (!at || !this.events.length || !matrix.columns) return [];
    const [x, y] = this.place(event);
    if (y >= at.top || y < at.top - 4 * MARK) return [];
    return this.events.filter((one) => Math.abs(markAt(matrix, at, one) - x) <= 2 * MARK);
  },

  /** To an event: its step, and its expert if it is about one. */
  jump(event) {
    if (Number.isInteger(event.expert)) this.choose(event.expert);
    this.go(this.matrix.columnOf(event.step));
    this.report();
  },

  pressed(event) {
    if (event.button !== 0) return;
    const cell = this.cellAt(event);
    const [mark] = cell ? [] : this.marksAt(event);
    if (mark) this.jump(mark);
    if (!cell) return;
    this.dragging = cell.column !== null;
    if (this.dragging) this.parts.stage.setPointerCapture(event.pointerId);
    this.choose(cell.expert);
    if (cell.column !== null) this.go(cell.column);
  },

  moved(event) {
    const cell = this.cellAt(event);
    if (this.dragging) {
      const share = (this.place(event)[0] - this.at.left) / this.at.plot;
      this.go(share * this.matrix.columns);
    }
    this.hover = cell;
    this.light(cell ? cell.expert : null);
    const marks = cell ? [] : this.marksAt(event);
    this.parts.stage.classList.toggle("on-mark", marks.length > 0);
    if (marks.length) this.tellMarks(marks, event);
    else this.tell(cell);
    if (!this.playing) this.draw();
  },

  released(event) {
    const cell = this.cellAt(event);
    if (!this.dragging && !cell) return;
    this.dragging = false;
    this.report();
  },

  left() {
    this.hover = null;
    this.light(null);
    this.parts.tip.hidden = true;
    if (!this.playing) this.draw();
  },

  /** The tooltip: exact counts of the cell, or of this expert at the playhead when over the bars. */
  tell(cell) {
    const { tip } = this.parts;
    tip.hidden = !cell;
    if (!cell) return;
    const { matrix } = this;
    const column = cell.column ?? this.column;
    const tokens = matrix.tokens(column, cell.expert);
    const bias = matrix.biasAt(column, cell.expert);
    const lines = [
      `${tokens.toLocaleString("en-US")} tokens`,
      tokens ? `${matrix.ratio(column, cell.expert).toFixed(2)} × uniform` : "no tokens: idle",
      ...(bias === null ? [] : [`bias ${bias >= 0 ? "+" : "−"}${Math.abs(bias).toFixed(4)}`]),
    ];
    this.say(`expert ${cell.expert}, ${matrix.stepName(column)}`, lines, cell.x, cell.y - 20);
  },

  tellMarks(marks, event) {
    this.parts.tip.hidden = false;
    const more = marks.length > 5 ? [`and ${marks.length - 5} more`] : [];
    const lines = [...marks.slice(0, 5).map((mark) => `step ${mark.step}: ${mark.label}`), ...more];
    this.say(marks.length > 1 ? "events" : "event", lines, this.place(event)[0], this.at.top + 8);
  },

  say(title, lines, x, y) {
    const { tip } = this.parts;
    const head = document.createElement("b");
    head.textContent = title;
    tip.replaceChildren(
      head,
      ...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line })),
    );
    const right = x + 16 + tip.offsetWidth > this.width;
    const left = right ? Math.max(0, x - tip.offsetWidth - 14) : x + 16;
    const top = Math.min(Math.max(0, y), Math.max(0, this.settings.height - tip.offsetHeight));
    tip.style.transform = `translate(${left}px, ${top}px)`;
  },

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const stride = event.shiftKey ? 10 : 1;
    const page = Math.max(1, Math.round(this.matrix.columns / 10));
    const last = this.matrix.columns - 1;
    const to = {
      ArrowLeft: this.column - stride,
      ArrowRight: this.column + stride,
      PageDown: this.column - page,
      PageUp: this.column + page,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === " ") {
      if (!event.repeat) this.toggle();
    } else if (to !== undefined) {
      this.go(to);
      this.moving = true;
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const by = event.key === "ArrowUp" ? -1 : 1;
      // By rows as they are shown, whatever their order.
      const row = this.expert === null ? 0 : this.rowOf[this.expert] + by;
      this.choose(this.rows[Math.max(0, Math.min(this.matrix.experts - 1, row))]);
      this.moving = true;
    } else {
      return;
    }
    event.preventDefault();
  },
});
