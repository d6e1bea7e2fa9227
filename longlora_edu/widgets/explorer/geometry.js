// Which token may look at which, in the browser: the rule of longlora_edu/geometry.py and the counts of cost.py.
// A test compares both for every setting up to 32 tokens. A setting is {n, g, shift, heads, boundary}; heads below
// heads / 2 are plain, the others shifted, and all heads of one kind have the same mask.

export const HEAD_DIM = 64;
const BYTES_PER_SCORE = 2;

export const plainHeads = ({ heads }) => Math.floor(heads / 2);
export const shiftedHeads = ({ heads }) => heads - Math.floor(heads / 2);
const modulo = (value, length) => ((value % length) + length) % length;

// May `query` look at `key` on `head`? A token's coordinate on its head's grid decides.
export function allows({ n, g, shift, heads, boundary }, head, query, key) {
  const offset = head >= Math.floor(heads / 2) ? shift : 0;
  const wraps = boundary !== "split";
  const q = wraps ? modulo(query - offset, n) : query - offset;
  const k = wraps ? modulo(key - offset, n) : key - offset;
  const earlier = boundary === "wrap" ? k <= q : key <= query;
  return earlier && Math.floor(q / g) === Math.floor(k / g);
}

// n × n, row by row: 0 where a query (row) may not look at a key (column), 1 where it may, 2 where that is its future.
export function mask(setting, head) {
  const { n } = setting;
  const kinds = new Uint8Array(n * n);
  for (let query = 0; query < n; query++)
    for (let key = 0; key < n; key++)
      if (allows(setting, head, query, key)) kinds[query * n + key] = key > query ? 2 : 1;
  return kinds;
}

// The cells of a plain or a shifted head: each a list of ranges [start, stop), two where it wraps, in the order in
// which causality is judged.
export function cells({ n, g, shift, boundary }, shifted) {
  const first = shifted ? shift : 0;
  const wraps = boundary !== "split" && first > 0;
  const found = [];
  for (let start = first; start < (wraps ? n - g + first : n); start += g)
    found.push([[start, Math.min(start + g, n)]]);
  const [head, tail] = [[0, Math.min(first, n)], [n - g + first, n]];
  if (!wraps) return first ? [[head], ...found] : found;
  return [...found, boundary === "wrap" ? [tail, head] : [head, tail]];
}

const cellSizes = (setting, shifted) =>
  cells(setting, shifted).map((cell) => cell.reduce((size, [start, stop]) => size + stop - start, 0));

const sum = (values) => values.reduce((total, value) => total + value, 0);

// (query, key) pairs that one plain or shifted head computes.
export const pairsOfHead = (setting, shifted) =>
  sum(cellSizes(setting, shifted).map((size) => (size * (size + 1)) / 2));

// The same over all heads: the work.
export const pairs = (setting) =>
  plainHeads(setting) * pairsOfHead(setting, false) + shiftedHeads(setting) * pairsOfHead(setting, true);

// How many of them look at a later token, over all heads: the leak.
export const futurePairs = (setting) =>
  setting.boundary === "wrap" ? shiftedHeads(setting) * setting.shift * (setting.g - setting.shift) : 0;

// The pairs of full causal attention, over all heads.
export const densePairs = ({ n, heads }) => (heads * n * (n + 1)) / 2;

// n × n: after how many layers a value at a token (column) can arrive at another (row); 0 where `layers` are too few.
export function layersNeeded(setting, layers = Infinity) {
  const { n, heads } = setting;
  const words = Math.ceil(n / 32); // a row of bits holds whom a token hears
  const [first, last] = [mask(setting, 0), mask(setting, heads - 1)];
  const looked = Array.from({ length: n }, (_, query) => {
    const keys = [];
    for (let key = 0; key < n; key++) if (first[query * n + key] || last[query * n + key]) keys.push(key);
    return keys;
  });
  let heard = new Uint32Array(n * words);
  for (let token = 0; token < n; token++) heard[token * words + (token >> 5)] = 1 << (token & 31);
  let known = new Uint32Array(n * words);
  const needed = new Uint8Array(n * n);
  for (let layer = 1, grew = true; grew && layer <= layers; layer++) {
    const further = new Uint32Array(n * words);
    grew = false;
    for (let query = 0; query < n; query++)
      for (let word = 0, at = query * words; word < words; word++, at++) {
        for (const key of looked[query]) further[at] |= heard[key * words + word];
        for (let fresh = further[at] & ~known[at]; fresh; fresh &= fresh - 1, grew = true)
          needed[query * n + 32 * word + 31 - Math.clz32(fresh & -fresh)] = layer;
      }
    heard = known = further;
  }
  return needed;
}

// n × n: who can hear whom within `layers`, as 0 and 1.
export const reach = (setting, layers) => layersNeeded(setting, layers).map((needed) => Math.min(needed, 1));

// FLOPs of the scores and weighted values of one layer, forward, causal: full attention's, and each kind of head's.
export const flops = (setting, headDim = HEAD_DIM) => ({
  dense: 4 * headDim * densePairs(setting),
  plain: 4 * headDim * plainHeads(setting) * pairsOfHead(setting, false),
  shifted: 4 * headDim * shiftedHeads(setting) * pairsOfHead(setting, true),
});

// Bytes of the scores of one layer: the whole matrix, the whole square of each cell, or one float32 a query (flash).
export function bytes(setting) {
  const squares = (shifted) => BYTES_PER_SCORE * sum(cellSizes(setting, shifted).map((size) => size * size));
  return {
    masked: BYTES_PER_SCORE * setting.heads * setting.n * setting.n,
    plain: plainHeads(setting) * squares(false),
    shifted: shiftedHeads(setting) * squares(true),
    flash: 4 * setting.heads * setting.n,
  };
}
