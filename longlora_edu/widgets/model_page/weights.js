// Reads what packing.py wrote: the base as 8-bit or 16-bit numbers, the adapter beside it, and the positions.

// The packed file: 4 bytes with the length of a JSON header, the header, and the numbers of all tensors.
export function openPack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { header, numbers: buffer.slice(4 + length) };
}

// A number in 16 bits (IEEE 754 half precision), which typed arrays of today's browsers do not know everywhere.
export function halfToNumber(bits) {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? NaN : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

// One tensor as a Float32Array. Eight-bit rows come in blocks of 32 numbers, each with its own scale.
export function readTensor(numbers, { kind, shape, offset }) {
  const count = shape.reduce((product, size) => product * size, 1);
  if (kind === "f32") return new Float32Array(numbers.slice(offset, offset + 4 * count));
  if (kind === "f16")
    return Float32Array.from(new Uint16Array(numbers.slice(offset, offset + 2 * count)), halfToNumber);
  const [rows, columns] = shape;
  const blocks = Math.ceil(columns / 32);
  const small = new Int8Array(numbers, offset, count);
  const scalesAt = offset + count + (count % 2);
  const scales = new Uint16Array(numbers.slice(scalesAt, scalesAt + 2 * rows * blocks));
  const values = new Float32Array(count);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const scale = halfToNumber(scales[row * blocks + (column >> 5)]);
      values[row * columns + column] = small[row * columns + column] * scale;
    }
  return values;
}

// The three models of a pack: `before` is the base as it was trained, `stretched` the same weights with the positions
// of the longer context, `after` has the adapter on top. What the adapter leaves alone is shared.
export function readModels({ header, numbers }) {
  const read = (tensors) =>
    Object.fromEntries(Object.entries(tensors).map(([name, about]) => [name, readTensor(numbers, about)]));
  const base = read(header.tensors);
  base["lm_head.weight"] ??= base["model.embed_tokens.weight"];
  const adapted = merged(base, read(header.adapter), header.lora_scale, header.adapter);
  if (!("lm_head.weight" in header.tensors)) adapted["lm_head.weight"] = adapted["model.embed_tokens.weight"];
  const { before, stretched } = header.positions;
  const model = (weights, positions) => ({ shape: header.shape, weights, positions });
  return { before: model(base, before), stretched: model(base, stretched), after: model(adapted, stretched) };
}

// The base's weights with the adapter's: W + scale · B A where there is LoRA, replaced where a module trained whole.
export function merged(base, adapter, scale, about) {
  const weights = { ...base };
  for (const [name, values] of Object.entries(adapter)) {
    if (name.endsWith(".lora_B.weight")) continue;
    if (!name.endsWith(".lora_A.weight")) {
      weights[name] = values;
      continue;
    }
    const stem = name.slice(0, -".lora_A.weight".length);
    const [[rank, inner], B] = [about[name].shape, adapter[`${stem}.lora_B.weight`]];
    const changed = Float32Array.from(base[`${stem}.weight`]);
    for (let row = 0, at = 0; row < changed.length / inner; row++)
      for (let column = 0; column < inner; column++, at++) {
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += B[row * rank + r] * values[r * inner + column];
        changed[at] += scale * sum;
      }
    weights[`${stem}.weight`] = changed;
  }
  return weights;
}
