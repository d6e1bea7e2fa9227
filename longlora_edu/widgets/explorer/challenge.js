// The challenge: as few pairs as can be, so that the last token still hears the first within four layers.

import { layersNeeded, pairs } from "./geometry.js";

export const FIXED = { n: 32, heads: 4, layers: 4, boundary: "split" };
export const CHALLENGE = { ...FIXED, g: 32, shift: 16 };
// What the reader may move, and look at, meanwhile.
export const OPEN = ["g", "shift", "picture", "query", "numbers", "table", "keys", "words"];

export const hearsInTime = (facts) => facts.lastHearsFirst > 0 && facts.lastHearsFirst <= FIXED.layers;

let found = null;

// The fewest pairs there can be, by trying every group and shift.
export function fewestPairs() {
  if (found) return found;
  found = Infinity;
  for (let g = 1; g <= FIXED.n; g++)
    for (let shift = 0; shift < g; shift++) {
      const setting = { ...FIXED, g, shift };
      const all = pairs(setting);
      if (all < found && layersNeeded(setting, FIXED.layers)[(FIXED.n - 1) * FIXED.n]) found = all;
    }
  return found;
}

// What the panel says: the setting of now, the best of this reader, and the score that came with the link.
export function sayChallenge(facts, best, others) {
  const number = (value) => value.toLocaleString("en-US");
  const now = hearsInTime(facts)
    ? `${number(facts.pairs)} pairs, and the last token hears the first after ${facts.lastHearsFirst} ${facts.lastHearsFirst === 1 ? "layer" : "layers"}.`
    : `${number(facts.pairs)} pairs, but the last token does not hear the first in time.`;
  const mine = best ? ` Your best: ${number(best)} pairs.` : "";
  const theirs = others ? ` The link you opened: ${number(others)} pairs.` : "";
  const end = best && best === fewestPairs() ? " Nobody can do it with fewer." : "";
  return now + mine + theirs + end;
}
