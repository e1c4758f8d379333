// Tells the server which parts of the page that wait for it come into sight.

const MARGIN = "200px 0px";
const mounted = new WeakMap();

class Watcher {
  constructor() {
    this.observer = null;
  }

  /** `parts`: name -> class of its place; `waiting`: names; `known`: whether the server knows of the watcher. */
  update({ data, setTriggerValue }) {
    this.stop();
    const names = new Map();
    for (const [name, className] of Object.entries(data.parts)) {
      const place = document.querySelector(`.${className}`);
      if (place === null) continue;
      const waits = data.waiting.includes(name);
      place.toggleAttribute("data-waiting", waits);
      place.setAttribute("aria-busy", String(waits));
      if (waits) names.set(place, name);
    }
    if (!("IntersectionObserver" in window)) return;
    if (!data.known) setTriggerValue("report", []);
    else if (names.size) this.watch(names, setTriggerValue);
  }

  watch(names, report) {
    const root = document.querySelector('[data-testid="stMain"]');
    this.observer = new IntersectionObserver(
      (entries) => {
        const seen = entries.filter((entry) => entry.isIntersecting).map((entry) => names.get(entry.target));
        if (seen.length) report("report", seen);
      },
      { root, rootMargin: MARGIN },
    );
    for (const place of names.keys()) this.observer.observe(place);
  }

  stop() {
    this.observer?.disconnect();
  }
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
