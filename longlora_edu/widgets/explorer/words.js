// The picture in words: every number that is drawn is also said.

import {
  HEAD_DIM, bytes, densePairs, flops, futurePairs, layersNeeded, mask, pairs, pairsOfHead, plainHeads, shiftedHeads,
} from "./geometry.js";
import { wordsOf } from "./state.js";

export const number = (value) => value.toLocaleString("en-US");
export const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
export const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;

// Everything about a setting that is drawn or said, computed once.
export function measure(state) {
  const { n, heads } = state;
  const needed = layersNeeded(state);
  return {
    plain: plainHeads(state) ? mask(state, 0) : null,
    shifted: mask(state, heads - 1),
    plainPairs: pairsOfHead(state, false),
    shiftedPairs: pairsOfHead(state, true),
    pairs: pairs(state),
    future: futurePairs(state),
    dense: densePairs(state),
    flops: flops(state),
    bytes: bytes(state),
    needed,
    lastHearsFirst: needed[(n - 1) * n],
  };
}

// "0, 3 to 5 and 9": the tokens of row `row` for which `chosen` holds.
export function tokensIn(values, n, row, chosen) {
  const runs = [];
  for (let token = 0; token < n; token++) {
    if (!chosen(values[row * n + token])) continue;
    const last = runs[runs.length - 1];
    if (last && last[1] === token - 1) last[1] = token;
    else runs.push([token, token]);
  }
  const parts = runs.flatMap(([a, b]) => (b - a > 1 ? [`${a} to ${b}`] : b > a ? [`${a}`, `${b}`] : [`${a}`]));
  return parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}` : parts[0] ?? "";
}

const looksAt = (values, n, query) => {
  const ahead = tokensIn(values, n, query, (kind) => kind === 2);
  return tokensIn(values, n, query, (kind) => kind === 1) + (ahead && ` and, in its future, ${ahead}`);
};

// What one token looks at and hears.
export function sayQuery(state, facts, query) {
  const { n, layers } = state;
  const reach = () => tokensIn(facts.needed, n, query, (needed) => needed > 0 && needed <= layers);
  if (!state.shift)
    return `Token ${query} looks at ${looksAt(facts.shifted, n, query)}. Within ${count(layers, "layer")} it hears ${reach()}.`;
  const plain = facts.plain ? `on a plain head it looks at ${looksAt(facts.plain, n, query)}; ` : "";
  const shifted = `on a shifted head it looks at ${looksAt(facts.shifted, n, query)}`;
  return `Token ${query}: ${plain}${shifted}. Within ${count(layers, "layer")} it hears ${reach()}.`;
}

// A token by its word, where the reader gave a sentence.
export const nameOf = ({ words }) => {
  const each = words ? wordsOf(words) : [];
  return (token) => (each[token] ? `“${each[token]}”` : `token ${token}`);
};

// Whom one word hears, by their words.
export function sayHeard(state, facts, query) {
  const name = nameOf(state);
  const heard = [];
  for (let token = 0; token < state.n; token++) {
    const needed = facts.needed[query * state.n + token];
    if (token !== query && needed && needed <= state.layers) heard.push(name(token).replace(/[“”]/g, ""));
  }
  const shown = heard.length > 14 ? [`… ${heard.slice(-13).join(" ")}`] : [heard.join(" ")];
  return heard.length ? `${name(query)} hears: ${shown[0]}.` : `${name(query)} hears nobody else.`;
}

export const sayPairs = (state, facts) =>
  `${number(facts.pairs)} of the ${number(facts.dense)} (query, key) pairs of full attention, ` +
  `${percent(facts.pairs / facts.dense)}: ` +
  (state.shift
    ? (facts.plain ? `${number(facts.plainPairs)} on each of ${count(plainHeads(state), "plain head")}, ` : "") +
      `${number(facts.shiftedPairs)} on each of ${count(shiftedHeads(state), "shifted head")}.`
    : `${number(facts.shiftedPairs)} on each of ${count(state.heads, "head")}.`);

export const sayLeak = (state, facts) =>
  facts.future
    ? `${count(facts.future, "pair")} ${facts.future === 1 ? "looks" : "look"} at a later token: the future leaks.`
    : "No pair looks at a later token.";

export function sayReach(state, facts) {
  const { n, layers } = state;
  let [heard, past] = [0, 0];
  for (let row = 0; row < n; row++)
    for (let column = 0; column <= row; column++, past++)
      if (facts.needed[row * n + column] && facts.needed[row * n + column] <= layers) heard++;
  const ever = facts.lastHearsFirst;
  const first =
    ever === 0
      ? "the last token never hears the first, however many layers there are"
      : ever <= layers
        ? `the last token hears the first after ${count(ever, "layer")}`
        : `the last token hears the first only after ${count(ever, "layer")}`;
  const share = `${percent(heard / past)} of what stands before it and itself`;
  return `Within ${count(layers, "layer")} a token hears ${share}; ${first}.`;
}

export const sayFlops = (state, { flops: { dense, plain, shifted } }) =>
  `${number(plain + shifted)} FLOPs instead of ${number(dense)}.`;

export const sayBytes = (state, { bytes: { masked, plain, shifted, flash } }) =>
  `${number(masked)} bytes for the whole matrix, ${number(plain + shifted)} for the cells only, ` +
  `${number(flash)} where a flash kernel keeps one number a query.`;

export const COUNTED =
  `Counted for one layer, one sequence, forward: scores and weighted values of the pairs that a query may look at, ` +
  `head dimension ${HEAD_DIM}, two FLOPs a multiply-add; scores stored in 16 bits, over the whole square of a cell.`;

export const saySetting = ({ n, g, shift, heads, boundary }) =>
  `${count(n, "token")} in groups of ${g}, shift ${shift}, ${count(heads, "head")}, boundary ${boundary}.`;

export const BOUNDARY_RULES = {
  split: "Nothing wraps: a shifted head has a short cell at each end.",
  wrap: "Both ends share a cell in rolled order, so the first tokens look at the last: the future. Whole groups only.",
  masked: "Both ends share a cell in true order: the last tokens look at the first, never back. Whole groups only.",
};

export const sayAll = (state, facts) =>
  [saySetting, sayPairs, sayLeak, sayReach, sayFlops, sayBytes].map((say) => say(state, facts));
