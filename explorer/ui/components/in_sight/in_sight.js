// Tells the server which parts of the page are in sight, when this changes.

const MARGIN = "200px 0px";
const REST_MS = 150;
const LATEST_MS = 1000;
const REPEAT_MS = 3000;
const MOST_REPEATS = 3;
const mounted = new WeakMap();

class Watcher {
  constructor() {
    this.observer = null;
    this.timer = undefined;
  }

  /** `parts`: name -> class of its place; `waiting`: names; `seen`: what the server last heard, or null. */
  update({ data, setTriggerValue }) {
    this.stop();
    this.data = data;
    this.report = () => setTriggerValue("report", [...this.visible]);
    this.visible = new Set();
    const names = new Map();
    for (const [name, className] of Object.entries(data.parts)) {
      const place = document.querySelector(`.${className}`);
      if (place === null) continue;
      const waits = data.waiting.includes(name);
      place.toggleAttribute("data-waiting", waits);
      place.setAttribute("aria-busy", String(waits));
      names.set(place, name);
    }
    if ("IntersectionObserver" in window) this.watch(names);
  }

  watch(names) {
    const root = document.querySelector('[data-testid="stMain"]');
    this.observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (isIntersecting) this.visible.add(names.get(target));
          else this.visible.delete(names.get(target));
        }
        this.settle();
      },
      { root, rootMargin: MARGIN },
    );
    for (const place of names.keys()) this.observer.observe(place);
  }

  isNews() {
    const { seen, waiting } = this.data;
    if (seen === null || waiting.some((name) => this.visible.has(name))) return true;
    return seen.length !== this.visible.size || seen.some((name) => !this.visible.has(name));
  }

  /** Reports what is in sight once the page rests, and again if the server does not answer. */
  settle(repeats = 0) {
    this.rest();
    if (!this.isNews()) return;
    const send = () => {
      if (!this.observer || !this.isNews()) return;
      if (isBusy()) return this.settle(repeats);
      this.report();
      if (repeats < MOST_REPEATS) this.timer = setTimeout(() => this.settle(repeats + 1), REPEAT_MS);
    };
    const idle = () => {
      if (window.requestIdleCallback) requestIdleCallback(send, { timeout: LATEST_MS });
      else send();
    };
    this.timer = setTimeout(() => (isBusy() ? this.settle(repeats) : idle()), REST_MS);
  }

  rest() {
    clearTimeout(this.timer);
  }

  stop() {
    this.rest();
    this.observer?.disconnect();
    this.observer = null;
  }
}

/** Whether a run of the script is asked for or under way. A report carries the values of all widgets: before the
 *  page has taken up those of the last answer, it would take the last click back. */
function isBusy() {
  const app = document.querySelector("[data-test-script-state]");
  return app !== null && app.dataset.testScriptState !== "notRunning";
}

export default function mount(component) {
  const root = component.parentElement;
  const watcher = mounted.get(root) ?? new Watcher();
  mounted.set(root, watcher);
  watcher.update(component);
  return () => {
    watcher.stop();
    mounted.delete(root);
  };
}
