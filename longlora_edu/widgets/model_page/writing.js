// Writing on from where the text ends.

import { sign } from "./bytes.js";

export function newWriting(page, reading) {
  const { part, button } = page;
  let before = null; // the text as it was, to take the writing back

  async function write() {
    const start = page.ids;
    const room = page.header.context - start.length;
    if (!start.length || !room) return say(room ? "There is no text to go on from." : "The context is full.");
    before = start;
    const bytes = [...start];
    const began = performance.now();
    const args = {
      model: page.model,
      pattern: page.pattern(),
      ids: start,
      seed: Math.floor(Math.random() * 2 ** 31),
      count: Math.min(room, Math.max(1, Number(part("count").value) || 1)),
      temperature: Number(part("heat").value),
    };
    const shown = part("text");
    let chances = 0;
    const hear = ({ written }) => {
      if (!written) return;
      bytes.push(written.byte);
      chances += written.chance;
      page.busy((bytes.length - start.length) / args.count, "Writing");
      page.setText(bytes, { read: false });
      shown.scrollTop = shown.scrollHeight;
    };
    await page.job("write", args, { hear, says: "Reading" });
    const made = bytes.length - start.length;
    button("unwrite").hidden = made === 0;
    const speed = Math.round(made / ((performance.now() - began) / 1000));
    if (made)
      say(
        `${made} bytes, ${speed} a second, the first “${sign(bytes[start.length])}”; on average it gave ${Math.round((100 * chances) / made)}\u00a0% to what it wrote.`,
      );
    reading.read();
  }

  function unwrite() {
    if (before) page.setText(before);
    before = null;
    button("unwrite").hidden = true;
    say("");
  }

  const say = (sentence) => (part("write-says").textContent = sentence);
  return { actions: { write, unwrite } };
}
