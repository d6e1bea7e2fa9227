// Text as the bytes that the model reads, and bytes as something to look at.

export const toBytes = (text) => new TextEncoder().encode(text);
export const toText = (bytes) => new TextDecoder().decode(Uint8Array.from(bytes));

// The first `most` bytes of a text, and how many are left out.
export function fitted(text, most) {
  const bytes = toBytes(text);
  return { ids: bytes.slice(0, most), left: Math.max(0, bytes.length - most) };
}

const NAMES = { 9: "⇥", 10: "↵", 13: "␍", 32: "␣" };

// One byte as one sign: letters as they are, blanks by a sign of their own, what is no letter as its number.
export const sign = (byte) =>
  NAMES[byte] ?? (byte > 32 && byte < 127 ? String.fromCharCode(byte) : `x${byte.toString(16).padStart(2, "0")}`);

const SPOKEN = { 9: "tab", 10: "new line", 13: "return", 32: "blank" };
export const spoken = (byte) => SPOKEN[byte] ?? sign(byte);

// A few bytes around a place, as a reader would quote them.
export const quoted = (ids, from, to) => Array.from(ids.slice(Math.max(0, from), to), sign).join("");

export const escaped = (text) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

// What was read: new bytes only, since what a text shares with the one before is kept.
export function readingSaid({ used, fresh, seconds }, length) {
  const time = seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`;
  const bytes = `${fresh.toLocaleString("en-US")} ${fresh < used ? "new " : ""}${fresh === 1 ? "byte" : "bytes"}`;
  const read = fresh ? `Read ${bytes} in ${time}.` : "Read before: nothing new to compute.";
  const left = length - used;
  return left ? `${read} Wrap takes whole groups: the last ${left} bytes are left out.` : read;
}
