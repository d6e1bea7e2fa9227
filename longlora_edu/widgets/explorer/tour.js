// The tour: each step shows one part, asks for one action, and goes on when the settings show that it was taken.

import { count, number, tokensIn } from "./words.js";

const BEGIN = { n: 16, g: 4, shift: 2, heads: 4, boundary: "split", layers: 1 };
const times = (after, before) => Math.round((10 * after) / before) / 10;

// start: the settings it begins with; parts: what of the face, and panels: what of the picture stays bright; the first
// part is where the action is taken.
export const STEPS = [
  {
    title: "One group",
    start: BEGIN,
    parts: ["picture", "query"],
    panels: ["strip", "plain"],
    text:
      "A row is a token that looks, a column a token that is looked at. A plain head cuts the sequence into groups " +
      "of 4, and a token looks only inside its own group, backwards.",
    action: "Point at token 6: move over its row, or go to the picture and press the arrow keys.",
    done: ({ query }) => query === 6,
    outcome: ({ state: { n }, facts }) =>
      `On a plain head token 6 looks at ${tokensIn(facts.plain, n, 6, Boolean)}. ` +
      "Token 3 stands behind the wall of its group.",
  },
  {
    title: "The shift",
    start: { ...BEGIN, shift: 0 },
    parts: ["shift", "picture", "query"],
    panels: ["strip", "plain", "shifted", "reach"],
    text:
      "Now the shift is 0: all heads have the same walls, and no number of layers carries anything across them.",
    action: "Set the shift to 2, half a group.",
    done: ({ state }) => state.shift === 2,
    outcome: ({ state: { n }, facts }) =>
      "Half of the heads now begin their groups 2 tokens later, so the walls of one half stand in the middle of the " +
      `groups of the other. On a shifted head token 4 looks at ${tokensIn(facts.shifted, n, 4, Boolean)}.`,
  },
  {
    title: "The boundary",
    start: BEGIN,
    parts: ["boundary", "picture", "query"],
    panels: ["strip", "shifted"],
    text:
      "Shifted heads have 2 tokens left over at each end. Under “split” they are short cells of their own. The " +
      "paper's pseudo-code rolls the sequence instead, and its two ends share one group.",
    action: "Choose the boundary “wrap”.",
    done: ({ state }) => state.boundary === "wrap",
    outcome: ({ facts }) =>
      `${count(facts.future, "pair")} over all heads look into the future: the hatched ones. Point at their rows. ` +
      "Which tokens look there, and at which?",
  },
  {
    title: "The leak is closed",
    start: { ...BEGIN, boundary: "wrap" },
    parts: ["boundary", "picture", "query"],
    panels: ["strip", "shifted"],
    text: "The ends may share a group without any leak, if its order is the true one.",
    action: "Choose the boundary “masked”.",
    done: ({ state }) => state.boundary === "masked",
    outcome: ({ state: { n }, facts }) =>
      `${count(facts.future, "pair")} ahead. The last token now looks at ` +
      `${tokensIn(facts.shifted, n, n - 1, Boolean)}: back to the beginning, never the other way round.`,
  },
  {
    title: "Reach",
    start: BEGIN,
    parts: ["layers", "picture", "query"],
    panels: ["reach"],
    text:
      "One layer carries a value as far as a cell goes. Through the cells of both kinds of heads the next layer " +
      "carries it on.",
    action: "Add layers until the last token hears the first.",
    done: ({ state, facts }) => facts.lastHearsFirst > 0 && state.layers >= facts.lastHearsFirst,
    outcome: ({ state: { n, g }, facts }) =>
      `${facts.lastHearsFirst} layers for ${n / g} groups. And for 2 groups, or for 8? Change the tokens, and look ` +
      "for the rule.",
  },
  {
    title: "The price",
    start: { ...BEGIN, n: 32, g: 8, shift: 4 },
    parts: ["n", "picture", "numbers", "cost"],
    panels: ["strip"],
    text: "Groups of 8 tokens, and now the text becomes longer while the groups stay.",
    action: "Double the tokens: set them to 64.",
    done: ({ state }) => state.n >= 64,
    outcome: ({ state: { n }, facts, before }) =>
      `With ${n} tokens full attention has ${number(facts.dense)} pairs instead of ${number(before.dense)}, ` +
      `${times(facts.dense, before.dense)} times as many; S²-Attn has ${number(facts.pairs)} instead of ` +
      `${number(before.pairs)}, ${times(facts.pairs, before.pairs)} times.`,
  },
];
