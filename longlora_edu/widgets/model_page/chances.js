// From scores to the next byte: probabilities, the likeliest, one drawn by chance.

// Probabilities of a softmax over scores; at temperature 0 the likeliest has all of it.
export function chances(scores, temperature = 1) {
  const most = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  if (temperature === 0) return Float32Array.from(scores, (score) => (score === most ? 1 : 0));
  const raised = Float32Array.from(scores, (score) => Math.exp((score - most) / temperature));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / sum);
}

// The `count` likeliest bytes as [byte, probability], likeliest first.
export const likeliest = (scores, count) =>
  Array.from(chances(scores), (chance, byte) => [byte, chance])
    .sort(([a, p], [b, q]) => q - p || a - b)
    .slice(0, count);

export function argmax(scores) {
  let best = 0;
  for (let byte = 1; byte < scores.length; byte++) if (scores[byte] > scores[best]) best = byte;
  return best;
}

// A byte drawn by its probability; `random` gives a number from 0 to 1.
export function drawn(scores, temperature, random) {
  if (temperature === 0) return argmax(scores);
  let left = random();
  const each = chances(scores, temperature);
  for (let byte = 0; byte < each.length; byte++) if ((left -= each[byte]) < 0) return byte;
  return argmax(scores);
}

// Random numbers that come out the same for the same seed (mulberry32).
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
