// Everything that is drawn: the heatmap as one image, and around it axes, playhead and bars.

function rgbOf(text) {
  const hex = /^#([0-9a-f]{6})$/i.exec(text.trim());
  if (hex) return [0, 2, 4].map((i) => parseInt(hex[1].slice(i, i + 2), 16));
  const numbers = text.match(/[\d.]+/g);
  return numbers ? numbers.slice(0, 3).map(Number) : [255, 255, 255];
}

function isDark(colour) {
  const [r, g, b] = rgbOf(colour).map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 0.3;
}

/** 256 colours from -limit to +limit on the log2 scale. */
function rampOf(stops) {
  const inks = stops.map(rgbOf);
  const ramp = [];
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (inks.length - 1);
    const left = Math.min(Math.floor(at), inks.length - 2);
    ramp.push(inks[left].map((v, k) => Math.round(v + (inks[left + 1][k] - v) * (at - left))));
  }
  return ramp;
}

function rampIndex(ratio, limit) {
  const value = Math.log2(ratio) / limit;
  return Math.max(0, Math.min(255, Math.round((value + 1) * 127.5)));
}

/** One pixel a cell; where steps outnumber pixels, neighbours are summed first, so no step is skipped. */
function imageOf(matrix, rows, ramp, dead, limit, pixels) {
  const width = Math.max(1, Math.min(matrix.columns, Math.floor(pixels)));
  const height = Math.max(1, matrix.experts);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let x = 0; x < width; x++) {
    const from = Math.floor((x * matrix.columns) / width);
    const to = Math.max(from + 1, Math.floor(((x + 1) * matrix.columns) / width));
    let total = 0;
    for (let c = from; c < to; c++) total += matrix.totals[c] || 0;
    for (let row = 0; row < matrix.experts; row++) {
      let tokens = 0;
      for (let c = from; c < to; c++) tokens += matrix.tokens(c, rows[row]);
      const ink = tokens > 0 ? ramp[rampIndex((tokens * matrix.experts) / total, limit)] : dead;
      image.data.set([ink[0], ink[1], ink[2], 255], (row * width + x) * 4);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const EDGE = { top: 26, bottom: 26, left: 40, right: 6, gap: 26 };

/** Where things lie, in CSS pixels; signs of events need a row of their own under the words. */
function layoutOf(width, height, marked) {
  const top = EDGE.top + (marked ? 11 : 0);
  const bars = width < 360 ? 0 : Math.max(96, Math.min(230, width * 0.2));
  const plot = Math.max(40, width - EDGE.left - EDGE.right - (bars ? bars + EDGE.gap : 0));
  return {
    width, height, plot,
    left: EDGE.left,
    top,
    lift: top - EDGE.top + 9,
    tall: height - top - EDGE.bottom,
    bars,
    barsLeft: EDGE.left + plot + EDGE.gap,
  };
}

function niceStep(span, wanted) {
  const raw = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  return Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((v) => v >= raw) || 10 * power);
}

function drawAxes(context, view) {
  const { matrix, at, theme } = view;
  context.fillStyle = theme.quiet;
  context.font = theme.font;
  const row = at.tall / matrix.experts;
  const every = niceStep(matrix.experts, at.tall / 18);
  context.textAlign = "right";
  context.textBaseline = "middle";
  const bold = [view.lit, view.expert].filter((expert) => expert !== null).map((expert) => view.rowOf[expert]);
  for (let r = 0; r < matrix.experts; r += every) {
    if (bold.some((place) => Math.abs(r - place) * row < 13)) continue;
    context.fillText(String(view.rows[r]), at.left - 7, at.top + (r + 0.5) * row);
  }
  context.fillStyle = theme.ink;
  context.font = theme.bold;
  for (const [i, place] of bold.entries()) {
    // The one under the pointer comes first; the chosen one gives way to it.
    if (i && place !== bold[0] && Math.abs(place - bold[0]) * row < 13) continue;
    context.fillText(String(view.rows[place]), at.left - 7, at.top + (place + 0.5) * row);
  }
  context.fillStyle = theme.quiet;
  context.font = theme.font;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillText("expert", 0, at.top - at.lift);
  context.textBaseline = "top";
  const [low, high] = [matrix.first[0], matrix.last[matrix.columns - 1]];
  const stride = niceStep(high - low + 1, at.plot / 90);
  for (let step = Math.ceil(low / stride) * stride; step <= high; step += stride) {
    const x = at.left + (matrix.columnOf(step) / matrix.columns) * at.plot;
    const text = (step === Math.ceil(low / stride) * stride ? "step " : "") + step.toLocaleString("en-US");
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.max(at.left, Math.min(at.left + at.plot - 2 * half, x - half)), at.top + at.tall + 8);
  }
}

function drawPlayhead(context, view) {
  const { matrix, at, theme } = view;
  const x = at.left + ((view.column + 0.5) / matrix.columns) * at.plot;
  if (view.playing) {
    context.globalAlpha = 0.5;
    context.fillStyle = theme.paper;
    context.fillRect(x, at.top, at.left + at.plot - x, at.tall);
    context.globalAlpha = 1;
  }
  // A line in the page's colour around it keeps the playhead visible on any cell.
  context.fillStyle = theme.paper;
  context.fillRect(x - 2, at.top, 4, at.tall);
  context.fillStyle = theme.ink;
  context.fillRect(x - 1, at.top - 5, 2, at.tall + 5);
  context.font = theme.bold;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  const text = matrix.stepName(view.column);
  const wide = context.measureText(text).width;
  context.fillText(text, Math.max(at.left + 44, Math.min(at.left + at.plot - wide, x - wide / 2)), at.top - at.lift);
}

/** A frame that shows on any cell: the page's colour outside, the text's inside. */
function frameBox(context, theme, x, y, wide, tall) {
  context.lineWidth = 3;
  context.strokeStyle = theme.paper;
  context.strokeRect(x, y, wide, tall);
  context.lineWidth = 1;
  context.strokeStyle = theme.ink;
  context.strokeRect(x, y, wide, tall);
}

function drawRow(context, view, expert) {
  const { matrix, at, theme } = view;
  const row = at.tall / matrix.experts;
  const y = Math.round(at.top + view.rowOf[expert] * row) - 0.5;
  const tall = Math.max(3, Math.round(row)) + 1;
  frameBox(context, theme, at.left + 0.5, y, at.plot - 1, tall);
  // What lights up does so in the bars as well.
  if (expert === view.lit && at.bars) frameBox(context, theme, at.barsLeft - 2.5, y, at.bars - 2, tall);
}

function drawBars(context, view) {
  const { matrix, at, theme, limit } = view;
  if (!at.bars) return;
  const top = 2 ** limit;
  const row = at.tall / matrix.experts;
  const pad = row >= 6 ? Math.min(3, row * 0.14) : 0;
  const scale = (at.bars - 34) / top;
  const unit = at.barsLeft + scale;
  for (let r = 0; r < matrix.experts; r++) {
    const e = view.rows[r];
    const ratio = matrix.ratio(view.column, e);
    const y = at.top + r * row + pad;
    const tall = Math.max(1, row - 2 * pad);
    if (matrix.tokens(view.column, e) === 0) {
      context.fillStyle = theme.deadText;
      context.fillRect(at.barsLeft, y, 3, tall);
      continue;
    }
    const wide = Math.min(ratio, top) * scale;
    context.fillStyle = theme.rampText[rampIndex(ratio, limit)];
    context.fillRect(at.barsLeft, y, wide, tall);
    context.globalAlpha = 0.55;
    context.fillStyle = theme.ink;
    context.fillRect(at.barsLeft + wide - 1, y, 1.5, tall);
    context.globalAlpha = 1;
    if (ratio > top) {
      context.font = theme.small;
      context.textAlign = "left";
      context.textBaseline = "middle";
      if (row >= 9) context.fillText(`×${ratio.toFixed(ratio < 10 ? 1 : 0)}`, at.barsLeft + wide + 4, y + tall / 2);
      else context.fillRect(at.barsLeft + wide + 3, y + tall / 2 - 1, 5, 2);
    }
    if (e === view.expert) {
      context.strokeStyle = theme.ink;
      context.lineWidth = 1;
      context.strokeRect(at.barsLeft - 0.5, y - 0.5, wide + 1, tall + 1);
    }
  }
  drawBarAxis(context, view, unit, scale, top);
}

function drawBarAxis(context, view, unit, scale, top) {
  const { at, theme } = view;
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(at.barsLeft - 0.5, at.top);
  context.lineTo(at.barsLeft - 0.5, at.top + at.tall);
  context.stroke();
  context.strokeStyle = theme.ink;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(unit, at.top - 3);
  context.lineTo(unit, at.top + at.tall);
  context.stroke();
  context.setLineDash([]);
  context.font = theme.bold;
  context.fillStyle = theme.ink;
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText("uniform", Math.max(unit, at.barsLeft + 22), at.top - at.lift);
  context.font = theme.font;
  context.fillStyle = theme.quiet;
  context.textBaseline = "top";
  for (let power = 1; power <= top; power *= 2) {
    if (power > 1 && power < top && scale * power < 30) continue;
    const mark = power === top ? `≥ ×${power}` : `×${power}`;
    context.fillText(mark, at.barsLeft + power * scale, at.top + at.tall + 8);
  }
}

function drawHover(context, view) {
  const { matrix, at, theme, hover } = view;
  if (!hover || hover.column === null) return;
  const wide = at.plot / matrix.columns;
  const tall = at.tall / matrix.experts;
  const x = at.left + hover.column * wide;
  frameBox(context, theme, x - 1, at.top + view.rowOf[hover.expert] * tall - 1, Math.max(3, wide) + 2, Math.max(3, tall) + 2);
}

const MARK = 5;

function markAt(matrix, at, event) {
  return at.left + ((matrix.columnOf(event.step) + 0.5) / matrix.columns) * at.plot;
}

/** A small sign for every event above the heatmap, at the step where it happened. */
function drawMarks(context, view) {
  const { matrix, at, theme } = view;
  context.fillStyle = theme.ink;
  context.font = theme.font;
  context.textAlign = "center";
  context.textBaseline = "middle";
  let last = -Infinity;
  for (const event of view.events) {
    const x = markAt(matrix, at, event);
    // Those that would lie on each other share a sign; the tooltip names them all.
    if (x - last < 2 * MARK) continue;
    last = x;
    context.fillText(event.sign, x, at.top - MARK - 2);
  }
}

function drawAll(canvas, view) {
  const { at, density } = view;
  if (canvas.width !== Math.round(at.width * density) || canvas.height !== Math.round(at.height * density)) {
    canvas.width = Math.round(at.width * density);
    canvas.height = Math.round(at.height * density);
    canvas.style.height = `${at.height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, at.width, at.height);
  if (!view.matrix.columns) {
    context.fillStyle = view.theme.quiet;
    context.font = view.theme.font;
    context.textAlign = "center";
    context.fillText("no expert loads recorded for this view", at.width / 2, at.height / 2);
    return;
  }
  context.imageSmoothingEnabled = false;
  context.drawImage(view.image, at.left, at.top, at.plot, at.tall);
  drawAxes(context, view);
  if (view.expert !== null) drawRow(context, view, view.expert);
  drawMarks(context, view);
  drawPlayhead(context, view);
  drawBars(context, view);
  if (view.lit !== null) drawRow(context, view, view.lit);
  drawHover(context, view);
}
