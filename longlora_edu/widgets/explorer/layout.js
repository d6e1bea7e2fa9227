// Where the parts of the picture stand, and which token is under a point of it.

// Points on the screen: of words, of small words, of lines, the height of a row of tokens and of a bar.
const SCREEN = { text: 13, small: 11.5, line: 1.5, row: 24, bar: 15 };
const PROJECTOR = { text: 20, small: 17, line: 3, row: 36, bar: 24 };

// Where everything stands in a picture `width` wide: three matrices side by side, or two and one below, or one by one.
// `named` leaves room for words along the axes, `costs` for the bars below, which only a saved picture has. `tall` is
// how far down the last row of three matrices side by side may lie, so that its corner stays on a projector's screen.
export function layout(state, width, { named = Boolean(state.words), costs: withCosts = false, tall = Infinity } = {}) {
  const sizes = state.projector ? PROJECTOR : SCREEN;
  const { text, small, row, bar } = sizes;
  const columns = width / text >= 46 ? 3 : width / text >= 24 ? 2 : 1;
  const axis = small * (named ? 6.6 : 3.4); // room left of a matrix for its numbers or words, and its name
  const label = Math.ceil(text * 4.6);
  const strip = { x: label, y: text * 1.9, width: width - label - 2, row, height: 2 * row + 4 };
  const [head, foot] = [text * 1.5 + small * 3.6, small * (named ? 8 : 4)];
  const panels = {};
  let y = strip.y + strip.height + small * 2.4;
  const place = (names, gap) => {
    const share = (width + gap) / names.length;
    const most = names.length === 3 ? Math.max(tall - y - head, 9 * text) : Infinity;
    const side = Math.min(share - gap - axis - 2, 30 * text, most);
    names.forEach((name, at) => (panels[name] = { x: at * share + axis, y: y + head, side, top: y }));
    y += head + side + foot;
  };
  const names = ["plain", "shifted", "reach"];
  if (columns === 3) place(names, text * 1.6);
  else if (columns === 2) [names.slice(0, 2), names.slice(2)].forEach((line) => place(line, text * 0.5));
  else names.forEach((name) => place([name], 0));
  const costs = (withCosts ? [2, 3] : []).map((rows, at) => {
    const wide = columns === 3;
    const block = { x: wide ? (at * (width + 2 * text)) / 2 : 0, y, width: wide ? width / 2 - text : width };
    if (!wide || at) y += text * 1.9 + rows * (bar + small * 1.9) + text * 0.5;
    return block;
  });
  return { sizes, strip, panels, costs, width, height: Math.ceil(y), axis, foot };
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

// How many tokens lie between two numbers of an axis.
export function tickStep(n, length, room) {
  const least = Math.max(n / 8, (n * room) / length);
  return [1, 2, 4, 8, 16, 32, 64].find((step) => step >= least) ?? 128;
}
