// The engine's worker: one job after another, each of which says how far it is and can be stopped.

import { chances, drawn, likeliest, seeded } from "./chances.js";
import { newSession } from "./session.js";
import { openPack, readModels } from "./weights.js";

const jobs = {
  async load({ pack }) {
    const opened = openPack(pack);
    session = newSession({ header: opened.header, models: readModels(opened) });
    return { header: opened.header };
  },

  // A text, read: what each next byte cost, in nats, and the likeliest bytes after the last.
  async run({ model, pattern, ids, count = 8 }, steps) {
    const { cache, used, fresh, nats } = await steps(session.run({ model, pattern, ids }));
    return { used, fresh, nats, next: used ? likeliest(session.scores(cache, used - 1), count) : [] };
  },

  // Bytes written after a text, each sent as soon as it is there, with the probability it had.
  async write({ model, pattern, ids, count, temperature = 0, seed = 1 }, steps, tell) {
    const text = [...ids];
    const random = seeded(seed);
    const written = [];
    while (written.length < count && text.length < session.capacity) {
      const { cache, used } = await steps(session.run({ model, pattern, ids: text }), written.length === 0);
      const scores = session.scores(cache, used - 1);
      const byte = drawn(scores, temperature, random);
      written.push({ byte, chance: chances(scores)[byte] });
      text.push(byte);
      tell({ written: written[written.length - 1] });
    }
    return { written };
  },

  // Where one byte looks, on each layer and head, and what was expected after it.
  async look({ model, pattern, ids, query, count = 5 }, steps) {
    const { cache, used } = await steps(session.run({ model, pattern, ids }));
    const at = Math.min(query, used - 1);
    return {
      query: at,
      used,
      layers: session.lookingFrom(model, pattern, cache, at),
      next: likeliest(session.scores(cache, at), count),
    };
  },

  // How far the forecast behind each byte moves when the text changes: half of the sum of differences, from 0 to 1.
  // Both texts are computed from their first byte on: what is kept would agree by its making.
  async compare({ model, pattern, ids, changed }, steps) {
    const scores = ({ cache, used }) => cache.logits.slice(0, used * 256);
    const before = scores(await steps(session.run({ model, pattern, ids, anew: true })));
    const after = scores(await steps(session.run({ model, pattern, ids: changed, anew: true })));
    const moved = new Float32Array(before.length / 256);
    for (let at = 0; at < moved.length; at++) {
      const [p, q] = [before, after].map((all) => chances(all.subarray(at * 256, (at + 1) * 256)));
      for (let byte = 0; byte < 256; byte++) moved[at] += Math.abs(p[byte] - q[byte]) / 2;
    }
    return { moved };
  },
};

let session = null;
let queue = Promise.resolve();
const stopped = new Set();

// Lets waiting messages in: a job that is stopped must hear of it. (A timer would wait 4 ms each time.)
const channel = new MessageChannel();
const turn = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });

async function work({ id, job, ...given }) {
  const tell = (news) => self.postMessage({ id, ...news });
  const steps = async (generator, shown = true) => {
    for (;;) {
      if (stopped.has(id)) throw new Error("stopped");
      const { done, value } = generator.next();
      if (done) return value;
      if (shown) tell({ share: value });
      await turn();
    }
  };
  try {
    const began = performance.now();
    if (stopped.has(id)) throw new Error("stopped");
    const result = await jobs[job](given, steps, tell);
    tell({ result: { ...result, seconds: (performance.now() - began) / 1000 } });
  } catch (error) {
    tell({ error: error.message });
  }
  stopped.delete(id);
}

self.onmessage = ({ data }) => {
  if (data.stop) stopped.add(data.stop);
  else queue = queue.then(() => work(data));
};
