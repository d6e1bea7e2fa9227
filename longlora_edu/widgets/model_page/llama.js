// The forward pass of a Llama: what longlora_edu/model/llama.py computes, with keys and values kept between calls.

import { gate, multiply, norm, rotate, softmax } from "./kernel.js";
import { keeps, keyRanges, runs } from "./pattern.js";

const CHUNK = 64; // tokens that go through a layer together

// What has been computed for one text: per layer rotated queries and keys (token by token) and values (feature by
// feature, so that weighted sums of them are products of rows), and the scores of the next byte behind each token.
export function newCache({ shape }, capacity) {
  const { layers, heads, kvHeads, headDim, vocabulary } = shape;
  const layer = () => ({
    q: new Float32Array(capacity * heads * headDim),
    k: new Float32Array(capacity * kvHeads * headDim),
    v: new Float32Array(capacity * kvHeads * headDim),
  });
  return {
    capacity,
    length: 0,
    layers: Array.from({ length: layers }, layer),
    logits: new Float32Array(capacity * vocabulary),
    nats: new Float32Array(capacity), // what each next byte cost, as far as `priced`
    priced: 0,
  };
}

const tables = new Map(); // positions of a pack -> its cosines and sines, as far as they were needed

function angles(positions, length) {
  const { frequencies, scale } = positions;
  const half = frequencies.length;
  let table = tables.get(positions);
  if (table && table.length >= length) return table;
  table = { length, cos: new Float32Array(length * half), sin: new Float32Array(length * half) };
  for (let p = 0, at = 0; p < length; p++)
    for (let i = 0; i < half; i++, at++) {
      const angle = Math.fround(p * frequencies[i]); // torch multiplies in 32 bits, and far positions show it
      table.cos[at] = Math.fround(Math.cos(angle)) * scale;
      table.sin[at] = Math.fround(Math.sin(angle)) * scale;
    }
  tables.set(positions, table);
  return table;
}

// Computes tokens `cache.length` … `ids.length` - 1 and puts them into the cache. A generator: it yields how much is
// done, from 0 to 1, after at most a chunk of tokens, so that its caller can show it, listen, or stop asking.
export function* forward(model, cache, ids, pattern) {
  const { shape, weights, positions } = model;
  const { layers, heads, kvHeads, headDim, width, ffnWidth, vocabulary, epsilon } = shape;
  const [total, begin] = [ids.length, cache.length];
  if (total > cache.capacity) throw new RangeError(`text must have at most ${cache.capacity} bytes, got ${total}`);
  if (!keeps(pattern) && begin > 0) throw new RangeError("nothing can be kept under wrap: begin with an empty cache");
  const { cos, sin } = angles(positions, cache.capacity);
  const [half, queryWidth, keyWidth] = [headDim / 2, heads * headDim, kvHeads * headDim];
  const span = keeps(pattern) ? CHUNK : Math.max(1, total - begin); // under wrap a layer needs all of the one below
  const x = new Float32Array(span * width);
  const normed = new Float32Array(CHUNK * width);
  const heard = new Float32Array(CHUNK * queryWidth);
  const values = new Float32Array(CHUNK * keyWidth);
  const [opened, up] = [new Float32Array(CHUNK * ffnWidth), new Float32Array(CHUNK * ffnWidth)];
  const scores = new Float32Array(CHUNK * (total + 1));
  const linear = (from, name, inner, to, outer, rows, first = 0, keep = false) =>
    multiply(from, 0, inner, weights[name], 0, inner, to, first * outer, outer, rows, outer, inner, keep);
  const normAll = (first, rows, start, name) => {
    for (let row = 0; row < rows; row++)
      norm(x, (first - start + row) * width, weights[name], epsilon, normed, row * width);
  };

  for (let start = begin; start < total; start += span) {
    const stop = Math.min(start + span, total);
    const chunks = [];
    for (let first = start; first < stop; first += CHUNK) chunks.push([first, Math.min(CHUNK, stop - first)]);
    for (let at = start; at < stop; at++) {
      const row = weights["model.embed_tokens.weight"].subarray(ids[at] * width, (ids[at] + 1) * width);
      x.set(row, (at - start) * width);
    }
    for (let layer = 0; layer < layers; layer++) {
      const name = (part) => `model.layers.${layer}.${part}.weight`;
      const { q, k, v } = cache.layers[layer];
      for (const [first, rows] of chunks) {
        normAll(first, rows, start, name("input_layernorm"));
        linear(normed, name("self_attn.q_proj"), width, q, queryWidth, rows, first);
        linear(normed, name("self_attn.k_proj"), width, k, keyWidth, rows, first);
        linear(normed, name("self_attn.v_proj"), width, values, keyWidth, rows);
        for (let row = 0; row < rows; row++) {
          const [at, angle] = [first + row, (first + row) * half];
          for (let head = 0; head < heads; head++) rotate(q, at * queryWidth + head * headDim, half, cos, sin, angle);
          for (let head = 0; head < kvHeads; head++) rotate(k, at * keyWidth + head * headDim, half, cos, sin, angle);
          for (let i = 0; i < keyWidth; i++) v[i * cache.capacity + at] = values[row * keyWidth + i];
        }
      }
      for (const [at, [first, rows]] of chunks.entries()) {
        for (let head = 0; head < heads; head++)
          attend(
            shape,
            cache,
            layer,
            head,
            runs(pattern, total, heads, head, first, first + rows, CHUNK),
            scores,
            heard,
            first,
          );
        const here = first - start;
        linear(heard, name("self_attn.o_proj"), queryWidth, x, width, rows, here, true);
        normAll(first, rows, start, name("post_attention_layernorm"));
        linear(normed, name("mlp.gate_proj"), width, opened, ffnWidth, rows);
        linear(normed, name("mlp.up_proj"), width, up, ffnWidth, rows);
        gate(opened, up, rows * ffnWidth);
        linear(opened, name("mlp.down_proj"), ffnWidth, x, width, rows, here, true);
        const share = (layer + (at + 1) / chunks.length) / layers;
        if (chunks.length > 1) yield (start - begin + share * (stop - start)) / (total - begin);
      }
    }
    for (const [first, rows] of chunks) {
      normAll(first, rows, start, "model.norm.weight");
      linear(normed, "lm_head.weight", width, cache.logits, vocabulary, rows, first);
    }
    cache.length = stop;
    yield (stop - begin) / (total - begin);
  }
}

// Attention of one head for runs of queries, whose weighted values go to `heard`, one row a token after `first`.
function attend({ heads, kvHeads, headDim }, cache, layer, head, queries, scores, heard, first) {
  const { q, k, v } = cache.layers[layer];
  const kvHead = Math.floor(head / (heads / kvHeads)); // grouped-query attention: several heads read the same keys
  const [queryStep, keyStep] = [heads * headDim, kvHeads * headDim];
  for (const run of queries) {
    const rows = run.last - run.first + 1;
    const ranges = [...run.earlier, [run.start, run.last + 1]];
    const length = ranges.reduce((sum, [start, stop]) => sum + stop - start, 0);
    const queryAt = run.first * queryStep + head * headDim;
    let column = 0;
    for (const [start, stop] of ranges) {
      const keyAt = start * keyStep + kvHead * headDim;
      multiply(q, queryAt, queryStep, k, keyAt, keyStep, scores, column, length, rows, stop - start, headDim);
      column += stop - start;
    }
    for (let row = 0; row < rows; row++)
      softmax(scores, row * length, length - (rows - 1 - row), length, 1 / Math.sqrt(headDim));
    const [outAt, valueAt] = [(run.first - first) * queryStep + head * headDim, kvHead * headDim * cache.capacity];
    column = 0;
    for (const [start, stop] of ranges) {
      const from = valueAt + start;
      multiply(
        scores,
        column,
        length,
        v,
        from,
        cache.capacity,
        heard,
        outAt,
        queryStep,
        rows,
        headDim,
        stop - start,
        column > 0,
      );
      column += stop - start;
    }
  }
}

// Where a token looks: on each head of a layer, the probability of every token of the text, 0 where it may not look.
export function looks({ shape }, cache, pattern, layer, query) {
  const { heads, kvHeads, headDim } = shape;
  const { q, k } = cache.layers[layer];
  return Array.from({ length: heads }, (_, head) => {
    const ranges = keyRanges(pattern, cache.length, heads, head, query);
    const length = ranges.reduce((sum, [start, stop]) => sum + stop - start, 0);
    const found = new Float32Array(length);
    const queryAt = (query * heads + head) * headDim;
    const keyStep = kvHeads * headDim;
    let column = 0;
    for (const [start, stop] of ranges) {
      const keyAt = start * keyStep + Math.floor(head / (heads / kvHeads)) * headDim;
      multiply(q, queryAt, 0, k, keyAt, keyStep, found, column, length, 1, stop - start, headDim);
      column += stop - start;
    }
    softmax(found, 0, length, length, 1 / Math.sqrt(headDim));
    const weights = new Float32Array(cache.length);
    column = 0;
    for (const [start, stop] of ranges) {
      weights.set(found.subarray(column, column + stop - start), start);
      column += stop - start;
    }
    return weights;
  });
}
