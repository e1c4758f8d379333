// What reaches beyond the canvas: keys that work on the whole page, the list of them, and the expert under the
// pointer, which figures and players show together. Adds methods to Player; loaded after it.

const PICK_EVENT = "moe-pick";
// What needs a key for itself keeps it: all keys, those that press it, or those that move within it.
const TYPED_IN =
  "input:not([type=checkbox], [type=radio], [type=button], [type=range]), textarea, select, " +
  "[contenteditable]:not([contenteditable=false]), [role=textbox], [role=searchbox], [role=combobox], " +
  "[role=spinbutton], [role=listbox], [role=menu], [role=grid], [role=dialog], dialog";
const PRESSED = "button, a[href], summary, input, [role=button], [role=link], [role=checkbox], [role=switch], [role=tab], [role=radio], [role=option]";
const MOVED_IN = "input, [role=slider]:not(.stage), [role=radio], [role=tab], [role=tree], [role=toolbar]";
const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

function isTaken(event) {
  const path = event.composedPath().filter((node) => node instanceof Element);
  const within = (names) => path.some((element) => element.matches(names));
  if (within(TYPED_IN) || document.querySelector("[role=dialog][aria-modal=true], dialog[open]")) return true;
  if (event.key === " ") return within(PRESSED);
  return MOVES.has(event.key) && within(MOVED_IN);
}

Object.assign(Player.prototype, {
  listenToPage() {
    const { help, list, close } = this.parts;
    help.onclick = () => list.showModal();
    close.onclick = () => list.close();
    // A click beside the list closes it: only then the dialog itself is the target.
    list.onclick = (event) => event.target === list && list.close();
    this.heard = () => this.showLit();
    this.picked = () => this.follow();
    this.onKey = (event) => this.pageKey(event);
    this.onKeyUp = () => this.moving && ((this.moving = false), this.report());
    this.onDown = (event) => (this.down = [event.clientX, event.clientY]);
    this.onUp = (event) => (this.up = [event.clientX, event.clientY]);
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("keyup", this.onKeyUp);
    document.addEventListener("pointerdown", this.onDown, true);
    document.addEventListener("pointerup", this.onUp, true);
    document.head.addEventListener(PICK_EVENT, this.picked);
  },

  leavePage() {
    clearTimeout(this.asking);
    this.light(null);
    this.link(null);
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("keyup", this.onKeyUp);
    document.removeEventListener("pointerdown", this.onDown, true);
    document.removeEventListener("pointerup", this.onUp, true);
    document.head.removeEventListener(PICK_EVENT, this.picked);
  },

  // --- the expert under the pointer ----------------------------------------------------------

  /** Join those who show the expert under the pointer together; null leaves them. */
  link(scope) {
    if (this.scope === scope) return;
    const root = document.documentElement;
    if (this.scope) root.removeEventListener(this.scope, this.heard);
    this.scope = scope;
    if (scope) root.addEventListener(scope, this.heard);
    this.lit = null;
  },

  /** Tell them that it is this one, or none. */
  light(expert) {
    const root = document.documentElement;
    if (!this.scope || (root.value ?? null) === expert) return;
    root.value = expert;
    root.dispatchEvent(new Event(this.scope));
  },

  showLit() {
    const expert = document.documentElement.value;
    const known = Number.isInteger(expert) && expert >= 0 && expert < this.matrix.experts;
    this.lit = known ? expert : null;
    if (!this.playing) this.draw();
  },

  /** A point of a figure was clicked: go to its step and single its expert out. */
  follow() {
    const head = document.head;
    const found = /^(\d+)@(\d+)$/.exec(head.value || "");
    if (!found || !this.settings.follow || !this.matrix.columns) return;
    const [expert, step] = found.slice(1).map(Number);
    // The figure forgets it, so that the same point can be clicked again.
    setTimeout(() => {
      head.value = "";
      head.dispatchEvent(new Event(PICK_EVENT));
    });
    // The end of a drag is a click, too.
    const moved = this.down && this.up ? Math.hypot(this.up[0] - this.down[0], this.up[1] - this.down[1]) : 0;
    if (moved > 5 || expert >= this.matrix.experts) return;
    this.choose(expert);
    this.go(this.matrix.columnOf(step));
    this.report();
  },

  // --- keys ----------------------------------------------------------------------------------

  pageKey(event) {
    if (!this.settings?.keys || event.defaultPrevented || !this.matrix.columns) return;
    if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event)) return;
    const letter = event.key.toLowerCase();
    if (event.key === "?") this.parts.list.showModal();
    else if (letter === "j") this.changeLayer(1);
    else if (letter === "k") this.changeLayer(-1);
    else if (event.key === "[") this.jumpBy(-1);
    else if (event.key === "]") this.jumpBy(1);
    else if (event.key === " " || MOVES.has(event.key)) return this.key(event);
    else return undefined;
    event.preventDefault();
    return undefined;
  },

  /** Another layer at the same step and expert; Python brings its matrix. */
  changeLayer(by) {
    const { layer, layers } = this.settings;
    if (layer === null) return;
    const from = shared.wanted ? shared.wanted.layer : layer;
    const to = Math.max(0, Math.min(layers - 1, from + by));
    if (to === from) return;
    shared.wanted = { layer: to, time: performance.now() };
    this.stop(false);
    this.askForLayer();
  },

  /**
   * Several quick keys are one request; one that was pressed while Python made the next layer's player finds
   * its answer there, since a request of a player that is gone by then is lost.
   */
  askForLayer() {
    const { wanted } = shared;
    clearTimeout(this.asking);
    if (!wanted || wanted.layer === this.settings.layer || performance.now() - wanted.time > 3000) {
      shared.wanted = null;
      return;
    }
    this.asking = setTimeout(() => this.send({ layer: wanted.layer }), 80);
  },

  /** The nearest event before or after the playhead. */
  jumpBy(by) {
    const here = this.column;
    const there = this.events.map((event) => [this.matrix.columnOf(event.step), event]);
    const ahead = there.filter(([column]) => (by > 0 ? column > here : column < here));
    if (!ahead.length) return;
    ahead.sort((a, b) => by * (a[0] - b[0]));
    this.jump(ahead[0][1]);
  },
});
