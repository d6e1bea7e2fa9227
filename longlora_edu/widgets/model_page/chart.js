// The drawings of the page: a curve of bits per byte, strips of attention, strips of change. Colours are the explorer's
// and stand for what they stand for everywhere; the ink follows the ground, light or dark.

import { COLOURS } from "../explorer/colours.js";
import { cellsOf } from "./pattern.js";

export const PATTERN_COLOURS = { dense: "ink", s2: COLOURS.plain, short: COLOURS.shifted, wrap: COLOURS.future };
export const DASHES = { before: [2, 4], stretched: [8, 5], after: [] };
const FONT = "12.5px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

// A canvas as wide as the page gives it and `height` points high, cleared; null while it is not laid out.
export function sheet(canvas, height) {
  const width = Math.floor(canvas.clientWidth);
  if (width < 60) return null;
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = FONT;
  const read = (name) => getComputedStyle(canvas).getPropertyValue(name).trim();
  const paint = { ink: read("--ink"), line: read("--line"), faint: read("--faint"), ground: read("--ground") };
  return { context, width, height, ...paint };
}

const tick = (most, count) =>
  [1, 2, 5, 10, 20, 50, 100, 128, 256, 512, 1024].find((step) => most / step <= count) ?? 2048;

// Bits per byte along the text: means over stretches of it, as [middle, bits].
export function smoothed(nats, pieces = 48) {
  const step = Math.max(8, Math.ceil(nats.length / pieces));
  const points = [];
  for (let from = 0; from < nats.length; from += step) {
    const part = nats.subarray(from, from + step);
    points.push([from + part.length / 2, part.reduce((sum, value) => sum + value, 0) / part.length / Math.LN2]);
  }
  return points;
}

// runs: [{ model, pattern, nats, now }]. The one of now is drawn last and thick.
export function drawCurves(canvas, runs, { length, trained, wall }) {
  const pen = sheet(canvas, 230);
  if (!pen) return;
  const { context, width, height } = pen;
  const [left, right, top, bottom] = [34, width - 8, 14, height - 34];
  const curves = runs.map((run) => ({ ...run, points: smoothed(run.nats) }));
  const most = Math.min(
    8,
    Math.max(3, Math.ceil(Math.max(...curves.flatMap(({ points }) => points.map(([, bits]) => bits))))),
  );
  const x = (position) => left + (position / Math.max(1, length)) * (right - left);
  const y = (bits) => bottom - (Math.min(bits, most) / most) * (bottom - top);
  context.textAlign = "right";
  for (let bits = 0; bits <= most; bits += most > 4 ? 2 : 1) {
    context.fillStyle = pen.faint;
    context.fillRect(left, y(bits), right - left, 1);
    context.fillStyle = pen.ink;
    context.fillText(bits, left - 6, y(bits) + 4);
  }
  context.textAlign = "center";
  const step = tick(length, width < 500 ? 4 : 8);
  for (let at = 0; at <= length; at += step) context.fillText(at, Math.min(x(at), right - 12), bottom + 15);
  context.fillText("position in the text, in bytes", (left + right) / 2, height - 4);
  if (wall)
    for (let at = wall; at < length; at += wall) {
      context.fillStyle = pen.faint;
      context.fillRect(x(at), top, 1, bottom - top);
    }
  if (trained < length) {
    context.fillStyle = pen.line;
    context.fillRect(x(trained) - 1, top - 6, 2, bottom - top + 6);
    context.textAlign = x(trained) > width / 2 ? "right" : "left";
    context.fillStyle = pen.ink;
    context.fillText(
      `the base was trained up to here, ${trained}`,
      x(trained) + (x(trained) > width / 2 ? -6 : 6),
      top + 2,
    );
  }
  for (const { model, pattern, points, now } of [...curves].sort((a, b) => a.now - b.now)) {
    context.strokeStyle = colourOf(pattern.name, pen);
    context.lineWidth = now ? 3 : 1.5;
    context.globalAlpha = now ? 1 : 0.75;
    context.setLineDash(DASHES[model]);
    context.beginPath();
    points.forEach(([position, bits], at) => context[at ? "lineTo" : "moveTo"](x(position), y(bits)));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
}

export const colourOf = (name, pen) => (PATTERN_COLOURS[name] === "ink" ? pen.ink : PATTERN_COLOURS[name]);

// Attention of one head along the text, with the cells of the geometry around it: the query's own cell is outlined.
export function drawLooks(canvas, weights, { query, head, heads, pattern }) {
  const pen = sheet(canvas, 54);
  if (!pen) return;
  const { context, width } = pen;
  const n = weights.length;
  const [top, bottom] = [4, 44];
  const x = (at) => (at / n) * width;
  const shifted = head >= Math.floor(heads / 2);
  const colour = shifted ? COLOURS.shifted : COLOURS.plain;
  for (const cell of cellsOf(pattern, n, heads, head)) {
    const own = cell.some(([start, stop]) => start <= query && query < stop);
    for (const [start, stop] of cell) {
      context.fillStyle = colour;
      context.globalAlpha = own ? 0.2 : 0.07;
      context.fillRect(x(start), top, x(stop) - x(start), bottom - top);
      context.globalAlpha = 1;
      context.strokeStyle = own ? pen.ink : pen.line;
      context.lineWidth = own ? 2 : 0.75;
      context.strokeRect(x(start) + 0.5, top, x(stop) - x(start) - 1, bottom - top);
    }
  }
  const most = weights.reduce((a, b) => Math.max(a, b), 1e-9);
  const bar = Math.max(1.5, width / n);
  for (let from = 0, pixel = 0; pixel < width; pixel++, from = Math.floor((pixel / width) * n)) {
    let high = 0;
    for (let at = from; at < Math.max(from + 1, ((pixel + 1) / width) * n) && at < n; at++)
      high = Math.max(high, weights[at]);
    const tall = Math.sqrt(high / most) * (bottom - top - 2);
    context.fillStyle = pen.ink;
    if (high > 1e-4) context.fillRect(pixel, bottom - tall, Math.min(bar, 3), tall);
  }
  context.fillStyle = pen.ink;
  context.beginPath();
  context.moveTo(x(query + 0.5), bottom);
  context.lineTo(x(query + 0.5) - 5, bottom + 8);
  context.lineTo(x(query + 0.5) + 5, bottom + 8);
  context.fill();
}

// How far each forecast moved, from 0 to 1, and where the text was changed.
export function drawMoved(canvas, moved, { start, stop, name, n }) {
  const pen = sheet(canvas, 40);
  if (!pen) return;
  const { context, width, height } = pen;
  const x = (at) => (at / n) * width;
  context.fillStyle = pen.faint;
  context.fillRect(0, height - 1, width, 1);
  context.globalAlpha = 0.35;
  context.fillStyle = pen.line;
  context.fillRect(x(start), 0, Math.max(2, x(stop) - x(start)), height);
  context.globalAlpha = 1;
  context.fillStyle = colourOf(name, pen);
  // The square root shows small changes too; what did not move at all stays empty.
  moved.forEach((by, at) => {
    if (by > 1e-6)
      context.fillRect(
        x(at),
        height - 1 - Math.sqrt(by) * (height - 3),
        Math.max(1, width / n),
        Math.sqrt(by) * (height - 3) + 1,
      );
  });
}
