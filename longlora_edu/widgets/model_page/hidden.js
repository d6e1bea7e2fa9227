// A line hidden in a text and asked for at its end, as longlora_edu's passkeys are.

import { toBytes } from "./bytes.js";

export const KINDS = {
  passkey: {
    title: "a passkey, as in training",
    make: (answer) => ({ statement: `# passkey ${answer}`, question: "# passkey ", answer }),
  },
  value: {
    title: "a value by its name",
    make: (answer) => ({ statement: `PORT_OF_HARBOUR = ${answer}`, question: "PORT_OF_HARBOUR = ", answer }),
  },
  own: { title: "your own words", make: null },
};

// The bytes of `text` with the statement on a line of its own at `depth` (0 the start, 1 just before the question) and
// the question at the end; `most` is what fits, the answer's room included, and text at the end gives way to it.
export function hide(ids, { statement, question, answer }, depth, most) {
  const [told, asked] = [toBytes(`\n${statement}\n`), toBytes(`\n${question}`)];
  const room = Math.min(ids.length, most - told.length - asked.length - toBytes(answer).length);
  if (room < 0) throw new RangeError(`the hidden line and its question must fit ${most} bytes`);
  const cut = Math.round(depth * room);
  return { ids: Uint8Array.from([...ids.slice(0, cut), ...told, ...ids.slice(cut, room), ...asked]), at: cut, room };
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
