// Two heatmaps of real runs that play side by side, once; with a preference for less motion they stand at their end.

const SECONDS = 9;
const DEAD = 255;

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
    axis.append(element("span", "", `${film.experts} experts`), element("span", "", "training steps →"));
    figure.append(title, canvas, axis, element("figcaption", "", film.finding));
    place.append(figure);
    return canvas;
  });
}

export default function opening({ parentElement, data }) {
  const box = parentElement.querySelector(".opening");
  const dark = isDark(box);
  const { stops, dead } = data.colours[dark ? "dark" : "light"];
  const table = palette(stops, dead);
  const canvases = build(box, data.films.map((film) => ({ ...film, colour: film.colours[dark ? 1 : 0] })));
  const pictures = data.films.map((film) => picture(film, table));
  const [button, now] = [box.querySelector(".play"), box.querySelector(".now")];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const state = { share: still ? 1 : 0, playing: !still, last: null, frame: 0 };

  const ramp = box.querySelector(".ramp");
  const brush = ramp.getContext("2d");
  for (let x = 0; x < ramp.width; x += 1) {
    brush.fillStyle = `rgb(${table[Math.floor((x / ramp.width) * DEAD)].join()})`;
    brush.fillRect(x, 0, 1, ramp.height);
  }
  box.querySelector(".dead").style.background = dead;
  box.querySelector(".low").textContent = data.low;
  box.querySelector(".high").textContent = data.high;

  function draw() {
    canvases.forEach((canvas, i) => {
      const scale = devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight];
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      const shown = Math.round(pictures[i].width * state.share);
      if (shown > 0) {
        const reach = (canvas.width * shown) / pictures[i].width;
        context.drawImage(pictures[i], 0, 0, shown, pictures[i].height, 0, 0, reach, canvas.height);
        if (state.share < 1) {
          context.fillStyle = getComputedStyle(box).color;
          context.fillRect(reach, 0, 2 * scale, canvas.height);
        }
      }
    });
    const steps = data.steps;
    now.textContent = `Step ${steps[Math.max(0, Math.round(steps.length * state.share) - 1)].toLocaleString("en")}`;
    const name = state.playing ? "Pause" : state.share >= 1 ? "Play again" : "Play";
    if (button.textContent !== name) {
      button.textContent = name;
      button.setAttribute("aria-label", name);
    }
  }

  function tick(time) {
    if (state.playing && state.last !== null) {
      state.share = Math.min(1, state.share + (time - state.last) / (1000 * SECONDS));
      state.playing = state.share < 1;
    }
    state.last = time;
    draw();
    state.frame = state.playing ? requestAnimationFrame(tick) : 0;
  }

  function start() {
    state.last = null;
    if (state.frame === 0) state.frame = requestAnimationFrame(tick);
  }

  button.onclick = () => {
    if (!state.playing && state.share >= 1) state.share = 0;
    state.playing = !state.playing;
    start();
  };
  const observer = new ResizeObserver(() => draw());
  observer.observe(box);
  start();
  return () => {
    observer.disconnect();
    cancelAnimationFrame(state.frame);
  };
}
