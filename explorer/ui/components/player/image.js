// The heatmap as one image, which the canvas stretches.

import { rampIndex } from "../shared/colours.js";

/** One pixel per cell; where steps outnumber pixels, neighbours are summed first, so no step is skipped. */
export function imageOf(matrix, rows, ramp, dead, limit, pixels) {
  const width = Math.max(1, Math.min(matrix.columns, Math.floor(pixels)));
  const height = Math.max(1, rows.length);
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
    for (let row = 0; row < rows.length; row++) {
      let tokens = 0;
      for (let c = from; c < to; c++) tokens += matrix.tokensOf(c, rows[row]);
      // A layer without any token was not recorded: its cells stay clear, and no expert is called idle.
      if (total === 0) continue;
      const even = (total * (rows[row].length ?? 1)) / matrix.experts;
      const ink = tokens > 0 ? ramp[rampIndex(tokens / even, limit)] : dead;
      image.data.set([ink[0], ink[1], ink[2], 255], (row * width + x) * 4);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
