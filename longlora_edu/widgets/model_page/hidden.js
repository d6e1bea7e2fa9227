// A line hidden in a text and asked for at its end, as longlora_edu's passkeys and named references are.

import { toBytes } from "./bytes.js";

// Names and numbers that the training never showed, as those of the demo's measurement.
const OTHERS = { hat: 31312, lid: 77789, map: 71464, net: 17423, owl: 48292, pig: 79307, tar: 62005 };

export const KINDS = {
  passkey: {
    title: "a passkey: the only number",
    make: (answer) => ({ statement: `# passkey ${answer}`, question: "# passkey ", answer }),
  },
  reference: {
    title: "a number by its name, among seven others",
    make: (answer) => ({
      statement: `# set kqz=${answer}`,
      question: "# get kqz ",
      answer,
      others: Object.entries(OTHERS).map(([name, number]) => `# set ${name}=${number}`),
    }),
  },
  value: {
    title: "a value by its name",
    make: (answer) => ({ statement: `PORT_OF_HARBOUR = ${answer}`, question: "PORT_OF_HARBOUR = ", answer }),
  },
  own: { title: "your own words", make: null },
};

// The bytes of `text` with the statement on a line of its own at `depth` (0 the start, 1 just before the question), the
// `others` evenly through it, and the question at the end; `most` is what fits, the answer's room included, and text at
// the end gives way to it. `at` is where the statement stands.
export function hide(ids, { statement, question, answer, others = [] }, depth, most) {
  const asked = toBytes(`\n${question}`);
  const lines = others.map((line, index) => ({ line: toBytes(`\n${line}\n`), depth: (index + 0.5) / others.length }));
  const own = { line: toBytes(`\n${statement}\n`), depth };
  const all = [...lines, own].sort((one, other) => one.depth - other.depth);
  const taken = all.reduce((sum, { line }) => sum + line.length, asked.length + toBytes(answer).length);
  const room = Math.min(ids.length, most - taken);
  if (room < 0) throw new RangeError(`the hidden line and its question must fit ${most} bytes`);
  const out = [];
  let [from, at] = [0, 0];
  for (const one of all) {
    const cut = Math.round(one.depth * room);
    out.push(...ids.slice(from, cut));
    if (one === own) at = out.length;
    out.push(...one.line);
    from = cut;
  }
  return { ids: Uint8Array.from([...out, ...ids.slice(from, room), ...asked]), at, room };
}

// The same length, another word: letters and digits of the last word of `ids` move on by one, none is left as it was.
export function otherLastWord(ids) {
  const isWord = (byte) => /[A-Za-z0-9_]/.test(String.fromCharCode(byte));
  let stop = ids.length;
  while (stop > 0 && !isWord(ids[stop - 1])) stop--;
  let start = stop;
  while (start > 0 && isWord(ids[start - 1]) && stop - start < 32) start--;
  const changed = Uint8Array.from(ids);
  for (let at = start; at < stop; at++)
    changed[at] =
      ids[at] === 0x7a || ids[at] === 0x5a || ids[at] === 0x39 ? ids[at] - 9 : ids[at] === 0x5f ? 0x78 : ids[at] + 1;
  return { changed, start, stop };
}
