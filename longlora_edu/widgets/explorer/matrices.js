// The matrices: who looks at whom on each kind of head, and who hears whom.

import { cells, plainHeads } from "./geometry.js";
import { count, number } from "./words.js";
import { COLOURS, clear, layerColours, readableOn } from "./colours.js";
import { tickStep } from "./layout.js";
import { hatch, lengthOf, outline, write } from "./pen.js";

const LARGEST_WITH_NUMBERS = 16;

// The words and numbers around a matrix: its title and up to two lines below it, the names of its rows and columns.
// `chips` are the heads it is the mask of, in their colour.
function drawFrame(pen, panel, { title, lines, columns, rows, chips = [], colour }) {
  const { context, sizes: { text, small }, state: { n } } = pen;
  const bold = { size: text, bold: true };
  const chip = text * 1.35;
  const room = panel.side - lengthOf(pen, title, bold) - text * 0.5;
  const each = !chips.length || chips.length * (chip + 2) <= room;
  const labels = each ? chips : [`${chips[0]}–${chips[chips.length - 1]}`];
  let left = panel.x;
  for (const label of labels) {
    const wide = each ? chip : chip * 1.8;
    context.fillStyle = colour;
    context.fillRect(left, panel.top + text * 0.25, wide, chip);
    const style = { size: text * 0.9, bold: true, align: "center", colour: readableOn(colour) };
    write(pen, label, left + wide / 2, panel.top + text * 1.25, style);
    left += wide + 2;
  }
  if (chips.length) left += text * 0.3;
  write(pen, title, left, panel.top + text * 1.3, { ...bold, fit: panel.x + panel.side - left });
  lines.forEach((line, at) =>
    write(pen, line, panel.x, panel.top + text * 1.5 + small * (1.25 + 1.35 * at), { fit: panel.side }));
  const step = panel.side / n;
  const every = pen.names && step > small ? 1 : tickStep(n, panel.side, small * 2.2);
  for (let token = 0; token < n; token += every) {
    const at = (token + 0.5) * step;
    const label = pen.names ? shortened(pen.names[token] ?? "·") : token;
    if (pen.names) standing(pen, label, panel.x + at, panel.y + panel.side + 6);
    else write(pen, label, panel.x + at, panel.y + panel.side + small * 1.3, { align: "center" });
    write(pen, label, panel.x - 5, panel.y + at + small * 0.36, { align: "right", fit: pen.axis - small * 1.6 });
  }
  const name = { align: "center", fit: panel.side };
  write(pen, columns, panel.x + panel.side / 2, panel.y + panel.side + pen.foot - small * 1.4, name);
  context.save();
  context.translate(panel.x - pen.axis + small * 0.9, panel.y + panel.side / 2);
  context.rotate(-Math.PI / 2);
  write(pen, rows, 0, 0, name);
  context.restore();
}

const shortened = (word) => (word.length > 9 ? `${word.slice(0, 8)}…` : word);

// A word from top to bottom, below its column.
function standing(pen, word, x, y) {
  const { context, sizes: { small } } = pen;
  context.save();
  context.translate(x - small * 0.36, y);
  context.rotate(Math.PI / 2);
  write(pen, word, 0, 0, { fit: pen.foot - small * 2.8 });
  context.restore();
}

// Paints each run of equal values in a row at once: 128 tokens have 16,384 squares and few runs.
function drawRuns(pen, panel, values, colours) {
  const { context, state: { n }, scale } = pen;
  const step = panel.side / n;
  const edge = (start, at) => Math.round((start + at * step) * scale) / scale; // whole pixels: no seams between rows
  context.fillStyle = colours[0];
  context.fillRect(panel.x, panel.y, panel.side, panel.side);
  for (let row = 0; row < n; row++)
    for (let from = 0, to; from < n; from = to) {
      const value = values[row * n + from];
      for (to = from + 1; to < n && values[row * n + to] === value; to++);
      if (!value) continue;
      context.fillStyle = colours[value];
      const [left, top] = [edge(panel.x, from), edge(panel.y, row)];
      context.fillRect(left, top, edge(panel.x, to) - left, edge(panel.y, row + 1) - top);
    }
}

function drawGrid(pen, panel) {
  const { context, state: { n } } = pen;
  const step = panel.side / n;
  if (step < 5) return;
  context.fillStyle = pen.paint.ground;
  const line = step < 8 ? 0.5 : 1;
  for (let at = 1; at < n; at++) {
    context.fillRect(panel.x + at * step - line / 2, panel.y, line, panel.side);
    context.fillRect(panel.x, panel.y + at * step - line / 2, panel.side, line);
  }
}

// The row of the token that is pointed out stays, the others fade; small marks above say which columns it sees.
function drawQuery(pen, panel, sees) {
  const { context, query, sizes, state: { n } } = pen;
  if (query < 0) return;
  const step = panel.side / n;
  const top = panel.y + query * step;
  context.fillStyle = clear(pen.paint.ground, 0.62);
  context.fillRect(panel.x, panel.y, panel.side, query * step);
  context.fillRect(panel.x, top + step, panel.side, panel.side - (query + 1) * step);
  outline(pen, panel.x, top, panel.side, step, { line: 1.4 * sizes.line });
  context.fillStyle = pen.paint.ink;
  for (let key = 0; key < n; key++) {
    if (!sees(key)) continue;
    const [at, half] = [panel.x + (key + 0.5) * step, Math.min(step * 0.32, sizes.small * 0.4)];
    context.beginPath();
    context.moveTo(at - half, panel.y - 2 - 1.4 * half);
    context.lineTo(at + half, panel.y - 2 - 1.4 * half);
    context.lineTo(at, panel.y - 2);
    context.fill();
  }
}

export function drawMask(pen, panel, shifted) {
  const { context, state, facts, query, sizes } = pen;
  const { n, g, shift } = state;
  const values = shifted ? facts.shifted : facts.plain;
  const frame = { columns: "key: is looked at", rows: "query: looks" };
  if (!values) {
    drawFrame(pen, panel, { title: "No plain head", lines: ["a single head is shifted"], ...frame });
    context.fillStyle = pen.paint.empty;
    context.fillRect(panel.x, panel.y, panel.side, panel.side);
    return;
  }
  const plain = plainHeads(state);
  const chips = Array.from({ length: shifted ? state.heads - plain : plain }, (_, at) => at + (shifted ? plain : 0));
  const colour = shifted ? COLOURS.shifted : COLOURS.plain;
  const each = chips.length > 1 ? " each" : "";
  const lines = pen.hidden ? [] : [count(shifted ? facts.shiftedPairs : facts.plainPairs, "pair") + each];
  const ahead = shifted ? facts.future / chips.length : 0;
  if (ahead && !pen.hidden) lines.push(`\u2003 ${number(ahead)}${each} ${ahead === 1 ? "looks" : "look"} ahead`);
  drawFrame(pen, panel, { title: shifted && shift ? `shifted by ${shift}` : "plain", lines, ...frame, chips, colour });
  drawRuns(pen, panel, values, [pen.paint.empty, colour, COLOURS.future]);
  const step = panel.side / n;
  if (ahead) {
    const sign = panel.top + sizes.text * 1.5 + sizes.small * 1.7;
    if (!pen.hidden) hatch(pen, panel.x, sign, sizes.small * 1.1, sizes.small);
    hatch(pen, panel.x + (n - g + shift) * step, panel.y, (g - shift) * step, shift * step);
  }
  drawGrid(pen, panel);
  for (const cell of cells(state, shifted))
    for (const [top, bottom] of cell)
      for (const [left, right] of cell) {
        const box = [panel.x + left * step, panel.y + top * step, (right - left) * step, (bottom - top) * step];
        const line = n > 64 ? sizes.line * 0.7 : sizes.line;
        // A cell that wraps is in several pieces, one of which nobody may look into.
        if (values[(bottom - 1) * n + left]) outline(pen, ...box, { dashed: cell.length > 1, line });
      }
  // A leak that has just begun is pointed at.
  if (ahead && pen.flash) {
    const far = pen.flash * 10;
    const [width, height] = [(g - shift) * step + 2 * far, shift * step + 2 * far];
    outline(pen, panel.x + (n - g + shift) * step - far, panel.y - far, width, height, { line: 2 * sizes.line });
  }
  const hop = pen.hop;
  if (hop && hop.shifted === shifted) {
    const corner = [panel.x + hop.to * step - 1, panel.y + hop.from * step - 1];
    outline(pen, ...corner, step + 2, step + 2, { line: 3 * sizes.line });
  }
  drawQuery(pen, panel, (key) => values[query * n + key]);
}

export function drawReach(pen, panel) {
  const { state: { n, layers }, facts, query, sizes: { small } } = pen;
  const ever = facts.lastHearsFirst;
  const when = ever ? `hears the first ${ever > layers ? "only " : ""}after ${ever}` : "never hears the first";
  const frame = { columns: "token that is heard", rows: "token that hears" };
  drawFrame(pen, panel, { title: `Heard within ${count(layers, "layer")}`, lines: pen.hidden ? [] : [`the last ${when}`], ...frame });
  const within = facts.needed.map((needed) => (needed <= layers ? needed : 0));
  const colours = [pen.paint.empty, ...layerColours(layers)];
  drawRuns(pen, panel, within, colours);
  drawGrid(pen, panel);
  const step = panel.side / n;
  const size = Math.min(small, step * 0.7);
  const middle = (token) => (token + 0.5) * step;
  for (let at = 0; n <= LARGEST_WITH_NUMBERS && at < n * n; at++) {
    const style = { size, align: "center", colour: readableOn(colours[within[at]]) };
    const [row, column] = [Math.floor(at / n), at % n];
    if (within[at]) write(pen, within[at], panel.x + middle(column), panel.y + middle(row) + size * 0.36, style);
  }
  drawLayers(pen, panel, colours);
  drawQuery(pen, panel, (key) => within[query * n + key]);
}

// Which colour is which layer.
function drawLayers(pen, panel, colours) {
  const { context, state: { layers }, sizes: { text, small } } = pen;
  const y = panel.top + text * 1.5 + small * 1.6;
  const width = Math.min(panel.side * 0.62, layers * small * 2.2);
  const step = width / layers;
  const every = layers <= 8 ? 1 : tickStep(layers, width, small * 1.6);
  for (let layer = 1; layer <= layers; layer++) {
    context.fillStyle = colours[layer];
    context.fillRect(panel.x + (layer - 1) * step, y, step + 0.5, small * 1.25);
    const style = { align: "center", colour: readableOn(colours[layer]) };
    if ((layer - 1) % every === 0) write(pen, layer, panel.x + (layer - 0.5) * step, y + small, style);
  }
  write(pen, "layers needed", panel.x + width + small * 0.5, y + small, { fit: panel.side - width - small * 0.5 });
}
