// Where one byte looks: the text to choose it from, and a strip for each head with the cells of the geometry.

import { drawLooks } from "./chart.js";
import { cellsOf } from "./pattern.js";
import { escaped, quoted, sign, spoken } from "./bytes.js";

const total = (values) => values.reduce((sum, value) => sum + value, 0);
const holds = (cell, token) => cell.some(([start, stop]) => start <= token && token < stop);

export function newLooking(page) {
  const { part, root, header } = page;
  const { heads } = header.shape;
  const field = part("bytes");
  let [query, layer, found, painted, timer] = [-1, header.shape.layers - 1, null, null, 0];
  root.querySelector(`input[data-set=layer][value="${layer}"]`).checked = true;

  // The cells to draw: those of the pattern, or, where attention is dense, those that S² would leave.
  const shown = () => page.pattern(page.attention === "dense" ? "s2" : page.attention);
  const kind = (head) => (head >= Math.floor(heads / 2) ? "shifted" : "plain");

  // The text as bytes. Built anew only when it has changed, and not while the reader is typing.
  function paintBytes() {
    const { ids } = page;
    if (painted !== ids) {
      painted = ids;
      const look = (byte) => (byte === 10 ? "↵\n" : byte === 9 ? "⇥\t" : byte === 32 ? " " : escaped(sign(byte)));
      field.innerHTML = Array.from(ids, (byte) => `<span>${look(byte)}</span>`).join("");
    }
    const attention = found && query >= 0 ? mean(found.layers[layer]) : null;
    const most = attention ? attention.reduce((a, b) => Math.max(a, b), 1e-9) : 1;
    const nats = attention ? null : page.nats();
    const spans = field.children;
    for (let at = 0; at < spans.length; at++) {
      const heat = attention ? Math.sqrt((attention[at] ?? 0) / most) : at ? Math.min(1, (nats[at - 1] ?? 0) / 5.5) : 0;
      spans[at].style.backgroundColor = heat > 0.03 ? `rgba(var(--heat), ${(0.55 * heat).toFixed(2)})` : "";
      spans[at].className = at === query ? "mp-chosen" : "";
    }
  }

  const mean = (each) => each[0].map((_, at) => each.reduce((sum, weights) => sum + weights[at], 0) / each.length);

  function paint() {
    const canvases = root.querySelectorAll("[data-part=heads] canvas");
    part("heads").hidden = !found;
    if (!found) return;
    found.layers[layer].forEach((weights, head) => {
      const caption = sayHead(weights, head);
      root.querySelector(`[data-head="${head}"]`).textContent = caption;
      canvases[head].setAttribute("aria-label", caption);
      drawLooks(canvases[head], weights, { query: found.query, head, heads, pattern: shown() });
    });
  }

  // "head 2, shifted: 63 % inside its cell; most at 1,203 …def (41 %)"
  function sayHead(weights, head) {
    const own = cellsOf(shown(), weights.length, heads, head).find((cell) => holds(cell, found.query));
    const inside = own.reduce((sum, [start, stop]) => sum + total(weights.subarray(start, stop)), 0);
    const best = weights.reduce((top, value, at) => (value > weights[top] ? at : top), 0);
    const where = `${Math.round(100 * weights[best])}\u00a0% at byte ${best.toLocaleString("en-US")}, “${quoted(page.ids, best - 6, best + 1)}”`;
    return `head ${head}, ${kind(head)}: ${Math.round(100 * inside)}\u00a0% inside its own cell; most, ${where}`;
  }

  function say() {
    if (!found) return;
    const [byte, next] = [page.ids[found.query], page.ids[found.query + 1]];
    const expected = found.next
      .slice(0, 3)
      .map(([value, chance]) => `${sign(value)} ${Math.round(100 * chance)}\u00a0%`)
      .join(", ");
    const came = next === undefined ? "" : ` What came is “${sign(next)}”.`;
    part("look-says").textContent =
      `Byte ${found.query.toLocaleString("en-US")}, “${sign(byte)}”, of layer ${layer + 1}. After it the model expected ${expected}.${came} The outlines are the cells of groups of ${page.group}; the one of this byte is marked.`;
  }

  async function choose(at) {
    query = Math.max(-1, Math.min(at, page.ids.length - 1));
    field.setAttribute("aria-valuemax", Math.max(0, page.ids.length - 1));
    field.setAttribute("aria-valuenow", Math.max(0, query));
    field.setAttribute("aria-valuetext", query < 0 ? "no byte is chosen" : `byte ${query}, ${spoken(page.ids[query])}`);
    if (!page.isReading()) await refresh(); // else it comes when the text has been read
  }

  async function refresh() {
    if (query >= page.ids.length) query = -1;
    found = null;
    if (query >= 0) {
      const result = await page.job("look", { model: page.model, pattern: page.pattern(), ids: page.ids, query });
      if (result) found = result;
    } else part("look-says").textContent = "";
    clearTimeout(timer);
    timer = setTimeout(paintBytes, query < 0 && painted ? 150 : 0);
    paint();
    say();
  }

  field.addEventListener("click", ({ target }) => {
    if (target !== field) choose([...field.children].indexOf(target.closest("span")));
  });
  field.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 16, ArrowLeft: -1, ArrowUp: -16 };
    const to =
      { Home: 0, End: page.ids.length - 1, Escape: -1 }[event.key] ??
      (event.key in steps ? Math.max(0, query + steps[event.key]) : null);
    if (to === null) return;
    event.preventDefault();
    choose(to).then(() => field.children[query]?.scrollIntoView({ block: "nearest" }));
  });
  const choices = { layer: (value) => ((layer = value), paintBytes(), paint(), say()) };
  return { refresh, paint, ...choices };
}
