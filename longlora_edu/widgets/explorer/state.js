// The settings of the explorer: their limits, the rules that tie them to each other, and their form in a link.

import { CHALLENGE } from "./challenge.js";

export const LIMITS = { n: [1, 128], g: [1, 128], heads: [1, 8], layers: [1, 32] };
export const BOUNDARIES = ["split", "wrap", "masked"];
export const MOST_WORDS = LIMITS.n[1];
export const DEFAULTS = { n: 16, g: 4, shift: 2, heads: 4, boundary: "split", layers: 3 };
export const NAMES = { n: "tokens", g: "group size", shift: "shift", heads: "heads", layers: "layers" };

// A sentence as tokens, one a word.
export const wordsOf = (text) => text.split(/\s+/).filter(Boolean).slice(0, MOST_WORDS);

export const half = (g) => Math.floor(g / 2);
export const needsWholeGroups = ({ boundary }) => boundary !== "split";
const clamp = (value, [low, high]) => Math.min(Math.max(value, low), high);
export const range = (name, state) => (name === "shift" ? [0, state.g - 1] : LIMITS[name]);

// `state` with some settings changed, made valid, and a sentence where that changed another one.
// `tokens` is the length to stay close to while the group size moves. A shift of half a group stays half a group.
export function change(state, patch, tokens = state.n) {
  const next = { ...state, ...patch };
  if (!("shift" in patch) && state.shift === half(state.g)) next.shift = half(next.g);
  for (const name of Object.keys(LIMITS)) next[name] = clamp(next[name], LIMITS[name]);
  next.shift = clamp(next.shift, range("shift", next));
  if (!needsWholeGroups(next)) return [next, ""];
  const asked = "n" in patch ? next.n : clamp(tokens, LIMITS.n);
  next.n = clamp(Math.round(asked / next.g), [1, Math.floor(LIMITS.n[1] / next.g)]) * next.g;
  if (next.n === ("n" in patch ? asked : state.n)) return [next, ""];
  const rule = `With ${next.boundary} the tokens must be a multiple of the group size, ${next.g}`;
  return [next, `${rule}: ${"n" in patch ? asked : state.n} tokens became ${next.n}.`];
}

export function toHash(state) {
  const { n, g, shift, heads, boundary, layers } = state;
  // A challenge begins anew for whom the link is sent to: the way it was done stays a secret.
  const settings = state.challenge ? { challenge: 1 } : { n, g, shift, heads, boundary, layers };
  if (state.projector) settings.projector = 1;
  if (state.ask) settings.ask = 1;
  if (state.tour) settings.tour = 1;
  if (state.score) settings.score = state.score;
  if (state.words) settings.words = encodeURIComponent(state.words);
  return Object.entries(settings).map((pair) => pair.join("=")).join("&");
}

// What a link says: a valid state, and a sentence for each part of the link that could not be followed.
export function fromHash(text) {
  const asked = { ...DEFAULTS, shift: null, projector: false, ask: false, tour: false, challenge: false, score: 0, words: "" };
  const problems = [];
  for (const part of text.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, coded = ""] = part.split("=");
    const value = decoded(coded);
    if (name === "boundary") {
      if (BOUNDARIES.includes(value)) asked.boundary = value;
      else problems.push(`The boundary must be ${BOUNDARIES.join(", ")}, but the link says ${value || "nothing"}.`);
    } else if (["projector", "ask", "tour", "challenge"].includes(name)) asked[name] = value === "1";
    else if (name === "words") asked.words = value;
    else if (name === "score" && /^\d{1,6}$/.test(value)) asked.score = Number(value);
    else if (Object.hasOwn(NAMES, name)) {
      if (/^\d{1,9}$/.test(value)) asked[name] = Number(value);
      else problems.push(`${NAMES[name]} must be a number, but the link says ${value || "nothing"}.`);
    } else problems.push(`The link says ${part}, which is no setting here.`);
  }
  if (asked.challenge) Object.assign(asked, CHALLENGE);
  asked.shift ??= half(clamp(asked.g, LIMITS.g));
  const [state, note] = change(asked, asked);
  for (const name of ["n", "g", "heads", "layers", "shift"]) {
    const [low, high] = range(name, state);
    if (asked[name] !== clamp(asked[name], [low, high]))
      problems.push(`${NAMES[name]} must be from ${low} to ${high}, but the link says ${asked[name]}.`);
  }
  return { state, problems: [...problems, note].filter(Boolean) };
}

// What stands in a link, unless its percent signs are no code.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
