// The parts of the face, as HTML: native controls with labels, so that keyboards and screen readers know them.

import { BOUNDARIES } from "./state.js";
import { COUNTED, sayBytes, sayFlops, sayLeak, sayPairs, sayReach } from "./words.js";

// name of the setting, label, key
export const SLIDERS = [
  ["n", "Tokens", "n"],
  ["g", "Group size", "g"],
  ["shift", "Shift", "s"],
  ["heads", "Heads", "h"],
  ["layers", "Layers", "l"],
];

export const READOUT = [
  ["Pairs", sayPairs],
  ["Leak", sayLeak],
  ["Reach", sayReach],
];
export const COSTS = [
  ["FLOPs", sayFlops],
  ["Bytes", sayBytes],
];
export const SENTENCE = "The dog that chased the cat all afternoon was tired, so it slept.";

const slider = (id, [name, label, key]) => `
  <div class="s2x-control" data-part="${name}">
    <label for="${id}-${name}">${label}</label> <kbd aria-hidden="true">${key}</kbd>
    <span class="s2x-value" aria-hidden="true"></span>
    <input type="range" id="${id}-${name}" name="${name}" aria-keyshortcuts="${key} Shift+${key.toUpperCase()}">
  </div>`;

export const face = (id) => `
  <div class="s2x-bar">
    <button type="button" data-do="play" aria-keyshortcuts="m">▶ Play <kbd>m</kbd></button>
    <button type="button" data-do="cheat" aria-keyshortcuts="c">Make it cheat <kbd>c</kbd></button>
    <button type="button" data-do="challenge" aria-pressed="false">Challenge</button>
    <button type="button" data-do="tour" aria-pressed="false">Tour <kbd>t</kbd></button>
    <button type="button" data-do="projector" aria-pressed="false">Projector <kbd>p</kbd></button>
    <button type="button" data-do="answer" hidden>Show the numbers</button>
    <span class="s2x-space"></span>
    <button type="button" data-do="save">Save PNG</button>
    <button type="button" data-do="copy">Copy link</button>
  </div>
  <section class="s2x-tour" aria-label="Tour" hidden>
    <p class="s2x-step"></p>
    <p class="s2x-text"></p>
    <p class="s2x-action"></p>
    <p class="s2x-outcome"></p>
    <div class="s2x-bar">
      <button type="button" data-do="next"></button>
      <button type="button" data-do="leave">Leave the tour <kbd>Esc</kbd></button>
    </div>
  </section>
  <section class="s2x-challenge" aria-label="Challenge" hidden>
    <p class="s2x-title">Challenge: as few pairs as you can</p>
    <p>32 tokens, 4 layers, nothing wraps. The last token must hear the first. You have the group size and the shift.</p>
    <p class="s2x-score" role="status"></p>
    <div class="s2x-bar"><button type="button" data-do="copy">Copy link with my score</button>
      <button type="button" data-do="challenge">Leave the challenge</button></div>
  </section>
  <div class="s2x-controls">
    ${SLIDERS.map((about) => slider(id, about)).join("")}
    <div class="s2x-control" data-part="boundary">
      <label for="${id}-boundary">Boundary</label> <kbd aria-hidden="true">b</kbd>
      <select id="${id}-boundary" name="boundary" aria-keyshortcuts="b">
        ${BOUNDARIES.map((name) => `<option>${name}</option>`).join("")}
      </select>
    </div>
  </div>
  <p class="s2x-rule" data-part="boundary"></p>
  <p class="s2x-note" role="status"></p>
  <p class="s2x-query" data-part="query"></p>
  <canvas class="s2x-picture" data-part="picture" tabindex="0" role="slider" aria-orientation="vertical"></canvas>
  <div class="s2x-words" data-part="words">
    <label for="${id}-words">Words, a token each</label>
    <input type="text" id="${id}-words" name="words" maxlength="600" autocomplete="off" placeholder="your own sentence">
    <button type="button" data-do="sentence">Take the dog</button>
  </div>
  <dl class="s2x-readout" data-part="numbers">
    ${READOUT.map(([name]) => `<div><dt>${name}</dt><dd></dd></div>`).join("")}
  </dl>
  <details class="s2x-cost" data-part="cost">
    <summary>Cost: FLOPs and bytes</summary>
    <div class="s2x-bars"></div>
    <dl class="s2x-costs">${COSTS.map(([name]) => `<div><dt>${name}</dt><dd></dd></div>`).join("")}</dl>
    <p class="s2x-small">${COUNTED}</p>
  </details>
  <details class="s2x-table" data-part="table">
    <summary>The picture as a table</summary>
    <div class="s2x-scroll" tabindex="0" role="region" aria-label="The picture as a table">
      <table>
        <thead><tr>
          <th scope="col">Token</th><th scope="col">Plain heads: it looks at</th>
          <th scope="col">Shifted heads: it looks at</th><th scope="col">of these in its future</th>
          <th scope="col">It hears</th>
        </tr></thead>
        <tbody></tbody>
      </table>
    </div>
  </details>
  <details class="s2x-keys" data-part="keys">
    <summary>Keys</summary>
    <dl>
      <dt><kbd>n</kbd> <kbd>g</kbd> <kbd>s</kbd> <kbd>h</kbd> <kbd>l</kbd></dt>
      <dd>more tokens, a larger group, a larger shift, more heads, more layers; with <kbd>Shift</kbd> less</dd>
      <dt><kbd>b</kbd></dt><dd>next boundary</dd>
      <dt><kbd>m</kbd> <kbd>c</kbd></dt><dd>a message goes its way; make it cheat, and fair again</dd>
      <dt><kbd>p</kbd> <kbd>t</kbd></dt><dd>projector, tour</dd>
      <dt><kbd>Esc</kbd> <kbd>Enter</kbd></dt><dd>leave the tour, go on in it</dd>
      <dt><kbd>↑</kbd> <kbd>↓</kbd> <kbd>Home</kbd> <kbd>End</kbd></dt>
      <dd>on the picture: choose a token; <kbd>Esc</kbd> lets it go</dd>
    </dl>
    <p>On a page of its own they work at once, in a notebook while the focus is inside this panel.</p>
  </details>
  <div class="s2x-link" data-part="keys">
    <label for="${id}-link">Link to these settings</label>
    <input type="text" id="${id}-link" readonly>
  </div>
  <div class="s2x-live" aria-live="polite"></div>`;
