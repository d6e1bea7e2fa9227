// A message that asks its way back: from the last token, layer by layer, towards the first.

import { allows } from "./geometry.js";

// The way with the fewest layers: [{ from, to, shifted }], one hop a layer, and whether it arrives at token 0 within
// the layers there are. Where it does not, it is the way that comes closest to token 0.
export function hopsBack(state) {
  const { n, heads, layers } = state;
  const kinds =
    heads > 1
      ? [
          [false, 0],
          [true, heads - 1],
        ]
      : [[true, 0]];
  const came = new Map([[n - 1, null]]);
  let frontier = [n - 1];
  for (let layer = 0; layer < layers && frontier.length && !came.has(0); layer++) {
    const next = [];
    for (const from of frontier)
      for (const [shifted, head] of kinds)
        for (let to = 0; to < n; to++)
          if (!came.has(to) && allows(state, head, from, to)) {
            came.set(to, { from, to, shifted });
            next.push(to);
          }
    frontier = next;
  }
  const hops = [];
  for (let hop = came.get(Math.min(...came.keys())); hop; hop = came.get(hop.from)) hops.unshift(hop);
  return { hops, arrives: came.has(0), stuck: frontier.length === 0 };
}

// The way in words, up to a hop; how it ends is told when it has ended.
export function sayHops({ hops, arrives, stuck }, name, upTo = hops.length, ended = upTo === hops.length) {
  const last = hops[upTo - 1];
  const told = last
    ? `Layer ${upTo}, on a ${last.shifted ? "shifted" : "plain"} head: ${name(last.from)} hears ${name(last.to)}.`
    : "The last token asks what the first one said.";
  if (!ended) return told;
  if (arrives) return `${told} Arrived, after ${upTo} ${upTo === 1 ? "layer" : "layers"}.`;
  const end = stuck ? "No head looks further back, however many layers there are." : "No layer is left.";
  return `${told} The message stops here. ${end}`;
}
