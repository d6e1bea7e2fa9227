// The picture: which tokens share a cell, the mask of each kind of head, who hears whom, and what it costs.

import { cells } from "./geometry.js";
import { toHash } from "./state.js";
import { COUNTED, number, percent } from "./words.js";
import { COLOURS, readableOn } from "./colours.js";
import { layout, tickStep } from "./layout.js";
import { hatch, outline, wrapped, write } from "./pen.js";
import { drawMask, drawReach } from "./matrices.js";

// Draws everything, `width` wide at `scale` device pixels, and returns where it stands. `query` is the token to point
// out (-1: none), `focus` the parts that a tour talks about (null: all), `below` sentences that go with the picture.
export function draw(canvas, context, state, facts, { width, scale, query = -1, focus = null, below = [] }) {
  const place = layout(state, width);
  const pen = { context, state, facts, query, scale, ...place };
  const words = { size: place.sizes.text };
  const lines = wrapped(pen, below, width, words);
  const leading = place.sizes.text * 1.5;
  const height = place.height + (lines.length && (lines.length + 1) * leading);
  const pixels = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) {
    [canvas.width, canvas.height] = pixels;
    canvas.style.height = `${height}px`;
  }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = "#FFFFFF";
  context.fillRect(0, 0, width, height);
  lines.forEach((line, at) => write(pen, line, 0, place.height + (at + 1.5) * leading, words));
  drawStrip(pen);
  drawMask(pen, place.panels.plain, false);
  drawMask(pen, place.panels.shifted, true);
  drawReach(pen, place.panels.reach);
  drawCosts(pen);
  if (focus) veil(pen, focus);
  return place;
}

// Gives the reader a PNG of the picture with its sentences, larger than the screen's.
export function exported(state, facts, query, sentences) {
  const [inside, margin, scale] = [state.projector ? 1400 : 1100, 30, 2];
  const canvas = document.createElement("canvas");
  const below = [...sentences, COUNTED, `explorer.html#${toHash({ ...state, tour: false })}`];
  draw(canvas, canvas.getContext("2d"), state, facts, { width: inside, scale, query, below });
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

// Two rows of tokens, cut as plain and as shifted heads cut them.
function drawStrip(pen) {
  const { state: { n }, facts, query, sizes: { text, small, line }, strip } = pen;
  const step = strip.width / n;
  write(pen, "Tokens that share a cell", 0, text, { size: text, bold: true });
  [false, true].forEach((shifted, at) => {
    const y = strip.y + at * (strip.row + 4);
    write(pen, shifted ? "shifted" : "plain", 0, y + strip.row * 0.68, { size: text });
    if (shifted || facts.plain) drawTokens(pen, y, step, shifted);
    else write(pen, "no plain head: a single head is shifted", strip.x, y + strip.row * 0.68, { fit: strip.width });
    if (query >= 0) outline(pen, strip.x + query * step, y - 1, step, strip.row + 2, { line: 2 * line });
  });
  const every = tickStep(n, strip.width, small * 2.4);
  for (let token = 0; token < n; token += every)
    write(pen, token, strip.x + (token + 0.5) * step, strip.y + strip.height + small * 1.2, { align: "center" });
}

function drawTokens(pen, y, step, shifted) {
  const { context, state, facts, query, sizes, strip } = pen;
  const { n } = state;
  const [values, colour] = shifted ? [facts.shifted, COLOURS.shifted] : [facts.plain, COLOURS.plain];
  const fill = (from, to) => context.fillRect(strip.x + from * step, y, (to - from) * step, strip.row);
  context.fillStyle = colour;
  context.globalAlpha = query < 0 ? 1 : 0.25;
  fill(0, n);
  context.globalAlpha = 1;
  for (let key = 0; query >= 0 && key < n; key++) {
    context.fillStyle = colour;
    if (values[query * n + key] === 1) fill(key, key + 1);
    if (values[query * n + key] === 2) hatch(pen, strip.x + key * step, y, step, strip.row);
  }
  context.fillStyle = "rgba(255,255,255,0.55)";
  for (let token = 1; n <= 64 && token < n; token++) context.fillRect(strip.x + token * step - 0.5, y, 1, strip.row);
  const wall = Math.min(2 * sizes.line, step);
  for (const cell of cells(state, shifted))
    for (const [start, stop] of cell) {
      const [left, length] = [strip.x + start * step, (stop - start) * step];
      context.fillStyle = "#FFFFFF";
      if (start > 0) context.fillRect(left - wall / 2, y - 1, wall, strip.row + 2);
      outline(pen, left + wall / 2, y, length - wall, strip.row, { dashed: cell.length > 1 });
      // Two ends that are one cell: an arrow leaves on each side.
      const arrow = { size: sizes.text, bold: true, align: "center", colour: "#000000" };
      if (cell.length > 1 && length > sizes.text)
        write(pen, start ? "→" : "←", left + length / 2, y + strip.row * 0.7, arrow);
    }
}

// Bars for the FLOPs and the bytes of one layer.
function drawCosts(pen) {
  const { facts: { flops, bytes, future, pairs }, costs, sizes: { text } } = pen;
  ["FLOPs of attention, one layer", "Bytes of its scores, one layer"].forEach((title, at) =>
    write(pen, title, costs[at].x, costs[at].y + text, { size: text, bold: true, fit: costs[at].width }));
  const ahead = (future / pairs) * (flops.plain + flops.shifted);
  const part = (colour, value, kind = "") => ({ kind, colour: COLOURS[colour], value });
  const both = (plain, shifted) => [part("plain", plain, "plain"), part("shifted", shifted, "shifted")];
  const sparse = [...both(flops.plain, flops.shifted - ahead), part("future", ahead)];
  drawBar(pen, costs[0], 0, "full attention", flops.dense, [part("dense", flops.dense)]);
  drawBar(pen, costs[0], 1, "S²-Attn", flops.dense, sparse);
  drawBar(pen, costs[1], 0, "whole matrix, masked", bytes.masked, [part("dense", bytes.masked)]);
  drawBar(pen, costs[1], 1, "cells only", bytes.masked, both(bytes.plain, bytes.shifted));
  drawBar(pen, costs[1], 2, "flash kernel", bytes.masked, [part("ink", bytes.flash)]);
}

function drawBar(pen, block, row, name, most, parts) {
  const { context, sizes: { text, small, bar } } = pen;
  const total = parts.reduce((all, { value }) => all + value, 0);
  const y = block.y + text * 1.9 + row * (bar + small * 1.9);
  const said = number(total) + (row ? `, ${percent(total / most)}` : "");
  write(pen, name, block.x, y + small * 0.9);
  write(pen, said, block.x + block.width, y + small * 0.9, { align: "right" });
  let x = block.x;
  for (const { kind, colour, value } of parts) {
    const box = [x, y + small * 1.25, (value * block.width) / most, bar];
    context.fillStyle = colour;
    if (colour === COLOURS.future) hatch(pen, ...box);
    else context.fillRect(...box);
    const style = { align: "center", colour: readableOn(colour) };
    if (kind && box[2] > small * 4.5) write(pen, kind, x + box[2] / 2, box[1] + bar / 2 + small * 0.36, style);
    x += box[2];
  }
}

// Fades what a tour does not talk about.
function veil(pen, focus) {
  const { context, panels, costs, width, height, sizes: { small } } = pen;
  context.fillStyle = "rgba(255,255,255,0.84)";
  if (!focus.includes("strip")) context.fillRect(0, 0, width, panels.plain.top);
  for (const [name, { x, y, top, side }] of Object.entries(panels))
    if (!focus.includes(name))
      context.fillRect(x - small * 3.4, top, side + small * 3.5, y - top + side + small * 3.4);
  if (!focus.includes("costs")) context.fillRect(0, costs[0].y - 2, width, height - costs[0].y + 2);
}
