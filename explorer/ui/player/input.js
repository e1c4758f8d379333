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

  /** Which cell lies under the pointer: column null on the bars and left of the plot. */
  cellAt(event) {
    const { at, matrix } = this;
    if (!at || !matrix.columns) return null;
    const box = this.parts.stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (y < at.top || y >= at.top + at.tall) return null;
    const expert = Math.min(matrix.experts - 1, Math.floor(((y - at.top) / at.tall) * matrix.experts));
    const inside = x >= at.left && x < at.left + at.plot;
    const column = inside ? Math.floor(((x - at.left) / at.plot) * matrix.columns) : null;
    return { column, expert, x, y };
  },

  pressed(event) {
    if (event.button !== 0) return;
    const cell = this.cellAt(event);
    if (!cell) return;
    this.dragging = cell.column !== null;
    if (this.dragging) this.parts.stage.setPointerCapture(event.pointerId);
    this.choose(cell.expert);
    if (cell.column !== null) this.go(cell.column);
  },

  moved(event) {
    const cell = this.cellAt(event);
    if (this.dragging) {
      const box = this.parts.stage.getBoundingClientRect();
      const share = (event.clientX - box.left - this.at.left) / this.at.plot;
      this.go(share * this.matrix.columns);
    }
    this.hover = cell;
    this.tell(cell);
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
    const head = document.createElement("b");
    head.textContent = `expert ${cell.expert}, ${matrix.stepName(column)}`;
    tip.replaceChildren(
      head,
      ...lines.map((line) => Object.assign(document.createElement("span"), { textContent: line })),
    );
    const right = cell.x + 16 + tip.offsetWidth > this.width;
    const top = Math.min(Math.max(0, cell.y - 20), Math.max(0, this.settings.height - tip.offsetHeight));
    tip.style.transform = `translate(${right ? cell.x - tip.offsetWidth - 14 : cell.x + 16}px, ${top}px)`;
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
      this.choose(this.expert === null ? 0 : this.expert + by);
      this.moving = true;
    } else {
      return;
    }
    event.preventDefault();
  },
});
