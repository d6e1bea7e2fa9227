// Which keys each query computes with: dense attention, or the cells of the explorer's geometry.

import { cells } from "../explorer/geometry.js";

export const PATTERNS = ["dense", "s2", "short", "wrap"];

// The setting of geometry.js that a pattern means on `n` tokens, or null for dense attention.
export function settingOf({ name, group }, n, heads) {
  if (name === "dense") return null;
  const shift = name === "short" ? 0 : Math.floor(group / 2);
  return { n, g: group, shift, heads, boundary: name === "wrap" ? "wrap" : "split" };
}

// A token's keys never change when text is added after it, so its keys and values can be kept. Not so under wrap,
// where the first tokens hear the last.
export const keeps = ({ name }) => name !== "wrap";

// How many of `n` tokens a pattern can run on: wrap takes whole groups only.
export const usable = ({ name, group }, n) => (name === "wrap" ? n - (n % group) : n);

// Cells as geometry.js lists them: causal attention over a cell's tokens, its ranges read in turn, is all there is.
export function cellsOf(pattern, n, heads, head) {
  const setting = settingOf(pattern, n, heads);
  return setting ? cells(setting, head >= Math.floor(heads / 2)) : [[[0, n]]];
}

// The queries `from` … `to` - 1 in runs that share their keys, at most `most` long. A query of a run sees all of
// `earlier`, a list of ranges, and of its own range what begins at `start` and ends with itself.
export function runs(pattern, n, heads, head, from, to, most) {
  const found = [];
  for (const cell of cellsOf(pattern, n, heads, head))
    cell.forEach(([start, stop], at) => {
      const [low, high] = [Math.max(start, from), Math.min(stop, to)];
      for (let first = low; first < high; first += most)
        found.push({ first, last: Math.min(first + most, high) - 1, start, earlier: cell.slice(0, at) });
    });
  return found;
}

// What one query may look at on one head, as ranges [start, stop) in the order in which they are computed.
export function keyRanges(pattern, n, heads, head, query) {
  const [{ earlier, start }] = runs(pattern, n, heads, head, query, query + 1, 1);
  return [...earlier, [start, query + 1]];
}

// The group to begin with: a quarter of the text in a power of two, at most what the adapter was trained with.
export function startGroup(length, trained) {
  let group = 8;
  while (group * 2 <= Math.min(trained, length / 4)) group *= 2;
  return Math.min(group, trained);
}

// The sizes of a group to choose from: powers of two, and the one of training.
export function groupsUpTo(trained) {
  const sizes = [];
  for (let size = 8; size < trained; size *= 2) sizes.push(size);
  return [...sizes, trained];
}
