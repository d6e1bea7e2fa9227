// What drawing is made of: words, hatched boxes, outlines.

import { COLOURS } from "./colours.js";

const FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";

export function write(pen, text, x, y, style = {}) {
  const { size = pen.sizes.small, bold = false, colour = pen.paint.ink, align = "left", fit } = style;
  const { context } = pen;
  context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  context.fillStyle = colour;
  context.textAlign = align;
  context.fillText(text, x, y, fit);
}

export function lengthOf(pen, text, { size = pen.sizes.small, bold = false } = {}) {
  pen.context.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  return pen.context.measureText(text).width;
}

// Sentences in lines no longer than `width`.
export function wrapped(pen, sentences, width, style) {
  return sentences.flatMap((sentence) => {
    const lines = [""];
    for (const word of sentence.split(" ")) {
      const longer = `${lines[lines.length - 1]} ${word}`.trim();
      if (lengthOf(pen, longer, style) <= width) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  });
}

// What looks at the future: never by its colour alone.
export function hatch(pen, x, y, width, height) {
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

export function outline(pen, x, y, width, height, { dashed = false, line = pen.sizes.line } = {}) {
  const { context } = pen;
  context.strokeStyle = pen.paint.ink;
  context.lineWidth = line;
  context.setLineDash(dashed ? [3 * line, 2 * line] : []);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
}
