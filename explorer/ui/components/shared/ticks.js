// Round numbers on an axis.

/** The round number (1, 2 or 5 times a power of ten) that cuts `span` into at most `wanted` parts. */
export function niceStep(span, wanted) {
  const raw = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  return Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((v) => v >= raw) || 10 * power);
}

/**
 * The labels `{left, wide}` from left to right that leave `gap` pixels after the one before: where steps are
 * missing, columns that stand side by side may have round numbers both.
 */
export function apart(labels, gap = 6) {
  const kept = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const label of labels) {
    if (label.left < end + gap) continue;
    kept.push(label);
    end = label.left + label.wide;
  }
  return kept;
}
