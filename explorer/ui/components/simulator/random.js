/**
 * NumPy's random numbers, bit for bit: SeedSequence, SFC64, normal numbers by its ziggurat, bounded integers.
 *
 * Sources: the algorithms of numpy.random (Generator, SFC64, SeedSequence); Marsaglia and Tsang (2000) for the
 * ziggurat. A 64-bit word is two 32-bit halves, low before high, which is also the order in which NumPy hands
 * out 32-bit words.
 */

const BLOCK = 4096;
const TAIL = 3.6541528853610088;
const AREA = 0.00492867323399;
const WORD = 2 ** 32;

/** State of a SeedSequence of a few 32-bit integers: 2n words of 32 bits. */
function seedWords(entropy, count) {
  let constant = 0x43b0d7e5;
  const hash = (value) => {
    const mixed = value ^ constant;
    constant = Math.imul(constant, 0x931e8875);
    const product = Math.imul(mixed, constant);
    return product ^ (product >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hash(i < entropy.length ? entropy[i] : 0));
  for (let source = 0; source < 4; source += 1) {
    for (let target = 0; target < 4; target += 1) {
      if (source === target) continue;
      const left = Math.imul(0xca01f9dd, pool[target]);
      const mixed = (left - Math.imul(0x4973f715, hash(pool[source]))) | 0;
      pool[target] = mixed ^ (mixed >>> 16);
    }
  }
  let out = 0x8b51f9dd;
  return Int32Array.from({ length: count }, (_, i) => {
    const mixed = pool[i % 4] ^ out;
    out = Math.imul(out, 0x58f38ded);
    const product = Math.imul(mixed, out);
    return product ^ (product >>> 16);
  });
}

/** The layers of the ziggurat with this many bits: inner bounds, widths and heights. */
function ziggurat(bits) {
  const height = (x) => Math.exp(-0.5 * x * x);
  const scale = 2 ** bits;
  const [inner, width, heights] = [1, 2, 3].map(() => new Float64Array(256));
  const base = AREA / height(TAIL);
  inner[0] = Math.floor((TAIL / base) * scale + 0.5);
  width[0] = base / scale;
  width[255] = TAIL / scale;
  heights[0] = 1;
  heights[255] = height(TAIL);
  for (let layer = 254, outer = TAIL; layer > 0; layer -= 1) {
    const x = Math.sqrt(-2 * Math.log(AREA / outer + height(outer)));
    inner[layer + 1] = Math.floor((x / outer) * scale + 0.5);
    width[layer] = x / scale;
    heights[layer] = height(x);
    outer = x;
  }
  return { inner, width, heights };
}

const WIDE = ziggurat(52);
const NARROW = (() => {
  const { inner, width, heights } = ziggurat(23);
  return {
    inner: Int32Array.from(inner),
    width: Float32Array.from(width),
    heights: Float32Array.from(heights),
  };
})();

/** `Generator(SFC64(SeedSequence(entropy)))` of NumPy. */
export class Random {
  constructor(...entropy) {
    const seed = seedWords(entropy, 6);
    this.state = Int32Array.from([...seed, 1, 0]);
    this.words = new Int32Array(BLOCK);
    this.#advance(24);
    this.at = BLOCK;
  }

  /** The next `count` words of 32 bits into `words`. */
  #advance(count) {
    const { state, words } = this;
    let [aL, aH, bL, bH, cL, cH, dL, dH] = state;
    for (let i = 0; i < count; i += 2) {
      let sum = (aL >>> 0) + (bL >>> 0);
      let high = (aH + bH + (sum >= WORD ? 1 : 0)) | 0;
      sum = ((sum | 0) >>> 0) + (dL >>> 0);
      high = (high + dH + (sum >= WORD ? 1 : 0)) | 0;
      const low = sum | 0;
      dL = (dL + 1) | 0;
      if (dL === 0) dH = (dH + 1) | 0;
      aL = bL ^ ((bL >>> 11) | (bH << 21));
      aH = bH ^ (bH >>> 11);
      sum = (cL >>> 0) + ((cL << 3) >>> 0);
      bL = sum | 0;
      bH = (cH + ((cH << 3) | (cL >>> 29)) + (sum >= WORD ? 1 : 0)) | 0;
      const turnedLow = (cL << 24) | (cH >>> 8);
      sum = (turnedLow >>> 0) + (low >>> 0);
      cH = (((cH << 24) | (cL >>> 8)) + high + (sum >= WORD ? 1 : 0)) | 0;
      cL = sum | 0;
      words[i] = low;
      words[i + 1] = high;
    }
    state.set([aL, aH, bL, bH, cL, cH, dL, dH]);
  }

  /** The next 32 bits, as a signed integer. */
  word() {
    if (this.at === BLOCK) {
      this.#advance(BLOCK);
      this.at = 0;
    }
    const word = this.words[this.at];
    this.at += 1;
    return word;
  }

  /** Standard normal numbers as float32, `standard_normal(count, dtype=float32)`. */
  normals(count) {
    const out = new Float32Array(count);
    const { inner, width } = NARROW;
    for (let i = 0; i < count; i += 1) {
      const word = this.word();
      const size = (word >>> 9) & 0x7fffff;
      const layer = word & 0xff;
      const x = size * width[layer];
      const isInside = size < inner[layer];
      out[i] = isInside ? (word & 0x100 ? -x : x) : this.#edge(word);
    }
    return out;
  }

  /** A normal number whose first try, `word`, was not inside its layer. */
  #edge(word) {
    const { inner, width, heights } = NARROW;
    for (let next = word; ; next = this.word()) {
      const size = (next >>> 9) & 0x7fffff;
      const layer = next & 0xff;
      const x = Math.fround(size * width[layer]);
      const signed = next & 0x100 ? -x : x;
      if (size < inner[layer]) return signed;
      if (layer === 0) return this.#tail(size);
      const low = heights[layer];
      const step = Math.fround(heights[layer - 1] - low);
      const y = Math.fround(Math.fround(step * this.#share()) + low);
      if (y < Math.exp(-0.5 * x * x)) return signed;
    }
  }

  #tail(size) {
    const [start, inverse] = [Math.fround(TAIL), Math.fround(1 / TAIL)];
    for (;;) {
      const x = Math.fround(-inverse * Math.fround(Math.log1p(-this.#share())));
      const y = -Math.fround(Math.log1p(-this.#share()));
      if (Math.fround(y + y) > Math.fround(x * x)) {
        const value = Math.fround(start + x);
        return size & 0x100 ? -value : value;
      }
    }
  }

  #share() {
    return (this.word() >>> 8) / 2 ** 24;
  }

  /** Standard normal numbers as float64. */
  wideNormals(count) {
    return Float64Array.from({ length: count }, () => this.#wideNormal());
  }

  #wideNormal() {
    const { inner, width, heights } = WIDE;
    for (;;) {
      const low = this.word();
      const high = this.word();
      const layer = low & 0xff;
      const size = (high & 0x1fffffff) * 2 ** 23 + (low >>> 9);
      const x = size * width[layer];
      const signed = low & 0x100 ? -x : x;
      if (size < inner[layer]) return signed;
      if (layer === 0) return this.#wideTail(low >>> 9);
      const y = (heights[layer - 1] - heights[layer]) * this.#wideShare() + heights[layer];
      if (y < Math.exp(-0.5 * x * x)) return signed;
    }
  }

  #wideTail(size) {
    for (;;) {
      const x = (-1 / TAIL) * Math.log1p(-this.#wideShare());
      const y = -Math.log1p(-this.#wideShare());
      if (y + y > x * x) return size & 0x100 ? -(TAIL + x) : TAIL + x;
    }
  }

  #wideShare() {
    const low = this.word();
    return ((this.word() >>> 0) * 2 ** 21 + (low >>> 11)) / 2 ** 53;
  }

  /** Whole numbers from 0 to `limit` - 1, `integers(0, limit, count)`; limit below 2^32. */
  integers(limit, count) {
    const out = new Int32Array(count);
    if (limit <= 1) return out;
    const threshold = (WORD - limit) % limit;
    for (let i = 0; i < count; i += 1) out[i] = this.#bounded(limit, threshold);
    return out;
  }

  /** Lemire's method: the high word of a 64-bit product, and another try where its low word is too small. */
  #bounded(limit, threshold) {
    for (;;) {
      const word = this.word() >>> 0;
      // Split, because a product of 64 bits does not fit into a number.
      const low = (word & 0xffff) * limit;
      const middle = (word >>> 16) * limit + Math.floor(low / 65536);
      const leftover = ((middle % 65536) * 65536 + (low % 65536)) >>> 0;
      if (leftover >= threshold) return Math.floor(middle / 65536);
    }
  }
}
