// Three pictures that move: the shift, a word that travels through the layers, positions as clocks. Python computes
// what is shown and says it in words; here it is drawn, at a time `t` that the reader slides or plays.

import { COLOURS, PAINTS, clear } from "../explorer/colours.js";
import { followTheme } from "../explorer/theme.js";

const TYPE = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
const UNSEEN = "#D55E00"; // a hand where training never saw it; dashed too
const TALL = 54; // a slot narrower than this has its word upright

export const between = (a, b, share) => a + (b - a) * share;
export const smooth = (share) => share * share * (3 - 2 * share);
export const clamped = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

// The sentence that goes with a time: that of the last stop reached.
export const saidAt = (scene, t) =>
  scene.moving && t > 1e-6 && t < 1 - 1e-6
    ? scene.moving
    : scene.says[Math.min(Math.floor(t + 1e-6), scene.says.length - 1)];
// The next stop after a time, for who does not want things to move.
export const nextStop = (scene, t) => {
  const stops = scene.stops ?? Array.from({ length: scene.end + 1 }, (_, at) => at);
  return stops.find((stop) => stop > t + 1e-6) ?? 0;
};
// A word's slot on the shifted head of the rolled form, from 0 (not yet moved) to 1 (rolled).
export const rolledSlot = (token, shift, n, share) =>
  token >= shift ? token - shift * share : between(token, n - shift + token, share);
// Where a clock's hand points, and whether training never saw it there.
export function handAt({ frequency, stretched, seen }, position, stretch) {
  const angle = (position * (stretch ? stretched : frequency)) % (2 * Math.PI);
  return { angle, unseen: seen < 2 * Math.PI && angle > seen + 1e-9 };
}

const letters = (pen, size, bold = false) => {
  pen.context.font = `${bold ? "600 " : ""}${size}px ${TYPE}`;
};

function label(pen, text, x, y, { size = 13, bold = false, colour = pen.paint.ink, align = "left" } = {}) {
  letters(pen, size, bold);
  pen.context.fillStyle = colour;
  pen.context.textAlign = align;
  pen.context.textBaseline = "middle";
  pen.context.fillText(text, x, y);
}

// A word in its box; upright where the slot is narrow.
function wordBox(pen, text, x, y, width, height, { fill = null, faint = false, ink = pen.paint.ink, edge = ink } = {}) {
  const { context } = pen;
  context.fillStyle = fill ?? pen.paint.ground;
  context.fillRect(x + 1, y, width - 2, height);
  context.strokeStyle = edge;
  context.lineWidth = 1;
  context.strokeRect(x + 1, y, width - 2, height);
  context.save();
  context.globalAlpha = faint ? 0.55 : 1;
  context.translate(x + width / 2, y + height / 2);
  if (width < TALL) context.rotate(-Math.PI / 2);
  label(pen, text, 0, 0, { size: Math.min(13, width < TALL ? 12.5 : 13), align: "center", colour: ink });
  context.restore();
}

function dot(pen, x, y, colour, radius = 7) {
  const { context } = pen;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
  context.strokeStyle = pen.paint.ground;
  context.lineWidth = 2;
  context.stroke();
}

// A cell as a band behind its words.
function band(pen, x, y, width, height, colour) {
  const { context } = pen;
  if (width <= 0) return;
  context.fillStyle = clear(colour, 0.28);
  context.fillRect(x + 3, y, width - 6, height);
  context.strokeStyle = colour;
  context.lineWidth = 2.5;
  context.strokeRect(x + 3, y, width - 6, height);
}

const heightOfWords = (slot) => (slot < TALL ? 74 : 30);

function drawShift(pen, scene, t) {
  const { context, width } = pen;
  const { words, group, shift, wraps, from, to } = scene;
  const n = words.length;
  const slot = width / n;
  const box = heightOfWords(slot);
  const glide = smooth(clamped(t));
  const hop = smooth(clamped(t - 1));
  const lane = box + 24;
  const [top, bottom] = [26, 26 + lane + 58];
  const centre = (at) => (at + 0.5) * slot;

  label(pen, "A plain head: its groups stay", 3, 10, { bold: true });
  for (let start = 0; start < n; start += group)
    band(pen, start * slot, top, Math.min(group, n - start) * slot, lane, COLOURS.plain);
  words.forEach((word, at) => wordBox(pen, word, at * slot, top + 12, slot, box));

  label(pen, wraps ? "A shifted head, rolled: the words move" : "A shifted head: its groups begin later", 3, bottom - 16,
    { bold: true });
  if (wraps) {
    for (let start = 0; start < n; start += group) band(pen, start * slot, bottom, group * slot, lane, COLOURS.shifted);
    words.forEach((word, at) => {
      const flies = at < shift;
      const x = rolledSlot(at, shift, n, glide) * slot;
      const y = bottom + 12 - (flies ? 46 * Math.sin(Math.PI * glide) : 0);
      wordBox(pen, word, x, y, slot, box, flies ? { fill: clear(COLOURS.future, 0.45) } : {});
    });
  } else {
    const moved = shift * glide;
    band(pen, 0, bottom, moved * slot, lane, COLOURS.shifted);
    for (let start = moved; start < n - 1e-9; start += group)
      band(pen, start * slot, bottom, Math.min(group, n - start) * slot, lane, COLOURS.shifted);
    words.forEach((word, at) => wordBox(pen, word, at * slot, bottom + 12, slot, box));
  }
  if (t <= 1) return;
  const slotOf = (token) => (wraps ? rolledSlot(token, shift, n, 1) : token);
  const [a, b] = [centre(slotOf(from)), centre(slotOf(to))];
  const arc = (y, high) => {
    context.beginPath();
    context.moveTo(a, y);
    context.quadraticCurveTo((a + b) / 2, y - 2 * high, b, y);
    context.lineWidth = 2;
    context.setLineDash(wraps ? [5, 4] : []);
    context.strokeStyle = wraps ? COLOURS.future : pen.paint.ink;
    context.stroke();
    context.setLineDash([]);
  };
  arc(bottom + 6, 16);
  const at = (share) => [between(a, b, share), bottom + 6 - 4 * 16 * share * (1 - share)];
  dot(pen, ...at(hop), wraps ? COLOURS.future : COLOURS.shifted);
  if (!wraps) { // on the plain head the same value runs into the wall
    const wall = Math.ceil((from + 0.5) / group) * group * slot;
    dot(pen, between(centre(from), wall - 6, smooth(clamped(2 * (t - 1)))), top + 6, COLOURS.plain);
    context.fillStyle = pen.paint.ink;
    context.fillRect(wall - 2, top - 4, 4, lane + 8);
  }
}

const shiftHeight = (scene, width) => 26 + 2 * (heightOfWords(width / scene.words.length) + 24) + 66;

function drawPulse(pen, scene, t) {
  const { context, width } = pen;
  const { words, heard, hops } = scene;
  const layers = heard.length - 1;
  const n = words.length;
  const margin = 62;
  const slot = (width - margin) / n;
  const box = heightOfWords(slot);
  const row = 46;
  const rowY = (layer) => 14 + (layers - layer) * row;
  const x = (token) => margin + (token + 0.5) * slot;
  for (let layer = 0; layer <= layers; layer++) {
    label(pen, layer ? `layer ${layer}` : "words", 2, rowY(layer) + (layer ? 0 : box / 2 - 4), { size: 12.5 });
    if (!layer) continue;
    for (let token = 0; token < n; token++) {
      const lit = heard[layer][token] && t >= layer - 1e-6;
      context.beginPath();
      context.arc(x(token), rowY(layer), 9, 0, 2 * Math.PI);
      context.fillStyle = lit ? COLOURS.ink : pen.paint.empty;
      context.fill();
      context.strokeStyle = pen.paint.ink;
      context.lineWidth = 1;
      context.stroke();
      if (lit) dot(pen, x(token), rowY(layer), pen.paint.ink, 9);
    }
  }
  words.forEach((word, at) => wordBox(pen, word, margin + at * slot, rowY(0) - 4, slot, box,
    heard[0][at] ? { fill: COLOURS.ink, ink: "#FFFFFF" } : { faint: true }));
  hops.forEach((ways, layer) => {
    const share = clamped(t - layer);
    if (!share) return;
    for (const { source, target, shifted } of ways) {
      const colour = shifted ? COLOURS.shifted : COLOURS.plain;
      const [x0, y0, x1, y1] = [x(source), rowY(layer) - (layer ? 9 : 4), x(target), rowY(layer + 1) + 9];
      const [hx, hy] = [between(x0, x1, smooth(share)), between(y0, y1, smooth(share))];
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(hx, hy);
      context.lineWidth = 2.5;
      context.strokeStyle = colour;
      context.setLineDash(shifted ? [6, 4] : []);
      context.stroke();
      context.setLineDash([]);
      if (share < 1) dot(pen, hx, hy, colour, 6);
    }
  });
}

const pulseHeight = (scene, width) =>
  (scene.heard.length - 1) * 46 + heightOfWords((width - 62) / scene.words.length) + 22;

function drawClocks(pen, scene, t, stretch) {
  const { context, width } = pen;
  const { clocks } = scene;
  const columns = width < 560 ? 2 : clocks.length;
  const cell = width / columns;
  const radius = Math.min(cell / 2 - 14, 84);
  clocks.forEach((clock, at) => {
    const cx = ((at % columns) + 0.5) * cell;
    const cy = Math.floor(at / columns) * (2 * radius + 84) + radius + 8;
    context.beginPath();
    context.arc(cx, cy, radius, 0, 2 * Math.PI);
    context.fillStyle = pen.paint.empty;
    context.fill();
    context.beginPath();
    context.moveTo(cx, cy);
    context.arc(cx, cy, radius, 0, -Math.min(clock.seen, 2 * Math.PI), true);
    context.closePath();
    context.fillStyle = clear(COLOURS.plain, 0.35);
    context.fill();
    context.beginPath();
    context.arc(cx, cy, radius, 0, 2 * Math.PI);
    context.strokeStyle = pen.paint.ink;
    context.lineWidth = 1.5;
    context.stroke();
    const { angle, unseen } = handAt(clock, t, stretch);
    context.beginPath();
    context.moveTo(cx, cy);
    context.lineTo(cx + 0.94 * radius * Math.cos(angle), cy - 0.94 * radius * Math.sin(angle));
    context.lineWidth = 5;
    context.lineCap = "round";
    context.setLineDash(unseen ? [9, 9] : []);
    context.strokeStyle = unseen ? UNSEEN : pen.paint.ink;
    context.stroke();
    context.setLineDash([]);
    label(pen, clock.name, cx, cy + radius + 16, { align: "center", bold: true });
    label(pen, clock.turn, cx, cy + radius + 34, { align: "center", size: 12.5 });
    label(pen, unseen ? "✗ never seen there" : "✓ seen there", cx, cy + radius + 52, { align: "center", size: 12.5 });
  });
}

function clocksHeight(scene, width) {
  const columns = width < 560 ? 2 : scene.clocks.length;
  const radius = Math.min(width / columns / 2 - 14, 84);
  return Math.ceil(scene.clocks.length / columns) * (2 * radius + 84);
}

const KINDS = {
  shift: { draw: drawShift, height: shiftHeight, speed: 0.7 },
  pulse: { draw: drawPulse, height: pulseHeight, speed: 0.8 },
  clocks: { draw: drawClocks, height: clocksHeight, speed: 0 }, // the whole way in eight seconds
};

const frame = (id, scene) => `
  <canvas class="mv-picture" role="img"></canvas>
  <div class="mv-bar">
    <button type="button" data-do="play">▶ Play</button>
    <label for="${id}">${scene.slider}</label>
    <input type="range" id="${id}" min="0" max="${scene.end}" step="${scene.step}">
    <output for="${id}"></output>
    ${scene.kind === "clocks" ? `<label class="mv-check"><input type="checkbox"> ${scene.stretch}</label>` : ""}
  </div>
  <p class="mv-said" role="status"></p>`;

function render({ model, el }) {
  const scene = model.get("scene");
  const { draw, height, speed } = KINDS[scene.kind];
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const root = document.createElement("div");
  root.className = "mv longlora-moving";
  root.innerHTML = frame(`mv${Math.random().toString(36).slice(2, 10)}`, scene);
  el.append(root);
  const find = (selector) => root.querySelector(selector);
  const [canvas, play, slider, check] = [".mv-picture", "button", "input[type=range]", ".mv-check input"].map(find);
  let [t, last, running] = [0, 0, 0];

  function paint() {
    const width = Math.floor(canvas.clientWidth);
    if (width < 60) return;
    const high = Math.round(height(scene, width));
    const scale = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(high * scale)];
    canvas.style.height = `${high}px`;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const pen = { context, width, paint: root.classList.contains("mv-dark") ? PAINTS.dark : PAINTS.light };
    draw(pen, scene, t, Boolean(check?.checked));
    slider.value = t;
    find("output").textContent = scene.kind === "clocks" ? Math.round(t).toLocaleString("en") : "";
    const said = scene.kind === "clocks" ? clockWords() : saidAt(scene, t);
    if (find(".mv-said").textContent !== said) find(".mv-said").textContent = said;
    canvas.setAttribute("aria-label", said);
  }

  function clockWords() {
    const unseen = scene.clocks.filter((clock) => handAt(clock, t, Boolean(check?.checked)).unseen);
    return unseen.length
      ? `The hand stands where training never saw it: ${unseen.map(({ name }) => name).join(", ")}.`
      : "Every hand stands where training has seen it.";
  }

  function rest() {
    cancelAnimationFrame(running);
    running = 0;
    play.textContent = calm.matches ? "Next step" : t >= scene.end ? "↺ Again" : "▶ Play";
  }

  function tick(now) {
    const rate = speed || scene.end / 8;
    t = Math.min(scene.end, t + ((now - last) / 1000) * rate);
    last = now;
    paint();
    if (t >= scene.end) return rest();
    running = requestAnimationFrame(tick);
  }

  play.addEventListener("click", () => {
    if (running) return rest();
    if (calm.matches) {
      t = nextStop(scene, t);
      return paint();
    }
    if (t >= scene.end) t = 0;
    play.textContent = "Pause";
    last = performance.now();
    running = requestAnimationFrame(tick);
  });
  slider.addEventListener("input", () => {
    t = Number(slider.value);
    rest();
    paint();
  });
  check?.addEventListener("change", paint);
  // An arrow moves the slider; JupyterLab would take it for its own and leave the cell.
  root.addEventListener("keydown", (event) => (event.key === "Enter" && event.shiftKey) || event.stopPropagation());
  const observer = new ResizeObserver(paint);
  observer.observe(canvas);
  root.addEventListener("theme", paint);
  const forget = followTheme(root, "mv-dark");
  rest();
  paint();
  return () => {
    rest();
    observer.disconnect();
    forget();
  };
}

export default { render };
