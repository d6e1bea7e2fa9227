// The picture: which tokens share a cell, the mask of each kind of head, who hears whom, and what it costs.

import { cells } from "./geometry.js";
import { toHash, wordsOf } from "./state.js";
import { COUNTED, number, percent } from "./words.js";
import { COLOURS, PAINTS, clear, readableOn } from "./colours.js";
import { layout, tickStep } from "./layout.js";
import { hatch, outline, wrapped, write } from "./pen.js";
import { drawMask, drawReach } from "./matrices.js";

// Draws everything, `width` wide at `scale` device pixels, and returns where it stands. `query` is the token to point
// out (-1: none), `focus` the parts that a tour talks about (null: all), `below` sentences that go with the picture,
// `play` a message on its way, `flash` how strongly a leak is pointed at, from 0 to 1, `hidden` whether counts that
// answer a poll stay out, `tall` how far down the matrices may go.
export function draw(canvas, context, state, facts, options) {
  const { width, scale, query = -1, focus = null, below = [], costs = false } = options;
  const { dark = false, play = null, flash = 0, tall, hidden = false } = options;
  const names = state.words ? wordsOf(state.words) : null;
  const place = layout(state, width, { costs, tall });
  const paint = PAINTS[dark ? "dark" : "light"];
  const hop = play && play.hops[Math.min(Math.floor(play.at), play.hops.length - 1)];
  const pen = { context, state, facts, query, scale, names, paint, flash, hop, hidden, ...place };
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
  context.fillStyle = paint.ground;
  context.fillRect(0, 0, width, height);
  lines.forEach((line, at) => write(pen, line, 0, place.height + (at + 1.5) * leading, words));
  drawStrip(pen);
  if (play) drawPlay(pen, play);
  drawMask(pen, place.panels.plain, false);
  drawMask(pen, place.panels.shifted, true);
  drawReach(pen, place.panels.reach);
  if (costs) drawCosts(pen);
  if (focus) veil(pen, focus);
  return place;
}

// Gives the reader a PNG of the picture with its sentences, larger than the screen's.
export function exported(state, facts, query, sentences) {
  const [inside, margin, scale] = [state.projector ? 1400 : 1100, 30, 2];
  const canvas = document.createElement("canvas");
  const below = [...sentences, COUNTED, `explorer.html#${toHash({ ...state, tour: false })}`];
  draw(canvas, canvas.getContext("2d"), state, facts, { width: inside, scale, query, below, costs: true });
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
  const { state: { n, shift }, facts, query, sizes: { text, small, line }, strip } = pen;
  const step = strip.width / n;
  write(pen, "Tokens that share a cell", 0, text, { size: text, bold: true });
  [false, true].forEach((shifted, at) => {
    const y = strip.y + at * (strip.row + 4);
    write(pen, shifted && shift ? "shifted" : "plain", 0, y + strip.row * 0.68, { size: text });
    if (shifted || facts.plain) drawTokens(pen, y, step, shifted);
    else write(pen, "no plain head: a single head is shifted", strip.x, y + strip.row * 0.68, { fit: strip.width });
    if (query >= 0) outline(pen, strip.x + query * step, y - 1, step, strip.row + 2, { line: 2 * line });
  });
  const every = tickStep(n, strip.width, small * 2.4);
  const named = pen.names && step > 26; // words where there is room for them
  for (let token = 0; token < n; token += named ? 1 : every) {
    const fit = named ? step - 3 : undefined;
    const label = named ? pen.names[token] ?? "·" : token;
    write(pen, label, strip.x + (token + 0.5) * step, strip.y + strip.height + small * 1.2, { align: "center", fit });
  }
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
  context.fillStyle = clear(pen.paint.ground, 0.55);
  for (let token = 1; n <= 64 && token < n; token++) context.fillRect(strip.x + token * step - 0.5, y, 1, strip.row);
  const wall = Math.min(2 * sizes.line, step);
  for (const cell of cells(state, shifted))
    for (const [start, stop] of cell) {
      const [left, length] = [strip.x + start * step, (stop - start) * step];
      context.fillStyle = pen.paint.ground;
      if (start > 0) context.fillRect(left - wall / 2, y - 1, wall, strip.row + 2);
      outline(pen, left + wall / 2, y, length - wall, strip.row, { dashed: cell.length > 1 });
      // Two ends that are one cell: an arrow leaves on each side.
      const arrow = { size: sizes.text, bold: true, align: "center", colour: "#000000" };
      if (cell.length > 1 && length > sizes.text)
        write(pen, start ? "→" : "←", left + length / 2, y + strip.row * 0.7, arrow);
    }
}

// A message on its way: at each hop the cell that carries it lights up, and a line shows where it went.
function drawPlay(pen, { hops, at }) {
  const { context, state: { n }, state, strip, sizes } = pen;
  const step = strip.width / n;
  const rowOf = (shifted) => strip.y + (shifted ? strip.row + 4 : 0);
  const x = (token) => strip.x + (token + 0.5) * step;
  context.fillStyle = clear(pen.paint.ground, 0.7);
  context.fillRect(strip.x - 1, strip.y - 2, strip.width + 2, strip.height + 3);
  const points = [];
  hops.slice(0, Math.ceil(at)).forEach(({ from, to, shifted }, index) => {
    const now = index === Math.ceil(at) - 1;
    const cell = cells(state, shifted).find((ranges) => ranges.some(([start, stop]) => start <= from && from < stop));
    for (const [start, stop] of cell) {
      context.globalAlpha = now ? 1 : 0.45;
      context.fillStyle = shifted ? COLOURS.shifted : COLOURS.plain;
      context.fillRect(strip.x + start * step, rowOf(shifted), (stop - start) * step, strip.row);
      context.globalAlpha = 1;
      outline(pen, strip.x + start * step, rowOf(shifted), (stop - start) * step, strip.row);
    }
    const share = now ? at - index : 1; // of this hop
    const y = rowOf(shifted) + strip.row / 2;
    points.push([x(from), y], [x(from) + share * (x(to) - x(from)), y]);
  });
  for (const [colour, line] of [[pen.paint.ground, 6], [pen.paint.ink, 3]]) {
    context.strokeStyle = colour;
    context.lineWidth = line * sizes.line * 0.7;
    context.lineJoin = "round";
    context.beginPath();
    points.forEach((point, index) => context[index ? "lineTo" : "moveTo"](...point));
    context.stroke();
  }
  const [left, top] = points[points.length - 1] ?? [x(n - 1), rowOf(false) + strip.row / 2];
  for (const [colour, size] of [[pen.paint.ground, 0.42], [pen.paint.ink, 0.32]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(left, top, size * strip.row, 0, 7);
    context.fill();
  }
}

// Bars for the FLOPs and the bytes of one layer.
function drawCosts(pen) {
  const { facts: { flops, bytes, future, pairs }, costs, sizes: { text } } = pen;
  ["FLOPs of attention, one layer", "Bytes of its scores, one layer"].forEach((title, at) =>
    write(pen, title, costs[at].x, costs[at].y + text, { size: text, bold: true, fit: costs[at].width }));
  const ahead = (future / pairs) * (flops.plain + flops.shifted);
  const part = (colour, value, kind = "") => ({ kind, colour: pen.paint[colour] ?? COLOURS[colour], value });
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
  const { context, panels, width, sizes: { small } } = pen;
  context.fillStyle = clear(pen.paint.ground, 0.84);
  if (!focus.includes("strip")) context.fillRect(0, 0, width, panels.plain.top);
  for (const [name, { x, y, top, side }] of Object.entries(panels))
    if (!focus.includes(name))
      context.fillRect(x - pen.axis, top, side + pen.axis + small * 0.1, y - top + side + pen.foot - small * 0.6);
}
