// Arrays of numbers as they come from Python (`components/packing.py`).

function bytesOf(base64) {
  const raw = atob(base64);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

const NUMBER_KINDS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i2: Int16Array, i4: Int32Array };

export function numbersOf(packed) {
  return new NUMBER_KINDS[packed.kind](bytesOf(packed.base64).buffer);
}
