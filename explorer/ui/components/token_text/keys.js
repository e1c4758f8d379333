// Pointer and keyboard. Adds methods to TokenText; loaded after it, in the same module.

Object.assign(TokenText.prototype, {
  listen() {
    const chipOf = (event) => event.target.closest?.(".token");
    this.texts.onclick = (event) => {
      const chip = chipOf(event);
      if (chip) this.pick(Number(chip.dataset.index));
    };
    this.texts.onpointerover = (event) => this.hover(chipOf(event));
    this.texts.onpointerleave = () => this.hover(null);
    this.texts.onkeydown = (event) => this.pressed(event, chipOf(event));
    this.key.onkeydown = (event) => this.keyPressed(event);
  },

  /** The tooltip, and the experts of the token in the key. */
  hover(chip) {
    const { tip, text } = this;
    const index = chip ? Number(chip.dataset.index) : null;
    const experts = chip ? text.chosen[index] : [];
    this.keys?.forEach((button, expert) => button.classList.toggle("near", experts.includes(expert)));
    tip.hidden = !chip;
    if (!chip) return;
    const head = document.createElement("b");
    head.append(...written(text.texts[index]));
    const lines = experts.map((expert, slot) => {
      const line = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.style.background = this.colour(expert);
      const gate = text.gates ? `, gate ${(text.gates[index][slot] / 100).toFixed(2)}` : "";
      line.append(swatch, `expert ${expert}${gate}`);
      return line;
    });
    if (!lines.length) lines.push(said("no expert takes it"));
    if (text.moved?.[index]) lines.push(said("the bias changed its experts"));
    tip.replaceChildren(head, ...lines);
    const [stage, at] = [this.stage.getBoundingClientRect(), chip.getBoundingClientRect()];
    const left = Math.min(Math.max(0, at.left - stage.left), Math.max(0, stage.width - tip.offsetWidth));
    const below = at.bottom - stage.top + 8;
    const fits = below + tip.offsetHeight <= stage.height;
    const top = fits ? below : at.top - stage.top - tip.offsetHeight - 8;
    tip.style.transform = `translate(${left}px, ${top}px)`;
  },

  pressed(event, chip) {
    if (!chip || event.ctrlKey || event.metaKey || event.altKey) return;
    const index = Number(chip.dataset.index);
    const sequence = this.text.sequences.findIndex(([, start, end]) => index >= start && index < end);
    const startOf = (at) => this.text.sequences[at]?.[1];
    const to = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      ArrowUp: this.beside(chip, -1),
      ArrowDown: this.beside(chip, 1),
      Home: startOf(sequence),
      End: this.text.sequences[sequence]?.[2] - 1,
      PageUp: startOf(sequence - 1) ?? startOf(sequence),
      PageDown: startOf(sequence + 1) ?? index,
    }[event.key];
    if (event.key === "Enter" || event.key === " ") this.pick(index);
    else if (to !== undefined) this.go(to);
    else return;
    event.preventDefault();
  },

  go(index) {
    const chip = this.chips[Math.min(Math.max(index, 0), this.chips.length - 1)];
    if (!chip) return;
    this.rove(Number(chip.dataset.index));
    chip.focus({ preventScroll: true });
    this.reveal(chip);
    this.hover(chip);
  },

  /** The chip in the line above or below whose middle is nearest. */
  beside(chip, by) {
    const index = Number(chip.dataset.index);
    const middle = chip.offsetLeft + chip.offsetWidth / 2;
    let [best, line] = [index, null];
    let least = Infinity;
    for (let i = index + by; i >= 0 && i < this.chips.length; i += by) {
      const other = this.chips[i];
      if (other.offsetTop === chip.offsetTop) continue;
      line ??= other.offsetTop;
      if (other.offsetTop !== line) break;
      const away = Math.abs(other.offsetLeft + other.offsetWidth / 2 - middle);
      if (away < least) [best, least] = [i, away];
    }
    return best;
  },

  keyPressed(event) {
    const at = this.keys.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.keys.length - 1;
    const to = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: last }[
      event.key
    ];
    if (to === undefined) return;
    const next = this.keys[Math.min(Math.max(to, 0), last)];
    this.keys.forEach((button) => (button.tabIndex = button === next ? 0 : -1));
    next.focus();
    event.preventDefault();
  },
});

function said(words) {
  const line = document.createElement("span");
  line.textContent = words;
  return line;
}
