"""What the right answer is, found the long way: plain loops over the definitions, sharing no code with the package."""

from __future__ import annotations

import math

import numpy as np


def allowed_pairs(seq_len, group_size, num_heads, shift, boundary):
    """bool (h n n): lay the tokens out in a line, cut the line into cells, tick off the pairs in each."""
    mask = np.zeros((num_heads, seq_len, seq_len), dtype=bool)
    for head in range(num_heads):
        offset = shift if head >= num_heads // 2 else 0
        tokens = list(range(seq_len))
        if boundary == "split":
            cells = cut(tokens[:offset], group_size) + cut(tokens[offset:], group_size)
        else:
            cells = cut(tokens[offset:] + tokens[:offset], group_size)
        for cell in cells:
            for later, query in enumerate(cell):
                for earlier, key in enumerate(cell):
                    behind = earlier <= later if boundary == "wrap" else key <= query
                    if behind:
                        mask[head, query, key] = True
    return mask


def mask_of(geometry):
    """`allowed_pairs` for the five settings that a geometry carries; none of its answers are asked for."""
    return allowed_pairs(geometry.seq_len, geometry.group_size, geometry.num_heads, geometry.shift, geometry.boundary)


def cut(tokens, size):
    """The list in pieces of `size`, the last perhaps shorter."""
    pieces = []
    for start in range(0, len(tokens), size):
        pieces.append(tokens[start : start + size])
    return pieces


def closure(mask, num_layers):
    """bool (n n): follow values from token to token, one layer at a time, through any head."""
    num_heads, length, _ = mask.shape
    heard = np.zeros((length, length), dtype=bool)
    for source in range(length):
        informed = {source}
        for _ in range(num_layers):
            arrived = set(informed)
            for head in range(num_heads):
                for query in range(length):
                    for key in informed:
                        if mask[head, query, key]:
                            arrived.add(query)
            informed = arrived
        for token in informed:
            heard[token, source] = True
    return heard


def attention(q, k, v, mask, segments=None, scale=None):
    """(b h n d): one query at a time, one key at a time. mask is (h n n), segments (b n)."""
    batch, heads, length, width = q.shape
    scale = 1 / math.sqrt(width) if scale is None else scale
    out = np.zeros((batch, heads, length, v.shape[3]))
    for b in range(batch):
        for head in range(heads):
            source = head // (heads // k.shape[1])
            for query in range(length):
                visible = []
                for key in range(length):
                    together = segments is None or segments[b, query] == segments[b, key] != -1
                    if mask[head, query, key] and together:
                        visible.append(key)
                scores = [scale * float(np.dot(q[b, head, query], k[b, source, key])) for key in visible]
                total = sum(math.exp(score) for score in scores)
                for key, score in zip(visible, scores, strict=True):
                    out[b, head, query] += math.exp(score) / total * v[b, source, key]
    return out


def rolled_form(q, k, v, group_size, shift):
    """The paper's Algorithm 1 and the official plain path: roll half of the heads, regroup, attend, roll back.

    All of q, k, v are (b h n d), heads repeated, n a multiple of the group.
    """
    batch, heads, length, width = q.shape

    def grouped(x):
        x = x.copy()
        x[:, heads // 2 :] = np.roll(x[:, heads // 2 :], -shift, axis=2)
        return x.reshape(batch, heads, length // group_size, group_size, width)

    out = causal_softmax_attention(grouped(q), grouped(k), grouped(v)).reshape(batch, heads, length, width)
    out[:, heads // 2 :] = np.roll(out[:, heads // 2 :], shift, axis=2)
    return out


def varlen_form(q, k, v, group_size, shift):
    """The official flash path: nothing rolls; the list of sequence starts is cut at other places for half of the heads.

    All of q, k, v are (b h n d), heads repeated and even in number. Each sample is laid out as two
    rows, its first half of heads and its second, end to end in one long line of tokens.
    """
    batch, heads, length, width = q.shape
    half = heads // 2

    def line(x):
        return x.reshape(batch, 2, half, length, width).swapaxes(2, 3).reshape(2 * batch * length, half, width)

    starts = []
    for row in range(2 * batch):
        is_shifted = row % 2 == 1
        starts.append(row * length)
        first = shift if is_shifted and shift > 0 else group_size
        starts.extend(range(row * length + first, (row + 1) * length, group_size))
    starts.append(2 * batch * length)

    q, k, v = line(q), line(k), line(v)
    out = np.full_like(q, np.nan)
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        cell = (x[start:end].swapaxes(0, 1) for x in (q, k, v))
        out[start:end] = causal_softmax_attention(*cell).swapaxes(0, 1)
    return out.reshape(batch, 2, length, half, width).swapaxes(2, 3).reshape(batch, heads, length, width)


def causal_softmax_attention(q, k, v):
    """(... n d): ordinary causal attention over the tokens in the order in which they are given."""
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    scores = np.where(np.tri(q.shape[-2], dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v
