/** Places of the labels at line ends, as `explorer/charts/labels.py` computes them. */

const LINE_PX = 14;

/** Centres near `places` whose intervals of the given sizes do not overlap, inside [low, high]. */
function spreadApart(places, sizes, low, high) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b] || a - b);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const scale = total > 0 ? Math.min(1, (high - low) / total) : 1;
  const half = sizes.map((size) => (size * scale) / 2);
  const centres = places.map(() => 0);
  let edge = low;
  for (const i of order) {
    centres[i] = Math.max(places[i], edge + half[i]);
    edge = centres[i] + half[i];
  }
  edge = high;
  for (const i of order.reverse()) {
    centres[i] = Math.min(centres[i], edge - half[i]);
    edge = centres[i] - half[i];
  }
  return centres;
}

/**
 * Rows of the labels. labels: [{text, end, light, dark, strong}]; `field` is the name of the y field. Labels
 * without a place on a logarithmic axis are left out.
 */
export function placed(labels, { field, low, high, height, isLog = false }) {
  const usable = labels.filter((label) => label.end > 0 || !isLog);
  const forward = isLog ? Math.log10 : (value) => value;
  const [bottom, top] = [forward(low), forward(high)];
  const span = Math.max(top - bottom, 1e-9);
  const lines = usable.map((label) => label.text.split("\n").length);
  const sizes = lines.map((count) => ((count * LINE_PX + 6) * span) / height);
  const ends = usable.map((label) => forward(label.end));
  const centres = spreadApart(ends, sizes, bottom, top);
  return usable.map((label, i) => ({
    ...label,
    [field]: isLog ? 10 ** centres[i] : centres[i],
    shift: (-(lines[i] - 1) / 2) * LINE_PX,
  }));
}
