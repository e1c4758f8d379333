// A heatmap of loads on a canvas: what comes from Python, the pointer, the keys, and the cell that is picked.

import { readTheme } from "../shared/colours.js";
import { hoveredExpert } from "../shared/page_state.js";
import { linkHoveredExpert } from "../shared/vega_bridge.js";
import { Cells } from "./cells.js";
import { listenToKeys } from "./keys.js";
import { drawAll, layoutOf } from "./paint.js";
import { listenToPointer } from "./pointer.js";
import { StepWindow } from "./window.js";

class LoadMap {
  /** The expert under the pointer, here or in a linked chart. */
  lit = null;
  /** The cell that the pointer or the keys are on. */
  cursor = null;

  constructor(root) {
    this.box = root.querySelector(".load-map");
    this.stage = root.querySelector(".stage");
    this.canvas = root.querySelector(".plot");
    this.tip = root.querySelector(".tip");
    this.said = root.querySelector(".said");
    this.title = root.querySelector(".title");
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.stage);
    listenToPointer(this);
    listenToKeys(this);
  }

  update(component) {
    const { data } = component;
    this.component = component;
    this.data = data;
    this.box.style.zoom = data.scale;
    this.title.textContent = data.title;
    this.stage.setAttribute("aria-label", data.alt);
    if (data.version !== this.version) this.replaceCells(data);
    const theme = readTheme(this.box, data);
    if (theme.key !== this.theme?.key) this.image = null;
    this.theme = theme;
    if (data.scope !== this.scope) this.link(data.scope);
    // At once: this call comes with a frame of its own.
    this.paint();
  }

  /** Other cells of the same steps keep the zoom. */
  replaceCells(data) {
    this.version = data.version;
    this.cells = new Cells(data);
    this.image = null;
    this.cursor = null;
    if (this.window?.whole.join() !== this.cells.span.join()) {
      this.window = new StepWindow(this.cells.span, this.cells.columns);
    }
  }

  link(scope) {
    this.unlink?.();
    this.scope = scope;
    this.lit = null;
    const unlink = linkHoveredExpert(scope);
    const unsubscribe = hoveredExpert(scope).subscribe((expert) => {
      this.lit = this.cells.rowOf(expert);
      this.draw();
    });
    this.unlink = () => {
      hoveredExpert(scope).publish(null);
      unsubscribe();
      unlink();
    };
  }

  leave() {
    cancelAnimationFrame(this.pending);
    this.observer.disconnect();
    this.unlink?.();
  }

  /** The pointer or a key is on this cell, or on none. */
  point(cursor) {
    this.cursor = cursor;
    hoveredExpert(this.scope).publish(cursor ? this.cells.ownerOf(cursor.expert) : null);
    this.draw();
  }

  pick() {
    if (!this.cursor) return;
    const { expert, column } = this.cursor;
    this.component.setTriggerValue("picked", {
      expert: this.cells.expertAt(expert, column),
      first_step: this.cells.first[column],
    });
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
    const width = Math.floor(this.stage.clientWidth);
    if (!this.cells || !this.theme || !width) return;
    this.image ??= this.cells.image(this.theme);
    this.at = layoutOf(width, this.data.height, {
      hasNames: Boolean(this.cells.names),
      isMarked: this.data.marked,
    });
    this.stage.classList.toggle("zoomed", !this.window.isWhole);
    drawAll(this.canvas, this, (devicePixelRatio || 1) * this.data.scale);
  }
}

const mounted = new WeakMap();

export default function mount(component) {
  const root = component.parentElement;
  if (!mounted.get(root)?.box.isConnected) mounted.set(root, new LoadMap(root));
  const map = mounted.get(root);
  map.update(component);
  return () => {
    map.leave();
    mounted.delete(root);
  };
}
