// The picture: which tokens share a cell, the mask of each kind of head, who hears whom, and what it costs.
// Colours are those of longlora_edu/plots/style.py; a test holds them equal.

import { cells, plainHeads } from "./geometry.js";
import { COUNTED, count, number, percent } from "./words.js";

export const COLOURS = {
  plain: "#0072B2", shifted: "#E69F00", future: "#CC79A7", dense: "#666666", empty: "#EFEFEF", ink: "#222222",
};
// cividis, in steps of a sixteenth.
export const CIVIDIS = [
  "#00224E", "#002D6C", "#16396D", "#2B446E", "#3A4E6E", "#48586F", "#556271", "#626D73", "#6F7777",
  "#7D8279", "#8C8C78", "#9B9876", "#AAA372", "#B9AF6C", "#CABC64", "#DAC95A", "#FEE838",
];
const SCREEN = { text: 13, small: 11.5, line: 1.5, row: 24, bar: 15 };
const PROJECTOR = { text: 20, small: 17, line: 3, row: 36, bar: 24 };
const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
const LARGEST_WITH_NUMBERS = 16;

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// The colour of `layer` of `layers`: cividis from 0.15 to 1, as in plot_reach.
export function layerColour(layer, layers) {
  const place = 16 * (0.15 + (0.85 * (layer - 1)) / Math.max(1, layers - 1));
  const below = Math.min(15, Math.floor(place));
  const [a, b] = [channels(CIVIDIS[below]), channels(CIVIDIS[below + 1])];
  return `rgb(${a.map((value, i) => Math.round(value + (place - below) * (b[i] - value))).join(",")})`;
}

function readableOn(rgb) {
  const linear = rgb.match(/\d+/g).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#FFFFFF";
}

// Where everything stands in a picture `width` wide: three matrices side by side, or two and one, or one by one.
export function layout(state, width) {
  const sizes = state.projector ? PROJECTOR : SCREEN;
  const { text, small, row, bar } = sizes;
  const columns = width / text >= 46 ? 3 : width / text >= 24 ? 2 : 1;
  const gap = text * (columns === 3 ? 1.6 : 1);
  const axis = small * 3.4; // room left of a matrix for its numbers and its name
  const label = Math.ceil(text * 4.6);
  const strip = { x: label, y: text * 1.9, width: width - label - 1, row, height: 2 * row + 4 };
  const names = ["plain", "shifted", "reach"];
  const [head, foot] = [text * 3.6, small * 3.2];
  const side = Math.min((width - (columns - 1) * gap) / columns - axis - 1, columns === 1 ? 34 * text : 28 * text);
  let y = strip.y + strip.height + small * 2.2;
  const panels = {};
  names.forEach((name, at) => {
    const [column, line] = [at % columns, Math.floor(at / columns)];
    const top = y + line * (head + side + foot);
    panels[name] = { x: column * ((width + gap) / columns) + axis, y: top + head, side, top };
  });
  y += Math.ceil(3 / columns) * (head + side + foot) + text;
  const wide = columns === 3;
  const group = (at, rows) => {
    const block = { x: wide ? at * (width / 2 + gap / 2) : 0, y, width: wide ? width / 2 - gap / 2 : width, rows };
    block.height = text * 1.9 + rows * (bar + small * 1.7);
    if (!wide) y += block.height + text * 0.6;
    return block;
  };
  const costs = [group(0, 2), group(1, 3)];
  if (wide) y += Math.max(...costs.map(({ height }) => height));
  return { sizes, strip, panels, costs, width, height: Math.ceil(y + 2) };
}

// The token under a point of the picture: the row of a matrix, or the column of the strip; -1 beside them.
export function tokenAt({ n }, place, x, y) {
  const inside = (low, length, value) => value >= low && value < low + length;
  const { strip, panels } = place;
  if (inside(strip.x, strip.width, x) && inside(strip.y, strip.height, y))
    return Math.floor(((x - strip.x) / strip.width) * n);
  for (const { x: left, y: top, side } of Object.values(panels))
    if (inside(left - 24, side + 24, x) && inside(top, side, y)) return Math.floor(((y - top) / side) * n);
  return -1;
}

// Draws everything, `width` wide at `scale` device pixels; `query` is the token to point out (-1: none), `focus` the
// parts that a tour talks about (null: all), `below` sentences that go with the picture.
export function draw(canvas, context, state, facts, { width, scale, query = -1, focus = null, below = [] }) {
  const place = layout(state, width);
  const lines = wrapped(context, below, width, place.sizes.text);
  const [high, leading] = [place.height, place.sizes.text * 1.5];
  const height = lines.length ? high + (lines.length + 1) * leading : high;
  const pixels = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
    [canvas.width, canvas.height] = pixels;
    canvas.style.height = `${height}px`;
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const pen = { context, state, facts, query, ...place };
  context.fillStyle = "#FFFFFF";
  context.fillRect(0, 0, width, height);
  lines.forEach((line, at) => write(pen, line, 0, high + (at + 1.5) * leading, { size: pen.sizes.text }));
  drawStrip(pen);
  drawMask(pen, place.panels.plain, false);
  drawMask(pen, place.panels.shifted, true);
  drawReach(pen, place.panels.reach);
  drawCosts(pen);
  if (focus) veil(pen, focus);
  return place;
}

function wrapped(context, sentences, width, size) {
  context.font = `${size}px ${FONT}`;
  return sentences.flatMap((sentence) => {
    const lines = [""];
    for (const word of sentence.split(" ")) {
      const longer = `${lines[lines.length - 1]} ${word}`.trim();
      if (context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  });
}

// Gives the reader a PNG of the picture with its sentences, larger than the screen's.
export function exported(state, facts, query, sentences) {
  const [inside, margin, scale] = [state.projector ? 1400 : 1100, 30, 2];
  const canvas = document.createElement("canvas");
  draw(canvas, canvas.getContext("2d"), state, facts, { width: inside, scale, query, below: [...sentences, COUNTED] });
  const sheet = document.createElement("canvas");
  [sheet.width, sheet.height] = [canvas.width + 2 * margin * scale, canvas.height + 2 * margin * scale];
  const context = sheet.getContext("2d");
  context.fillStyle = "#FFFFFF";
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.drawImage(canvas, margin * scale, margin * scale);
  sheet.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `s2_n${state.n}_g${state.g}_shift${state.shift}_${state.boundary}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

function write(pen, text, x, y, { size = pen.sizes.small, bold = false, colour = COLOURS.ink, align = "left", fit } = {}) {
  const { context } = pen;
  context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  context.fillStyle = colour;
  context.textAlign = align;
  context.fillText(text, x, y, fit);
  return context.measureText(text).width;
}

function hatch(pen, x, y, width, height) {
  const { context, sizes } = pen;
  context.fillStyle = COLOURS.future;
  context.fillRect(x, y, width, height);
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = COLOURS.ink;
  context.lineWidth = sizes.line * 0.7;
  context.beginPath();
  const step = 4 * sizes.line;
  // Lines start at multiples of the step, so that neighbouring squares continue each other.
  for (let at = Math.floor((x + y) / step) * step; at < x + width + y + height; at += step) {
    context.moveTo(at - y, y);
    context.lineTo(at - y - height, y + height);
  }
  context.stroke();
  context.restore();
}

function outline(pen, x, y, width, height, { dashed = false, line = pen.sizes.line, colour = COLOURS.ink } = {}) {
  const { context } = pen;
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.setLineDash(dashed ? [3 * line, 2 * line] : []);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}

// Two rows of tokens, cut as plain and as shifted heads cut them.
function drawStrip(pen) {
  const { context, state, facts, query, sizes, strip } = pen;
  const { n } = state;
  const step = strip.width / n;
  write(pen, "The cut: tokens between two walls share a cell", 0, sizes.text, { size: sizes.text, bold: true });
  [false, true].forEach((shifted, at) => {
    const y = strip.y + at * (strip.row + 4);
    const values = shifted ? facts.shifted : facts.plain;
    write(pen, shifted ? "shifted" : "plain", 0, y + strip.row * 0.68, { size: sizes.text });
    if (!values) {
      write(pen, "no plain head: a single head is shifted", strip.x, y + strip.row * 0.68);
      return;
    }
    const colour = shifted ? COLOURS.shifted : COLOURS.plain;
    context.globalAlpha = query < 0 ? 1 : 0.25;
    context.fillStyle = colour;
    context.fillRect(strip.x, y, strip.width, strip.row);
    context.globalAlpha = 1;
    for (let key = 0; query >= 0 && key < n; key++) {
      const kind = values[query * n + key];
      if (kind === 1) {
        context.fillStyle = colour;
        context.fillRect(strip.x + key * step, y, step, strip.row);
      } else if (kind === 2) hatch(pen, strip.x + key * step, y, step, strip.row);
    }
    if (n <= 64) {
      context.fillStyle = "rgba(255,255,255,0.55)";
      for (let token = 1; token < n; token++) context.fillRect(strip.x + token * step - 0.5, y, 1, strip.row);
    }
    for (const cell of cells(state, shifted)) {
      for (const [start, stop] of cell) {
        const [left, right] = [strip.x + start * step, strip.x + stop * step];
        context.fillStyle = "#FFFFFF";
        const wall = Math.min(2 * sizes.line, step);
        if (start > 0) context.fillRect(left - wall / 2, y - 1, wall, strip.row + 2);
        outline(pen, left + wall / 2, y, right - left - wall, strip.row, { dashed: cell.length > 1 });
      }
      if (cell.length > 1) {
        // The two ends are one cell: an arrow leaves on each side.
        const arrow = { size: sizes.text, bold: true, align: "center", colour: "#000000" };
        for (const [[start, stop], sign] of [[cell.find(([start]) => start === 0), "←"], [cell.find(([start]) => start > 0), "→"]])
          if ((stop - start) * step > sizes.text)
            write(pen, sign, strip.x + ((start + stop) / 2) * step, y + strip.row * 0.7, arrow);
      }
    }
    if (query >= 0)
      outline(pen, strip.x + query * step, y - 1, step, strip.row + 2, { line: 2 * sizes.line });
  });
  const every = tickStep(n, strip.width, sizes.small * 2.4);
  for (let token = 0; token < n; token += every)
    write(pen, token, strip.x + (token + 0.5) * step, strip.y + strip.height + sizes.small * 1.2, { align: "center" });
}

// How many tokens lie between two numbers of an axis.
function tickStep(n, length, room) {
  const least = Math.max(n / 8, (n * room) / length);
  return [1, 2, 4, 8, 16, 32, 64].find((step) => step >= least) ?? 128;
}

function drawFrame(pen, panel, title, under, x, y) {
  const { context, sizes, state: { n } } = pen;
  write(pen, title, panel.x, panel.top + sizes.text * 1.3, { size: sizes.text, bold: true, fit: panel.side });
  write(pen, under, panel.x, panel.top + sizes.text * 1.3 + sizes.small * 1.45, { fit: panel.side });
  const step = panel.side / n;
  const every = tickStep(n, panel.side, sizes.small * 2.2);
  for (let token = 0; token < n; token += every) {
    const at = (token + 0.5) * step;
    write(pen, token, panel.x + at, panel.y + panel.side + sizes.small * 1.3, { align: "center" });
    write(pen, token, panel.x - 5, panel.y + at + sizes.small * 0.36, { align: "right" });
  }
  write(pen, x, panel.x + panel.side / 2, panel.y + panel.side + sizes.small * 2.6, { align: "center" });
  context.save();
  context.translate(panel.x - sizes.small * 2.5, panel.y + panel.side / 2);
  context.rotate(-Math.PI / 2);
  write(pen, y, 0, 0, { align: "center" });
  context.restore();
}

// Paints each run of equal values in a row at once: 128 tokens have 16,384 squares and few runs.
function drawRuns(pen, panel, values, paint) {
  const { n } = pen.state;
  const step = panel.side / n;
  for (let row = 0; row < n; row++)
    for (let from = 0, to; from < n; from = to) {
      const value = values[row * n + from];
      for (to = from + 1; to < n && values[row * n + to] === value; to++);
      paint(value, panel.x + from * step, panel.y + row * step, (to - from) * step, step);
    }
}

function drawGrid(pen, panel) {
  const { context, state: { n } } = pen;
  if (n > 64) return;
  context.fillStyle = "#FFFFFF";
  const [step, line] = [panel.side / n, n <= 32 ? 1 : 0.5];
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
  context.fillStyle = "rgba(255,255,255,0.62)";
  context.fillRect(panel.x, panel.y, panel.side, query * step);
  context.fillRect(panel.x, top + step, panel.side, panel.side - (query + 1) * step);
  outline(pen, panel.x, top, panel.side, step, { line: 1.4 * sizes.line });
  context.fillStyle = COLOURS.ink;
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

function drawMask(pen, panel, shifted) {
  const { context, state, facts, query, sizes } = pen;
  const { n } = state;
  const values = shifted ? facts.shifted : facts.plain;
  const [from, to] = shifted ? [plainHeads(state), state.heads - 1] : [0, plainHeads(state) - 1];
  const heads = from === to ? `Head ${from}` : `Heads ${from}–${to}`;
  const [x, y] = ["key: is looked at", "query: looks"];
  if (!values) {
    drawFrame(pen, panel, "No plain head", "a single head is shifted", x, y);
    context.fillStyle = COLOURS.empty;
    context.fillRect(panel.x, panel.y, panel.side, panel.side);
    return;
  }
  const ahead = shifted ? state.boundary === "wrap" && state.shift * (state.g - state.shift) : 0;
  const each = from === to ? "" : " each";
  const under = count(shifted ? facts.shiftedPairs : facts.plainPairs, "pair") + each;
  drawFrame(pen, panel, `${heads}: ${shifted ? `shifted by ${state.shift}` : "plain"}`,
    ahead ? `${under}, ${number(ahead)} look ahead` : under, x, y);
  const colours = [COLOURS.empty, shifted ? COLOURS.shifted : COLOURS.plain];
  const hatched = [];
  drawRuns(pen, panel, values, (kind, ...box) => {
    if (kind === 2) return hatched.push(box);
    context.fillStyle = colours[kind];
    context.fillRect(...box);
  });
  // Squares in the future come in blocks: hatch each block as one.
  const blocks = new Map();
  for (const [left, top, width, height] of hatched) {
    const block = blocks.get(left) ?? [left, top, width, 0];
    block[3] = top + height - block[1];
    blocks.set(left, block);
  }
  blocks.forEach((block) => hatch(pen, ...block));
  drawGrid(pen, panel);
  const step = panel.side / n;
  for (const cell of cells(state, shifted))
    for (const [top, bottom] of cell)
      for (const [left, right] of cell)
        if (right > left && bottom > top && values[(bottom - 1) * n + left])
          outline(pen, panel.x + left * step, panel.y + top * step, (right - left) * step, (bottom - top) * step,
            { dashed: cell.length > 1, line: n > 64 ? sizes.line * 0.7 : sizes.line });
  drawQuery(pen, panel, (key) => values[query * n + key]);
}

function drawReach(pen, panel) {
  const { context, state, facts, query, sizes } = pen;
  const { n, layers } = state;
  const ever = facts.lastHearsFirst;
  const under = ever === 0 ? "the last never hears the first"
    : ever <= layers ? `the last hears the first after ${ever}` : `the last hears the first only after ${ever}`;
  drawFrame(pen, panel, `Heard within ${count(layers, "layer")}`, under, "token that is heard", "token that hears");
  const within = facts.needed.map((needed) => (needed <= layers ? needed : 0));
  drawRuns(pen, panel, within, (needed, ...box) => {
    context.fillStyle = needed ? layerColour(needed, layers) : COLOURS.empty;
    context.fillRect(...box);
  });
  drawGrid(pen, panel);
  const step = panel.side / n;
  const size = Math.min(sizes.small, step * 0.7);
  for (let at = 0; n <= LARGEST_WITH_NUMBERS && at < n * n; at++)
    if (within[at])
      write(pen, within[at], panel.x + ((at % n) + 0.5) * step, panel.y + (Math.floor(at / n) + 0.5) * step + size * 0.36,
        { size, align: "center", colour: readableOn(layerColour(within[at], layers)) });
  if (n > LARGEST_WITH_NUMBERS) drawLayerKey(pen, panel);
  drawQuery(pen, panel, (key) => within[query * n + key]);
}

// Which colour is which layer, in the corner that looks ahead; beside the title where something is heard from there.
function drawLayerKey(pen, panel) {
  const { state, sizes } = pen;
  const width = panel.side * 0.4;
  const right = panel.x + panel.side;
  if (state.boundary === "wrap") return layerScale(pen, right - width, panel.top + sizes.text * 0.3, width);
  layerScale(pen, right - width - sizes.text * 0.8, panel.y + sizes.text * 0.8, width);
  write(pen, "layers needed", right - sizes.text * 0.8, panel.y + sizes.text * 3.1, { align: "right" });
}

function layerScale(pen, x, y, width) {
  const { context, state: { layers }, sizes } = pen;
  const step = width / layers;
  for (let layer = 1; layer <= layers; layer++) {
    context.fillStyle = layerColour(layer, layers);
    context.fillRect(x + (layer - 1) * step, y, step + 0.5, sizes.text);
  }
  const ends = layers > 1 ? [1, layers] : [1];
  for (const layer of ends)
    write(pen, layer, x + (layer - 0.5) * step, y + sizes.text * 0.85,
      { align: "center", colour: readableOn(layerColour(layer, layers)) });
}

function drawCosts(pen) {
  const { facts: { flops, bytes, future, pairs }, costs, sizes, context } = pen;
  const titles = ["FLOPs of attention, one layer", "Bytes of its scores, one layer"];
  titles.forEach((title, at) => write(pen, title, costs[at].x, costs[at].y + sizes.text, { size: sizes.text, bold: true }));
  const ahead = (future / pairs) * (flops.plain + flops.shifted);
  const rows = [
    [costs[0], 0, "full attention", flops.dense, [[COLOURS.dense, flops.dense]]],
    [costs[0], 1, "S²-Attn", flops.dense,
      [[COLOURS.plain, flops.plain], [COLOURS.shifted, flops.shifted - ahead], [COLOURS.future, ahead]]],
    [costs[1], 0, "whole matrix, masked", bytes.masked, [[COLOURS.dense, bytes.masked]]],
    [costs[1], 1, "cells only", bytes.masked, [[COLOURS.plain, bytes.plain], [COLOURS.shifted, bytes.shifted]]],
    [costs[1], 2, "flash kernel", bytes.masked, [[COLOURS.ink, bytes.flash]]],
  ];
  for (const [block, row, name, most, parts] of rows) {
    const total = parts.reduce((all, [, value]) => all + value, 0);
    const y = block.y + sizes.text * 1.9 + row * (sizes.bar + sizes.small * 1.7);
    const share = row ? `, ${percent(total / most)}` : "";
    write(pen, name, block.x, y + sizes.small * 0.9);
    write(pen, number(total) + share, block.x + block.width, y + sizes.small * 0.9, { align: "right" });
    let x = block.x;
    const scale = block.width / most;
    for (const [colour, value] of parts) {
      if (colour === COLOURS.future && value) hatch(pen, x, y + sizes.small * 1.25, value * scale, sizes.bar);
      context.fillStyle = colour;
      if (colour !== COLOURS.future) context.fillRect(x, y + sizes.small * 1.25, value * scale, sizes.bar);
      x += value * scale;
    }
  }
}

// Fades what a tour does not talk about.
function veil(pen, focus) {
  const { context, strip, panels, costs, width, sizes } = pen;
  context.fillStyle = "rgba(255,255,255,0.84)";
  if (!focus.includes("strip")) context.fillRect(0, 0, width, panels.plain.top);
  for (const [name, { x, top, side }] of Object.entries(panels))
    if (!focus.includes(name)) context.fillRect(x - sizes.small * 3.4, top, side + sizes.small * 3.5, side + sizes.text * 8);
  if (!focus.includes("costs")) context.fillRect(0, costs[0].y - 2, width, pen.height - costs[0].y + 2);
}
