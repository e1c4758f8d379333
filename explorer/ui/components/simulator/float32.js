/**
 * NumPy's arithmetic where its result depends on how it is computed.
 *
 * Numbers in JavaScript are float64; a float32 operation is one in float64 rounded by `Math.fround`, which gives
 * the same result for + - * / and, but for about one case in 10^9, for a fused multiply and add.
 */

const { fround } = Math;
const LOG2E = fround(Math.LOG2E);
const LN2 = [-0.693145752, -1.42860677e-6].map(fround);
const UPPER = [1, 0.72576646, 0.24736154, 0.051145121, 0.006757897, 0.00050827628].map(fround);
const LOWER = [1, -0.27423354, 0.021595094].map(fround);

/**
 * exp of float32 numbers in place, as NumPy computes it with AVX2 or AVX-512: a rational approximation after
 * Cody and Waite's range reduction. Elsewhere NumPy's own result may differ in the last bit.
 */
export function exponentials(values) {
  const [p0, p1, p2, p3, p4, p5] = UPPER;
  const [q0, q1, q2] = LOWER;
  for (let i = 0; i < values.length; i += 1) {
    const x = values[i];
    const power = roundEven(fround(x * LOG2E));
    const r = fround(power * LN2[1] + fround(power * LN2[0] + x));
    let top = fround(p5 * r + p4);
    top = fround(top * r + p3);
    top = fround(top * r + p2);
    top = fround(top * r + p1);
    top = fround(top * r + p0);
    const bottom = fround(fround(q2 * r + q1) * r + q0);
    values[i] = fround(top / bottom) * 2 ** power;
  }
  return values;
}

const MAGIC = 1.5 * 2 ** 23;

/** To the nearest whole number, ties to even, for float32 numbers below 2^22. */
function roundEven(x) {
  return fround(fround(x + MAGIC) - MAGIC);
}

const BLOCK = 128;

/** Pairwise sum of `count` numbers from `start`, rounded by `round` after every addition; `numpy.add.reduce`. */
export function pairwiseSum(values, start, count, round = (x) => x) {
  if (count < 8) {
    let sum = 0;
    for (let i = start; i < start + count; i += 1) sum = round(sum + values[i]);
    return sum;
  }
  if (count > BLOCK) {
    const half = count / 2 - ((count / 2) % 8);
    const left = pairwiseSum(values, start, half, round);
    return round(left + pairwiseSum(values, start + half, count - half, round));
  }
  const r = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => values[start + i]);
  const whole = count - (count % 8);
  for (let i = 8; i < whole; i += 8) {
    for (let j = 0; j < 8; j += 1) r[j] = round(r[j] + values[start + i + j]);
  }
  const left = round(round(r[0] + r[1]) + round(r[2] + r[3]));
  let sum = round(left + round(round(r[4] + r[5]) + round(r[6] + r[7])));
  for (let i = whole; i < count; i += 1) sum = round(sum + values[start + i]);
  return sum;
}

/** `mean(-1)` of float64 numbers. */
export function mean(values) {
  return pairwiseSum(values, 0, values.length) / values.length;
}
