// The arithmetic of the model: products of rows, a norm, a rotation, a softmax, over Float32Array. Sums are kept in
// double precision, as JavaScript's numbers are; what is stored is rounded to 32 bits, as torch does.

// C[i, j] = A[i] · B[j], over `inner` elements; `keep` adds what C holds already. Arrays come with the place of their
// first element and the step from one row to the next. Weights lie as torch keeps them, one row an output.
//
// Four rows by two are computed at once: each number that is loaded is used several times, and all eight sums stay in
// registers. On one core this is about 2e9 products a second, four times the loop one would write first.
// prettier-ignore
export function multiply(A, aFirst, aStep, B, bFirst, bStep, C, cFirst, cStep, rows, columns, inner, keep = false) {
  const wholeRows = rows - (rows % 4);
  const wholeColumns = columns - (columns % 2);
  for (let i = 0; i < wholeRows; i += 4)
    for (let j = 0; j < wholeColumns; j += 2) {
      let s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      let a0 = aFirst + i * aStep, a1 = a0 + aStep, a2 = a1 + aStep, a3 = a2 + aStep;
      let b0 = bFirst + j * bStep, b1 = b0 + bStep;
      for (const end = a0 + inner; a0 < end; a0++, a1++, a2++, a3++, b0++, b1++) {
        const x0 = A[a0], x1 = A[a1], x2 = A[a2], x3 = A[a3], y = B[b0], z = B[b1];
        s00 += x0 * y; s10 += x1 * y; s20 += x2 * y; s30 += x3 * y;
        s01 += x0 * z; s11 += x1 * z; s21 += x2 * z; s31 += x3 * z;
      }
      let c = cFirst + i * cStep + j;
      C[c] = keep ? C[c] + s00 : s00; C[c + 1] = keep ? C[c + 1] + s01 : s01; c += cStep;
      C[c] = keep ? C[c] + s10 : s10; C[c + 1] = keep ? C[c + 1] + s11 : s11; c += cStep;
      C[c] = keep ? C[c] + s20 : s20; C[c + 1] = keep ? C[c + 1] + s21 : s21; c += cStep;
      C[c] = keep ? C[c] + s30 : s30; C[c + 1] = keep ? C[c + 1] + s31 : s31;
    }
  for (let i = 0; i < rows; i++) {
    let j = i < wholeRows ? wholeColumns : 0;
    // Rows that are left over, as when one byte is typed: four sums at once, since each waits for its last addition.
    for (; j + 4 <= columns; j += 4) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      let a = aFirst + i * aStep;
      let b0 = bFirst + j * bStep, b1 = b0 + bStep, b2 = b1 + bStep, b3 = b2 + bStep;
      for (const end = a + inner; a < end; a++, b0++, b1++, b2++, b3++) {
        const x = A[a];
        s0 += x * B[b0]; s1 += x * B[b1]; s2 += x * B[b2]; s3 += x * B[b3];
      }
      const c = cFirst + i * cStep + j;
      C[c] = keep ? C[c] + s0 : s0; C[c + 1] = keep ? C[c + 1] + s1 : s1;
      C[c + 2] = keep ? C[c + 2] + s2 : s2; C[c + 3] = keep ? C[c + 3] + s3 : s3;
    }
    for (; j < columns; j++) {
      let sum = 0;
      const [a, b] = [aFirst + i * aStep, bFirst + j * bStep];
      for (let e = 0; e < inner; e++) sum += A[a + e] * B[b + e];
      const c = cFirst + i * cStep + j;
      C[c] = keep ? C[c] + sum : sum;
    }
  }
}

// A row of x over its root mean square, times a weight a feature.
export function norm(x, first, weight, epsilon, out, outFirst) {
  const width = weight.length;
  let squares = 0;
  for (let i = 0; i < width; i++) squares += x[first + i] * x[first + i];
  const scale = 1 / Math.sqrt(squares / width + epsilon);
  for (let i = 0; i < width; i++) out[outFirst + i] = x[first + i] * scale * weight[i];
}

// Turns each pair (i, i + d/2) of a head's d numbers by its angle, in place; cos and sin begin at `angle`.
export function rotate(x, first, half, cos, sin, angle) {
  for (let i = 0; i < half; i++) {
    const [one, two] = [x[first + i], x[first + half + i]];
    x[first + i] = one * cos[angle + i] - two * sin[angle + i];
    x[first + half + i] = two * cos[angle + i] + one * sin[angle + i];
  }
}

// The first `seen` of `length` scores become probabilities, in place; the others, which nobody may see, become 0.
export function softmax(scores, first, seen, length, scale = 1) {
  let most = -Infinity;
  for (let i = first; i < first + seen; i++) if (scores[i] > most) most = scores[i];
  let sum = 0;
  for (let i = first; i < first + seen; i++) sum += scores[i] = Math.exp((scores[i] - most) * scale);
  for (let i = first; i < first + seen; i++) scores[i] /= sum;
  scores.fill(0, first + seen, first + length);
}

// x · sigmoid(x) times another number, element by element, into the first array.
export function gate(x, other, length) {
  for (let i = 0; i < length; i++) x[i] = (x[i] / (1 + Math.exp(-x[i]))) * other[i];
}

// −log of the probability that a softmax over `length` scores gives to one of them, in nats.
export function surprise(scores, first, length, chosen) {
  let most = -Infinity;
  for (let i = first; i < first + length; i++) if (scores[i] > most) most = scores[i];
  let sum = 0;
  for (let i = first; i < first + length; i++) sum += Math.exp(scores[i] - most);
  return Math.log(sum) + most - scores[first + chosen];
}
