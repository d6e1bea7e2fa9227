// Reading a text: the curve of bits per byte, its table, and what is expected next.

import { drawCurves } from "./chart.js";
import { ATTENTIONS, MODELS } from "./desk.js";
import { escaped, readingSaid, sign, spoken } from "./bytes.js";
import { usable } from "./pattern.js";

const percent = (chance) =>
  chance < 0.001 ? "under 0.1" : chance < 0.1 ? (100 * chance).toFixed(1) : Math.round(100 * chance);

// Mean bits of the bytes from one position to another, or null where there are none.
export function bits(nats, from, to) {
  const part = nats.subarray(Math.max(0, from), Math.max(0, to));
  return part.length ? part.reduce((sum, value) => sum + value, 0) / part.length / Math.LN2 : null;
}

export function newReading(page) {
  const { part, header } = page;
  const seen = new Map(); // what the switches made of the text that stands there now
  const listeners = [];
  let [text, current, pending] = ["", null, 0];

  const keyOf = (model, pattern) => `${model} ${pattern.name}${pattern.name === "dense" ? "" : ` ${pattern.group}`}`;

  async function readWith(model, pattern, says) {
    const ids = page.ids;
    if (usable(pattern, ids.length) < 2) return null;
    const result = await page.job("run", { model, pattern, ids }, { says });
    if (!result || ids !== page.ids) return null;
    seen.set(keyOf(model, pattern), { model, pattern, ...result });
    return result;
  }

  async function read() {
    const now = String.fromCharCode(...page.ids);
    if (now !== text) seen.clear();
    text = now;
    const [model, pattern] = [page.model, page.pattern()];
    current = keyOf(model, pattern);
    if (usable(pattern, page.ids.length) < 2) {
      page.halt();
      page.status(
        pattern.name === "wrap"
          ? `Wrap takes whole groups: write at least ${pattern.group} bytes, or take a smaller group.`
          : "Write something: the model reads along.",
      );
      return paint();
    }
    paint();
    pending++;
    const result = seen.get(current) ?? (await readWith(model, pattern, `${model}, ${ATTENTIONS[pattern.name][0]}`));
    pending--;
    if (!result) return false; // something else has been asked for meanwhile
    page.status(readingSaid(result, page.ids.length));
    paint();
    for (const listener of listeners) listener();
    return true;
  }

  function paint() {
    const runs = [...seen.entries()].map(([key, run]) => ({ ...run, now: key === current }));
    const length = page.ids.length;
    const wall = page.attention === "dense" ? 0 : page.group;
    drawCurves(part("curve"), runs, { length: Math.max(length, 16), trained: header.trained, wall });
    const split = length > header.trained * 1.2 ? header.trained : Math.floor(length / 2);
    part("near").textContent = `first ${split}`;
    part("far").textContent = "the rest";
    const number = (value) => (value === null ? "" : value.toFixed(3));
    const row = ({ model, pattern, nats, now }) => `
      <tr${now ? ' class="mp-now"' : ""}>
        <th scope="row"><i class="mp-line mp-${model} mp-of-${pattern.name}"></i>${model}</th>
        <td>${ATTENTIONS[pattern.name][0]}</td>
        <td>${number(bits(nats, 0, nats.length))}</td>
        <td>${number(bits(nats, 0, split))}</td>
        <td>${number(bits(nats, split, nats.length))}</td>
      </tr>`;
    part("rows").innerHTML = runs.map(row).join("");
    const said = runs.map(
      ({ model, pattern, nats }) => `${model} with ${pattern.name} attention ${number(bits(nats, 0, nats.length))}`,
    );
    part("curve").setAttribute(
      "aria-label",
      runs.length ? `Bits per byte by position; means: ${said.join(", ")}.` : "No text has been read yet.",
    );
    paintNext();
  }

  function paintNext() {
    const run = seen.get(current);
    const choice = ([byte, chance]) => `
      <button type="button" data-byte="${byte}" aria-label="add ${spoken(byte)}, ${percent(chance)} percent">
        <kbd>${escaped(sign(byte))}</kbd>
        <span class="mp-bar" style="width:${(70 * chance).toFixed(2)}%"></span>
        <span>${percent(chance)}\u00a0%</span>
      </button>`;
    part("next").innerHTML = (run?.next ?? []).map(choice).join("");
    const wraps = page.attention === "wrap";
    part("next-says").textContent = wraps
      ? "Under wrap nothing can be written on: with each new byte the first ones would have to hear it, and all be computed again."
      : "The likeliest next bytes. Choose one to add it.";
  }

  part("next").addEventListener("click", ({ target }) => {
    const chosen = target.closest("[data-byte]");
    if (chosen && page.ids.length < header.context) page.setText([...page.ids, Number(chosen.dataset.byte)]);
  });

  // Beside the first text that is read, the model as it was before: what the page is about, in one picture.
  async function beside(model) {
    const pattern = page.pattern();
    if (model === page.model || !(await readWith(model, pattern, `${model}, to compare`))) return;
    paint();
    page.status(`Read with ${page.model} and, to compare, with ${model}.`);
  }

  const actions = {
    async all() {
      const ids = page.ids;
      for (const model of Object.keys(MODELS))
        for (const name of Object.keys(ATTENTIONS)) {
          const pattern = page.pattern(name);
          if (seen.has(keyOf(model, pattern)) || usable(pattern, ids.length) < 2) continue;
          if (!(await readWith(model, pattern, `${model}, ${ATTENTIONS[name][0]}`))) return;
          paint();
        }
      page.status("All twelve have read it.");
    },
    forget() {
      for (const key of [...seen.keys()]) if (key !== current) seen.delete(key);
      paint();
    },
  };
  const nats = () => seen.get(current)?.nats ?? new Float32Array();
  const [isReading, after] = [() => pending > 0, (listener) => listeners.push(listener)];
  return { read, beside, paint, nats, actions, isReading, after };
}
