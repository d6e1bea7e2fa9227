// What the page asks of the models: one text after another, of which what stays the same is never computed again.

import { surprise } from "./kernel.js";
import { forward, looks, newCache } from "./llama.js";
import { keeps, usable } from "./pattern.js";

const KEPT = 4; // caches at a time: one of 2,048 bytes takes some 20 MB

export function newSession({ header, models, capacity = header.context }) {
  const caches = new Map(); // "after s2 512" -> { cache, ids }

  // The cache of a model and a pattern, shortened to what it shares with `ids`; the oldest makes room for a new one.
  function cacheFor(model, pattern, ids, anew) {
    const key = pattern.name === "dense" ? `${model} dense` : `${model} ${pattern.name} ${pattern.group}`;
    const known = caches.get(key) ?? { cache: newCache(models[model], capacity), ids: [] };
    caches.delete(key);
    caches.set(key, known);
    if (caches.size > KEPT) caches.delete(caches.keys().next().value);
    let shared = 0;
    while (shared < Math.min(known.cache.length, ids.length) && known.ids[shared] === ids[shared]) shared++;
    const whole = shared === ids.length && known.cache.length === ids.length;
    known.cache.length = (keeps(pattern) || whole) && !anew ? shared : 0;
    known.cache.priced = Math.min(known.cache.priced, Math.max(0, known.cache.length - 1));
    known.ids = Uint8Array.from(ids);
    return known.cache;
  }

  // Runs a model over the bytes of a text; a generator of shares done, which returns how many bytes were used (wrap
  // takes whole groups), how many had to be computed, and the nats that each next byte cost. With `anew` nothing that
  // was kept is used.
  function* run({ model, pattern, ids: text, anew = false }) {
    const ids = text.slice(0, usable(pattern, text.length));
    const cache = cacheFor(model, pattern, ids, anew);
    const fresh = ids.length - cache.length;
    if (fresh > 0) yield* forward(models[model], cache, ids, pattern);
    const { vocabulary } = header.shape;
    const last = Math.max(0, ids.length - 1);
    for (let at = Math.min(cache.priced, last); at < last; at++)
      cache.nats[at] = surprise(cache.logits, at * vocabulary, vocabulary, ids[at + 1]);
    cache.priced = last;
    const nats = cache.nats.slice(0, last);
    return { cache, used: ids.length, fresh, nats };
  }

  // The scores of the byte that follows token `at`.
  const scores = (cache, at) => cache.logits.subarray(at * header.shape.vocabulary, (at + 1) * header.shape.vocabulary);

  // Where token `query` looks, on each head of each layer.
  const lookingFrom = (model, pattern, cache, query) =>
    cache.layers.map((_, layer) => looks(models[model], cache, pattern, layer, query));

  return { run, scores, lookingFrom, capacity };
}

// Runs a generator to its end at once.
export function finish(generator) {
  for (;;) {
    const { done, value } = generator.next();
    if (done) return value;
  }
}
