// The parts of the model page as HTML: native controls with labels, so that keyboards and screen readers know them.

import { KINDS } from "./hidden.js";

export const MODELS = {
  before: ({ trained }) => `the base as it was trained, on ${trained} bytes at a time`,
  stretched: ({ positions: { stretched } }) =>
    `the same weights, positions stretched (${stretched.method}, ×${stretched.factor}), nothing trained`,
  after: () => "stretched, and trained with the adapter",
};
export const ATTENTIONS = {
  dense: ["dense", "each byte looks at every byte before it"],
  s2: ["S²", "each byte looks inside its group; on half of the heads the groups begin half a group later"],
  short: ["short", "the same groups on all heads: nothing crosses a wall"],
  wrap: ["wrap", "as S², but the two ends share a group, so that the first bytes look at the last ones: the future"],
};

const choice = (id, name, value, label, about) => `
  <label class="mp-choice"><input type="radio" name="${id}-${name}" data-set="${name}" value="${value}">
    <span><b>${label}</b><small>${about}</small></span></label>`;

export const desk = (id, header, samples) => `
  <section class="mp-card" aria-labelledby="${id}-text">
    <h2 id="${id}-text">1 · A text</h2>
    <div class="mp-row">
      <label for="${id}-file">Take a file that the model never saw</label>
      <select id="${id}-file" data-part="file"><option value="">your own text</option>${samples
        .map(({ name }, at) => `<option value="${at}">${name}</option>`)
        .join("")}</select>
    </div>
    <label for="${id}-own">Or type, or paste</label>
    <textarea id="${id}-own" data-part="text" rows="9" spellcheck="false" autocomplete="off" autocapitalize="off"></textarea>
    <p class="mp-small" data-part="length" role="status"></p>
  </section>

  <section class="mp-card" aria-labelledby="${id}-switch">
    <h2 id="${id}-switch">2 · The switches</h2>
    <fieldset><legend>The model</legend>
      ${Object.keys(MODELS)
        .map((name) => choice(id, "model", name, name, MODELS[name](header)))
        .join("")}
    </fieldset>
    <fieldset><legend>Its attention</legend>
      ${Object.keys(ATTENTIONS)
        .map((name) => choice(id, "attention", name, ...ATTENTIONS[name]))
        .join("")}
    </fieldset>
    <div class="mp-row">
      <label for="${id}-group">Group</label>
      <select id="${id}-group" data-set="group"></select>
      <span class="mp-small" data-part="group-says"></span>
    </div>
  </section>

  <section class="mp-card mp-wide" aria-labelledby="${id}-reads">
    <h2 id="${id}-reads">3 · How well it reads</h2>
    <p>Bits that each byte costs the model, so less is better: 8 is no idea, 0 is no doubt.</p>
    <canvas data-part="curve" role="img" aria-label="No text has been read yet."></canvas>
    <div class="mp-scroll" tabindex="0" role="region" aria-label="Bits per byte of each switch">
      <table><thead><tr><th scope="col">Model</th><th scope="col">Attention</th><th scope="col">Bits per byte</th>
        <th scope="col" data-part="near"></th><th scope="col" data-part="far"></th></tr></thead>
        <tbody data-part="rows"></tbody></table>
    </div>
    <div class="mp-row"><button type="button" data-do="all">Read with all twelve</button>
      <button type="button" data-do="forget">Keep only this one</button></div>
  </section>

  <section class="mp-card" aria-labelledby="${id}-next">
    <h2 id="${id}-next">4 · What comes next</h2>
    <p data-part="next-says" class="mp-small">The likeliest next bytes. Choose one to add it.</p>
    <div data-part="next" class="mp-bars"></div>
    <div class="mp-row">
      <button type="button" data-do="write">Write on</button>
      <label for="${id}-count">bytes</label>
      <input id="${id}-count" data-part="count" type="number" min="1" max="1024" value="120">
      <label for="${id}-heat">chance</label>
      <select id="${id}-heat" data-part="heat">
        <option value="0">none: the likeliest</option><option value="0.7">some</option><option value="1">as it believes</option>
      </select>
      <button type="button" data-do="unwrite" hidden>Take it back</button>
    </div>
    <p data-part="write-says" class="mp-small" role="status"></p>
  </section>

  <section class="mp-card" aria-labelledby="${id}-hide">
    <h2 id="${id}-hide">5 · Hide a number and ask for it</h2>
    <div class="mp-row">
      <label for="${id}-kind">Hide</label>
      <select id="${id}-kind" data-part="kind">${Object.keys(KINDS)
        .map((kind) => `<option value="${kind}">${KINDS[kind].title}</option>`)
        .join("")}</select>
      <label for="${id}-answer">answer</label>
      <input id="${id}-answer" data-part="answer" type="text" maxlength="24" size="8">
    </div>
    <div class="mp-own" data-part="own" hidden>
      <label for="${id}-statement">The line that tells it</label>
      <input id="${id}-statement" data-part="statement" type="text" maxlength="120">
      <label for="${id}-question">The question, up to the answer</label>
      <input id="${id}-question" data-part="question" type="text" maxlength="120">
    </div>
    <label for="${id}-depth">Depth: <span data-part="depth-says"></span></label>
    <input id="${id}-depth" data-part="depth" type="range" min="0" max="100" value="25">
    <div class="mp-row"><button type="button" data-do="hide">Hide and ask</button>
      <button type="button" data-do="ask-all">Ask with all</button>
      <button type="button" data-do="restore" hidden>Put the text back</button></div>
    <p data-part="answer-says" role="status"></p>
    <div class="mp-scroll" data-part="answers" tabindex="0" role="region" aria-label="Answers of all switches" hidden>
      <table><thead><tr><th scope="col">Model</th>${Object.values(ATTENTIONS)
        .map(([name]) => `<th scope="col">${name}</th>`)
        .join("")}</tr></thead>
      <tbody></tbody></table></div>
  </section>

  <section class="mp-card mp-wide" aria-labelledby="${id}-looks">
    <h2 id="${id}-looks">6 · Where it looks</h2>
    <p>Choose a byte: click it, or go to the text and press the arrow keys. Bytes that surprised the model are marked.</p>
    <div class="mp-bytes" data-part="bytes" tabindex="0" role="slider" aria-label="Byte of the text" aria-valuemin="0"
      aria-valuemax="0" aria-valuenow="0" aria-valuetext="no byte is chosen"></div>
    <div class="mp-row"><span id="${id}-layer">Layer</span>
      <div class="mp-layers" role="radiogroup" aria-labelledby="${id}-layer">${Array.from(
        { length: header.shape.layers },
        (_, at) => `<label><input type="radio" name="${id}-layer" data-set="layer" value="${at}">${at + 1}</label>`,
      ).join("")}</div></div>
    <p data-part="look-says" role="status"></p>
    <div data-part="heads">${Array.from(
      { length: header.shape.heads },
      (_, head) =>
        `<figure class="mp-head"><figcaption data-head="${head}"></figcaption><canvas role="img" aria-label="Head ${head}"></canvas></figure>`,
    ).join("")}</div>
  </section>

  <section class="mp-card mp-wide" aria-labelledby="${id}-leak">
    <h2 id="${id}-leak">7 · Does the future leak?</h2>
    <p>Change the last word of the text. A model that is to predict what comes next must not notice before it gets
      there. Each strip shows how far the forecasts moved, byte by byte; the grey field is the word.</p>
    <div class="mp-row"><button type="button" data-do="leak">Change the last word</button></div>
    <p data-part="leak-says" role="status"></p>
    <div data-part="leaks" hidden>${Object.entries(ATTENTIONS)
      .map(
        ([name, [title]]) =>
          `<figure class="mp-head"><figcaption data-leak="${name}">${title}</figcaption><canvas role="img" aria-label="${title}"></canvas></figure>`,
      )
      .join("")}</div>
  </section>

  <div class="mp-status" data-part="bar">
    <progress max="1" value="0" aria-label="Computing"></progress>
    <span data-part="status" role="status"></span>
    <button type="button" data-do="stop" hidden>Stop</button>
  </div>`;
