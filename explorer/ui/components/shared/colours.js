// Colours as numbers, and how the player takes over the theme of the page.

/** `#rrggbb` or `rgb(…)` as [red, green, blue]; white where the text is no colour. */
export function rgbOf(text) {
  const hex = /^#([0-9a-f]{6})$/i.exec(text.trim());
  if (hex) return [0, 2, 4].map((i) => Number.parseInt(hex[1].slice(i, i + 2), 16));
  const numbers = text.match(/[\d.]+/g);
  return numbers ? numbers.slice(0, 3).map(Number) : [255, 255, 255];
}

function linear(channel) {
  const share = channel / 255;
  return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
}

export function isDark(colour) {
  const [r, g, b] = rgbOf(colour).map(linear);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.3;
}

/** 256 colours from -limit to +limit on the log2 scale. */
export function rampOf(stops) {
  const inks = stops.map(rgbOf);
  const ramp = [];
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (inks.length - 1);
    const left = Math.min(Math.floor(at), inks.length - 2);
    ramp.push(inks[left].map((v, k) => Math.round(v + (inks[left + 1][k] - v) * (at - left))));
  }
  return ramp;
}

/** Place in the ramp of a load relative to uniform. */
export function rampIndex(ratio, limit) {
  const value = Math.log2(ratio) / limit;
  return Math.max(0, Math.min(255, Math.round((value + 1) * 127.5)));
}

/** Colours and fonts of the page around `box`; `key` changes when the heatmap must be drawn anew. */
export function readTheme(box, { colours, limit }) {
  const style = getComputedStyle(box);
  const value = (name, other) => style.getPropertyValue(name).trim() || other;
  const paper = value("--st-background-color", "#ffffff");
  const dark = isDark(paper);
  const inks = dark ? colours.dark : colours.light;
  const family = style.fontFamily || "sans-serif";
  return {
    dark,
    key: [paper, dark, limit, inks.stops.join()].join(),
    stops: inks.stops,
    paper,
    ink: value("--st-text-color", "#222222"),
    quiet: dark ? "#A9B0BC" : "#5A6270",
    line: value("--st-border-color", "#cccccc"),
    font: `12px ${family}`,
    bold: `600 12px ${family}`,
    small: `10.5px ${family}`,
    ramp: rampOf(inks.stops),
    rampText: (inks.bars ? rampOf(inks.bars) : []).map((rgb) => `rgb(${rgb.join(" ")})`),
    dead: rgbOf(inks.dead),
    deadText: inks.dead,
  };
}
