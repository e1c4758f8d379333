/**
 * A css gradient with hard stops: a stripe per colour, as wide as its share of the gates (alike without
 * gates).
 */
export function stripes(colours, gates) {
  if (!colours.length) return "none";
  const shares = gates ?? colours.map(() => 1);
  const total = shares.reduce((a, b) => a + b, 0) || 1;
  let at = 0;
  const stops = colours.map((colour, slot) => {
    const from = at;
    at += (100 * shares[slot]) / total;
    return `${colour} ${from.toFixed(1)}% ${at.toFixed(1)}%`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
