// A field to draw an answer in: cells to mark, or a curve of points to move. Mouse, finger and keyboard.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 460, HEIGHT = 230, LEFT = 52, RIGHT = 16, TOP = 26, BOTTOM = 40;

export const placed = (value, low, high) =>
  TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);

export const valueAt = (y, low, high) => {
  const share = 1 - (y - TOP) / (HEIGHT - TOP - BOTTOM);
  return low + Math.min(1, Math.max(0, share)) * (high - low);
};

export const toggled = (marked, row, column, on) => {
  const rest = marked.filter(([r, c]) => r !== row || c !== column);
  return on ? [...rest, [row, column]] : rest;
};

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function cells(model, el) {
  const [rows, columns] = [model.get("rows"), model.get("columns")];
  const table = document.createElement("table");
  table.className = "longlora-draw";
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", model.get("label"));
  const head = table.createTHead().insertRow();
  for (const name of ["", ...columns]) {
    const th = document.createElement("th");
    th.textContent = name;
    if (name) th.scope = "col";
    head.append(th);
  }
  const boxes = rows.map((name, row) => {
    const line = table.insertRow();
    const th = document.createElement("th");
    th.textContent = name;
    th.scope = "row";
    line.append(th);
    return columns.map((other, column) => {
      const box = line.insertCell();
      box.setAttribute("role", "gridcell");
      box.setAttribute("aria-label", `${name}, ${other}`);
      box.tabIndex = row || column ? -1 : 0;
      Object.assign(box.dataset, { row, column });
      return box;
    });
  });
  const isOn = (row, column) => model.get("marked").some(([r, c]) => r === row && c === column);
  const paint = () =>
    boxes.forEach((line, row) =>
      line.forEach((box, column) => {
        const on = isOn(row, column);
        box.setAttribute("aria-selected", on);
        box.textContent = on ? "●" : "";
      }),
    );
  const set = (row, column, on) => {
    if (model.get("disabled")) return;
    model.set("marked", toggled(model.get("marked"), row, column, on));
    model.save_changes();
  };
  const focus = (row, column) => {
    const to = boxes[row]?.[column];
    if (!to) return;
    boxes.flat().forEach((box) => (box.tabIndex = -1));
    to.tabIndex = 0;
    to.focus();
  };
  let painting = null;
  const at = (event) => {
    const box = event.target.closest?.("td");
    return box ? [Number(box.dataset.row), Number(box.dataset.column)] : null;
  };
  table.addEventListener("pointerdown", (event) => {
    const where = at(event);
    if (!where) return;
    event.preventDefault();
    painting = !isOn(...where);
    set(...where, painting);
    focus(...where);
  });
  table.addEventListener("pointerover", (event) => {
    const where = at(event);
    if (where && painting !== null && event.buttons) set(...where, painting);
  });
  const stop = () => (painting = null);
  window.addEventListener("pointerup", stop);
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  table.addEventListener("keydown", (event) => {
    const where = at(event);
    if (!where) return;
    if (steps[event.key]) focus(where[0] + steps[event.key][0], where[1] + steps[event.key][1]);
    else if (event.key === " " || event.key === "Enter") set(...where, !isOn(...where));
    else return;
    event.preventDefault();
    event.stopPropagation(); // a notebook would take the arrow for its own
  });
  model.on("change:marked", paint);
  paint();
  el.append(table);
  return () => window.removeEventListener("pointerup", stop);
}

function curve(model, el) {
  const names = model.get("columns");
  const [low, high] = [model.get("low"), model.get("high")];
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, class: "longlora-draw" }, el);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", model.get("label"));
  const across = (at) => LEFT + ((at + 0.5) / names.length) * (WIDTH - LEFT - RIGHT);
  for (let line = 0; line <= 4; line += 1) {
    const value = low + (line / 4) * (high - low);
    const y = placed(value, low, high);
    element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y, class: "grid" }, svg);
    element("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, svg).textContent = +value.toPrecision(3);
  }
  names.forEach((name, at) => {
    element("text", { x: across(at), y: HEIGHT - 22, "text-anchor": "middle" }, svg).textContent = name;
  });
  element("text", { x: LEFT - 6, y: 12 }, svg).textContent = `${model.get("unit")} ↑`;
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  element("text", { x: middle, y: HEIGHT - 5, "text-anchor": "middle" }, svg).textContent = model.get("across");
  const line = element("polyline", { fill: "none", class: "line" }, svg);
  const points = names.map((name) =>
    element("circle", { r: 8, tabindex: 0, role: "slider", "aria-label": name, "aria-valuemin": low,
      "aria-valuemax": high }, svg),
  );
  const value = (at) => model.get("heights")[at] ?? null;
  const set = (at, to) => {
    if (model.get("disabled")) return;
    const heights = names.map((_, other) => value(other));
    heights[at] = Math.min(high, Math.max(low, to));
    model.set("heights", heights);
    model.save_changes();
  };
  const paint = () => {
    const drawn = [];
    points.forEach((point, at) => {
      const unset = value(at) === null;
      const height = unset ? (low + high) / 2 : value(at);
      point.setAttribute("cx", across(at));
      point.setAttribute("cy", placed(height, low, high));
      point.setAttribute("class", unset ? "unset" : "set");
      point.setAttribute("aria-valuenow", height);
      point.setAttribute("aria-valuetext", unset ? "not drawn yet" : `${+height.toPrecision(3)} ${model.get("unit")}`);
      if (!unset) drawn.push(`${across(at)},${placed(height, low, high)}`);
    });
    line.setAttribute("points", drawn.join(" "));
  };
  let dragging = false;
  const follow = (event) => {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const y = ((event.clientY - box.top) / box.height) * HEIGHT;
    const at = Math.floor(((x - LEFT) / (WIDTH - LEFT - RIGHT)) * names.length);
    if (at >= 0 && at < names.length) set(at, valueAt(y, low, high));
  };
  svg.addEventListener("pointerdown", (event) => {
    dragging = true;
    svg.setPointerCapture?.(event.pointerId);
    follow(event);
  });
  svg.addEventListener("pointermove", (event) => dragging && follow(event));
  svg.addEventListener("pointerup", () => (dragging = false));
  svg.addEventListener("keydown", (event) => {
    const at = points.indexOf(event.target);
    const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 }[event.key];
    if (at < 0 || !step) return;
    const from = value(at) ?? (low + high) / 2;
    set(at, from + (step * (high - low)) / 40);
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:heights", paint);
  paint();
}

function render({ model, el }) {
  return model.get("kind") === "cells" ? cells(model, el) : curve(model, el);
}

export default { render };
