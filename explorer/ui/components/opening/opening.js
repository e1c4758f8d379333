// Two heatmaps of real runs that play side by side, once; with a preference for less motion they stand at their end.

const SECONDS = 9;
const DEAD = 255;
const AHEAD = 0.3;

function decode(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function rgb(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

/** 256 colours: 0 ... 254 from the lowest load to the highest, 255 for an expert without tokens. */
function palette(stops, dead) {
  const table = [];
  for (let level = 0; level < DEAD; level += 1) {
    const at = (level / (DEAD - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const [a, b] = [rgb(stops[low]), rgb(stops[low + 1])];
    table.push(a.map((value, i) => Math.round(value + (b[i] - value) * (at - low))));
  }
  table.push(rgb(dead));
  return table;
}

function isDark(element) {
  const paper = getComputedStyle(element).getPropertyValue("--st-background-color").trim();
  const [r, g, b] = /^#[0-9a-f]{6}/i.test(paper) ? rgb(paper) : [255, 255, 255];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}

/** The whole film as one picture, one pixel per cell. */
function picture(film, table) {
  const levels = decode(film.levels);
  const columns = levels.length / film.experts;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, film.experts];
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, film.experts);
  for (let column = 0; column < columns; column += 1) {
    for (let expert = 0; expert < film.experts; expert += 1) {
      const at = 4 * (expert * columns + column);
      image.data.set([...table[levels[column * film.experts + expert]], 255], at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function build(box, films) {
  const place = box.querySelector(".films");
  place.replaceChildren();
  return films.map((film) => {
    const figure = element("figure", "film");
    const title = element("div", "title");
    const swatch = element("i", "");
    swatch.style.background = film.colour;
    title.append(swatch, element("b", "", film.title));
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", film.alt);
    const axis = element("div", "axis");
    axis.append(element("span", "", `${film.experts} experts`), element("span", "", "training →"));
    figure.append(title, canvas, axis, element("figcaption", "", film.finding));
    place.append(figure);
    return canvas;
  });
}

function legend(box, data, table, dead) {
  const ramp = box.querySelector(".ramp");
  const brush = ramp.getContext("2d");
  for (let x = 0; x < ramp.width; x += 1) {
    brush.fillStyle = `rgb(${table[Math.floor((x / ramp.width) * DEAD)].join()})`;
    brush.fillRect(x, 0, 1, ramp.height);
  }
  box.querySelector(".dead").style.background = dead;
  box.querySelector(".low").textContent = data.low;
  box.querySelector(".high").textContent = data.high;
}

/** Two pictures that are uncovered from the left by one clock. */
class Opening {
  constructor(box, data) {
    this.box = box;
    this.steps = data.steps;
    const dark = isDark(box);
    const { stops, dead } = data.colours[dark ? 1 : 0];
    const table = palette(stops, dead);
    const films = data.films.map((film) => ({ ...film, colour: film.colours[dark ? 1 : 0] }));
    this.canvases = build(box, films);
    this.pictures = films.map((film) => picture(film, table));
    legend(box, data, table, dead);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.share = still ? 1 : 0;
    this.playing = !still && films.length > 0;
    this.last = null;
    this.frame = 0;
    this.button = box.querySelector(".play");
    this.button.onclick = () => this.toggle();
    for (const part of box.querySelectorAll(".bar, .key")) part.hidden = films.length === 0;
  }

  draw() {
    this.canvases.forEach((canvas, i) => {
      this.uncover(canvas, this.pictures[i]);
    });
    if (this.steps.length > 0) {
      const column = Math.max(0, Math.round(this.steps.length * this.share) - 1);
      this.box.querySelector(".now").textContent = `Step ${this.steps[column].toLocaleString("en")}`;
    }
    const name = this.playing ? "Pause" : this.share >= 1 ? "Play again" : "Play";
    if (this.button.textContent !== name) this.button.textContent = name;
  }

  uncover(canvas, image) {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    // What is still to come is there from the first moment, faintly: an empty half reads as no data.
    context.globalAlpha = this.share < 1 ? AHEAD : 1;
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
    const width = Math.round(image.width * this.share);
    if (width === 0) return;
    const reach = (canvas.width * width) / image.width;
    context.drawImage(image, 0, 0, width, image.height, 0, 0, reach, canvas.height);
    if (this.share < 1) {
      context.fillStyle = getComputedStyle(this.box).color;
      context.fillRect(reach, 0, 2 * scale, canvas.height);
    }
  }

  tick(time) {
    if (this.playing && this.last !== null) {
      this.share = Math.min(1, this.share + (time - this.last) / (1000 * SECONDS));
      this.playing = this.share < 1;
    }
    this.last = time;
    this.draw();
    this.frame = this.playing ? requestAnimationFrame((now) => this.tick(now)) : 0;
  }

  start() {
    this.last = null;
    if (this.frame === 0) this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  toggle() {
    if (!this.playing && this.share >= 1) this.share = 0;
    this.playing = !this.playing;
    this.start();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.playing = false;
  }
}

export default function opening({ parentElement, data }) {
  const film = new Opening(parentElement.querySelector(".opening"), data);
  const observer = new ResizeObserver(() => film.draw());
  observer.observe(film.box);
  film.start();
  return () => {
    observer.disconnect();
    film.stop();
  };
}
