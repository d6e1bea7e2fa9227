// Hiding a line in the text and asking for it, with one setting of the switches or with all of them.

import { toBytes, toText } from "./bytes.js";
import { ATTENTIONS, MODELS } from "./desk.js";
import { KINDS, hide } from "./hidden.js";

const fiveDigits = () => String(Math.floor(10000 + 90000 * Math.random()));

export function newHiding(page, reading) {
  const { part, button, header } = page;
  let [original, hidden] = [null, null];
  part("answer").value = fiveDigits();

  const line = () => {
    const answer = part("answer").value || fiveDigits();
    const make = KINDS[part("kind").value].make;
    return make ? make(answer) : { statement: part("statement").value, question: part("question").value, answer };
  };

  function fill() {
    const own = KINDS[part("kind").value].make === null;
    part("own").hidden = !own;
    if (own && !part("statement").value) {
      part("statement").value = `the harbour master is called ${part("answer").value}`;
      part("question").value = "the harbour master is called ";
    }
    const depth = Number(part("depth").value);
    const text = hidden && page.ids === hidden ? original : page.ids;
    const told = hide(text, line(), depth / 100, header.context);
    part("depth-says").textContent =
      `${depth}\u00a0%, ${(told.ids.length - told.at).toLocaleString("en-US")} bytes before the answer`;
  }

  // Puts line and question into the text; asking again moves them instead of hiding a second pair.
  function place() {
    const text = hidden && String(hidden) === String(page.ids) ? original : page.ids;
    original = text;
    const made = hide(text, line(), Number(part("depth").value) / 100, header.context);
    page.setText(made.ids, { read: false });
    hidden = page.ids;
    button("restore").hidden = false;
    return { ...made, answer: toBytes(line().answer) };
  }

  const ask = async (model, pattern, { ids, answer }, says) => {
    const result = await page.job("write", { model, pattern, ids, count: answer.length, temperature: 0 }, { says });
    if (!result) return null;
    const said = toText(result.written.map(({ byte }) => byte));
    return { said, right: said === toText(answer), least: Math.min(...result.written.map(({ chance }) => chance)) };
  };

  async function once() {
    const told = place();
    part("answers").hidden = true;
    say("…");
    const found = await ask(page.model, page.pattern(), told, "Asking");
    if (!found) return say("Stopped.");
    const distance = (told.ids.length - told.at).toLocaleString("en-US");
    const verdict = found.right ? "That is right" : `That is wrong: it was “${toText(told.answer)}”`;
    say(
      `${page.model}, ${ATTENTIONS[page.attention][0]}: it wrote “${found.said}”. ${verdict}. The line stands ${distance} bytes back; it gave at least ${Math.round(100 * found.least)}\u00a0% to each byte it wrote.`,
    );
    reading.read();
  }

  async function everyone() {
    const told = place();
    const rows = part("answers").querySelector("tbody");
    part("answers").hidden = false;
    say("…");
    const names = Object.keys(ATTENTIONS);
    rows.innerHTML = Object.keys(MODELS)
      .map(
        (model) =>
          `<tr><th scope="row">${model}</th>${names.map((name) => `<td data-cell="${model} ${name}"></td>`).join("")}</tr>`,
      )
      .join("");
    let [right, asked] = [0, 0];
    for (const model of Object.keys(MODELS))
      for (const name of names) {
        const cell = rows.querySelector(`[data-cell="${model} ${name}"]`);
        if (name === "wrap") {
          cell.textContent = "cannot write";
          continue;
        }
        const found = await ask(model, page.pattern(name), told, `Asking ${model}, ${ATTENTIONS[name][0]}`);
        if (!found) return say("Stopped.");
        cell.textContent = `${found.right ? "✓" : "✗"} ${found.said}`;
        [right, asked] = [right + found.right, asked + 1];
      }
    say(
      `${right} of ${asked} found it, ${(told.ids.length - told.at).toLocaleString("en-US")} bytes back. Wrap takes whole groups and cannot write on.`,
    );
    reading.read();
  }

  function restore() {
    if (original) page.setText(original);
    [original, hidden] = [null, null];
    button("restore").hidden = true;
    say("");
  }

  const say = (sentence) => (part("answer-says").textContent = sentence);
  for (const name of ["kind", "answer", "statement", "question", "depth"]) part(name).addEventListener("input", fill);
  reading.after(fill);
  return { actions: { hide: once, "ask-all": everyone, restore } };
}
