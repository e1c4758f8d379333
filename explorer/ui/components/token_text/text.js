// The probe batch as chips: what Python sends, how it is drawn, and what is picked.

import { listenToKeys } from "./keys.js";
import { listenToPointer } from "./pointer.js";
import { stripes } from "./stripes.js";
import { expertWords, spoken, written } from "./words.js";

const PICK_EVENT = "picked";
const PENDING_MS = 4000;

export class TokenText {
  constructor(root) {
    const find = (name) => root.querySelector(`.${name}`);
    this.box = find("probe");
    this.key = find("key");
    this.legend = find("legend");
    this.texts = find("texts");
    this.tip = find("tip");
    this.stage = find("stage");
    this.chips = [];
    this.expert = null;
    this.looks = [];
    this.keys = [];
    this.pending = null;
    listenToPointer(this);
    listenToKeys(this);
  }

  // --- what comes from Python ---------------------------------------------------------------

  update(component) {
    this.component = component;
    const { text, token, expert, mode, label, height } = component.data;
    const isNew = text.version !== this.version;
    this.text = text;
    this.texts.style.maxHeight = `${height}rem`;
    this.texts.setAttribute("aria-label", label);
    this.key.setAttribute("aria-label", "Experts: one click marks the tokens of an expert");
    const isOther = isNew && this.build();
    const isEarlier = this.isEarlierAnswer(token, expert);
    const marked = isEarlier ? this.expert : expert;
    if (isNew || mode !== this.mode || marked !== this.expert) {
      this.mode = mode;
      this.expert = marked;
      this.paint();
    }
    if (isEarlier) return;
    this.pending = null;
    this.select(token, isOther || token !== this.token);
  }

  /** Whether this answers an earlier click while a later one is under way: it would jump back. */
  isEarlierAnswer(token, expert) {
    const { pending } = this;
    if (!pending || performance.now() - pending.time >= PENDING_MS) return false;
    return pending.token !== token || pending.expert !== expert;
  }

  colour(expert) {
    return this.text.colours[expert % this.text.colours.length];
  }

  ink(expert) {
    return this.text.inks[expert % this.text.inks.length];
  }

  /** Whether the tokens are others than before. */
  build() {
    const { text } = this;
    this.version = text.version;
    // The same tokens after other steps or in another layer keep their chips, and so the place in the text.
    const words = JSON.stringify([text.texts, text.sequences, text.experts]);
    if (words === this.words) return false;
    this.words = words;
    this.looks = [];
    this.chips = text.texts.map((word, index) => this.chip(word, index));
    this.texts.replaceChildren(...text.sequences.map((sequence, at) => this.sequence(sequence, at)));
    this.buildKey();
    return true;
  }

  chip(word, index) {
    const chip = document.createElement("span");
    chip.className = "token";
    chip.setAttribute("role", "option");
    chip.tabIndex = -1;
    chip.dataset.index = index;
    chip.append(...written(word));
    if (this.text.experts > this.text.colours.length) {
      chip.append(Object.assign(document.createElement("span"), { className: "number" }));
    }
    return chip;
  }

  sequence([domain, start, end], at) {
    const group = document.createElement("div");
    group.className = "sequence";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `${domain}, text ${at + 1} of ${this.text.sequences.length}`);
    const head = Object.assign(document.createElement("div"), { className: "domain", textContent: domain });
    head.setAttribute("aria-hidden", "true");
    const line = Object.assign(document.createElement("div"), { className: "tokens" });
    line.setAttribute("role", "presentation");
    line.append(...this.chips.slice(start, end));
    group.append(head, line);
    return group;
  }

  buildKey() {
    this.keys = Array.from({ length: this.text.experts }, (_, expert) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: expert });
      button.style.setProperty("--c", this.colour(expert));
      button.style.setProperty("--i", this.ink(expert));
      button.setAttribute("aria-label", `Expert ${expert}`);
      button.tabIndex = expert ? -1 : 0;
      button.onclick = () => this.mark(expert);
      return button;
    });
    this.key.replaceChildren(...this.keys);
  }

  // --- drawing ------------------------------------------------------------------------------

  paint() {
    const { text, mode, expert } = this;
    const one = expert !== null;
    this.texts.classList.toggle("all", mode === "all");
    this.texts.classList.toggle("one", one);
    this.key.classList.toggle("one", one);
    if (one) {
      this.texts.style.setProperty("--m", this.colour(expert));
      this.texts.style.setProperty("--i", this.ink(expert));
    }
    for (const [index, chip] of this.chips.entries()) this.paintChip(chip, index, one);
    for (const [e, button] of this.keys.entries()) {
      button.setAttribute("aria-pressed", String(one && e === expert));
    }
    this.legend.textContent = text.chosen.length ? legend(mode, expert) : "";
  }

  paintChip(chip, index, one) {
    const { text, mode, expert } = this;
    const experts = text.chosen[index];
    const first = experts[0];
    const has = one && experts.includes(expert);
    const on = has && (mode === "all" || first === expert);
    const who = mode === "all" || one ? expertWords(experts) : expertWords(experts.slice(0, 1));
    const bands =
      mode === "all"
        ? stripes(
            experts.map((e) => this.colour(e)),
            text.gates?.[index],
          )
        : "";
    // Most tokens look as before when another expert is marked.
    const colour = first === undefined ? "" : this.colour(first);
    const look = [on, has, colour, who, bands].join("|");
    if (this.looks[index] === look) return;
    this.looks[index] = look;
    chip.classList.toggle("on", on);
    chip.classList.toggle("other", has && !on);
    if (colour) chip.style.setProperty("--c", colour);
    else chip.style.removeProperty("--c");
    if (bands) chip.style.setProperty("--stripes", bands);
    const number = chip.querySelector(".number");
    // Many numbers would be longer than the token; the stripes and the tooltip say them.
    const numbers = mode === "all" ? (experts.length > 2 ? [] : experts) : experts.slice(0, 1);
    if (number) number.textContent = numbers.join(" ");
    chip.setAttribute("aria-label", `${spoken(text.texts[index])}: ${who}`);
  }

  /** Marks a token as the one under the microscope. */
  select(token, show) {
    this.chips[this.token]?.setAttribute("aria-selected", "false");
    this.token = token;
    const chip = this.chips[token];
    if (!chip) return;
    chip.setAttribute("aria-selected", "true");
    this.rove(token);
    if (show) this.reveal(chip);
  }

  /** The one chip that Tab reaches. */
  rove(index) {
    const before = this.chips[this.roving];
    if (before) before.tabIndex = -1;
    this.roving = index;
    if (this.chips[index]) this.chips[index].tabIndex = 0;
  }

  /** Scrolls the text, and never the page. */
  reveal(chip) {
    const box = this.texts;
    const [top, bottom] = [chip.offsetTop - 34, chip.offsetTop + chip.offsetHeight + 12];
    if (top < box.scrollTop) box.scrollTop = Math.max(0, top);
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  }

  // --- what goes to Python ------------------------------------------------------------------

  pick(token) {
    this.select(token, true);
    this.tell();
  }

  /** A click on the marked expert marks nobody. */
  mark(expert) {
    this.expert = expert === this.expert ? null : expert;
    this.paint();
    this.tell();
  }

  /** Both at once: of two quick clicks a busy server hears the last one alone. */
  tell() {
    const { token, expert } = this;
    this.pending = { token, expert, time: performance.now() };
    this.component.setTriggerValue(PICK_EVENT, { token, expert });
  }
}

/** What the colours of the chips mean; `expert` is the marked one. */
function legend(mode, expert) {
  const isMarked = expert !== null;
  if (mode === "all") {
    return isMarked
      ? `Filled: tokens of expert ${expert}`
      : "Stripes: the experts of a token, as wide as their gates";
  }
  return isMarked
    ? `Filled: first choice is expert ${expert}. Framed: it is a later choice`
    : "Colour: the first choice of a token";
}
