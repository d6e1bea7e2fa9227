// The explorer: controls, picture, words and tour around a model that anywidget or a plain page gives.

import { BOUNDARIES, change, half, needsWholeGroups, range, toHash, wordsOf } from "./state.js";
import { BOUNDARY_RULES, count, measure, nameOf, number, percent, sayAll, sayHeard, sayQuery, saySetting, tokensIn } from "./words.js";
import { CHALLENGE, OPEN, hearsInTime, sayChallenge } from "./challenge.js";
import { hopsBack, sayHops } from "./hops.js";
import { followTheme } from "./theme.js";
import { draw, exported } from "./picture.js";
import { tokenAt } from "./layout.js";
import { STEPS } from "./tour.js";
import { COSTS, READOUT, SENTENCE, SLIDERS, face } from "./face.js";

const SYNCED = ["n", "g", "shift", "heads", "boundary", "layers", "projector", "tour", "words", "challenge", "score"];
const HOP = 900; // milliseconds that a message takes for a layer

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "s2x longlora-explorer";
  root.innerHTML = face(`s2x${Math.random().toString(36).slice(2, 10)}`);
  el.append(root);
  const find = (selector) => root.querySelector(selector);
  const canvas = find(".s2x-picture");
  const context = canvas.getContext("2d");
  const read = () => Object.fromEntries(SYNCED.map((name) => [name, model.get(name)]));
  const alone = Boolean(model.get("page")); // a page of its own, whose keys are nobody else's
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const link = () => `${model.get("page") || "explorer.html"}#${toHash({ ...state, tour: false })}`;

  let state = { ...read(), tour: false };
  let facts = measure(state);
  let tokens = state.n; // the length that was asked for, to come back to where a group size allows
  let [query, pinned] = [-1, false];
  let [step, done, before] = [0, false, facts];
  let [place, writing, timer] = [null, false, 0];
  let [play, flash, frame] = [null, 0, 0];
  let hidden = Boolean(model.get("ask")); // a poll is open: no number that answers it is shown
  let others = state.score; // of whoever sent the link
  state.score = 0;

  // What the reader does.
  function apply(patch) {
    const [next, sentence] = change(state, patch, tokens);
    if ("n" in patch) tokens = next.n;
    settle(next, sentence);
    if (state.challenge && hearsInTime(facts) && !(state.score && state.score <= facts.pairs) && state.g < state.n) {
      state = { ...state, score: facts.pairs };
      paintChallenge();
    }
    writing = true;
    for (const name of SYNCED) if (model.get(name) !== state[name]) model.set(name, state[name]);
    writing = false;
    model.save_changes();
  }

  // What the kernel, a link or another view of the same model does. Several settings may arrive one by one.
  const follow = () => writing || queueMicrotask(() => {
    const next = read();
    hidden = Boolean(model.get("ask"));
    if (next.score !== state.score) [others, next.score] = [next.score, 0];
    tokens = next.n;
    const opens = next.tour && !state.tour;
    settle({ ...next, tour: next.tour && !opens }, model.get("note") || "");
    if (opens) enter(0);
  });

  function settle(next, sentence) {
    state = next;
    facts = measure(state);
    if (query >= state.n) query = -1;
    rest();
    find(".s2x-note").textContent = sentence;
    paint();
  }

  function point(token, pin = pinned) {
    pinned = pin && token >= 0;
    if (token === query) return;
    if (play?.frames === false || token >= 0) rest();
    query = token;
    paintTour();
    paintPicture();
    paintQuery();
  }

  function enter(at) {
    if (at === STEPS.length) return leave(), onward();
    [step, done, query, pinned] = [at, false, -1, false];
    before = measure({ ...state, ...STEPS[at].start });
    apply({ ...STEPS[at].start, tour: true, challenge: false, words: "" });
    if (STEPS[at].parts.includes("cost")) find(".s2x-cost").open = true;
    find(`[data-part=${STEPS[at].parts[0]}]:is(canvas), [data-part=${STEPS[at].parts[0]}] :is(input, select)`)
      .focus({ preventScroll: true });
    speak(`${STEPS[at].text} ${STEPS[at].action}`);
  }

  function leave() {
    apply({ tour: false });
    find("[data-do=tour]").focus({ preventScroll: true });
  }

  // Behind the tour a way goes on: to the lesson, where the page knows how lessons are kept.
  function onward() {
    const note = find(".s2x-note");
    const kept = document.documentElement.dataset.lessons;
    note.textContent = "You have seen all six. Why it works: lesson 02a. ";
    if (!alone || !kept) return;
    const link = document.createElement("a");
    link.setAttribute("href", `../notebooks/02a_wall_and_shift.${kept}`);
    link.textContent = "Go on to lesson 02a";
    note.append(link);
  }

  // A message on its way. Where less motion is asked for, its whole way stands there at once.
  function start() {
    rest();
    const way = hopsBack(state);
    play = { ...way, at: calm.matches ? way.hops.length : 0, frames: !calm.matches, began: performance.now() };
    find("[data-do=play]").innerHTML = play.frames ? "■ Stop <kbd>m</kbd>" : "▶ Play <kbd>m</kbd>";
    if (play.frames) frame = requestAnimationFrame(advance);
    paintPicture();
    paintQuery();
    speak(sayHops(way, nameOf(state)));
  }

  function advance(now) {
    const before = Math.ceil(play.at);
    play.at = Math.min(play.hops.length, (now - play.began) / HOP);
    paintPicture();
    if (Math.ceil(play.at) !== before) paintQuery();
    if (play.at < play.hops.length) frame = requestAnimationFrame(advance);
    else {
      paintQuery();
      play.frames = false; // the way stays until something else is done
      find("[data-do=play]").innerHTML = "▶ Play <kbd>m</kbd>";
    }
  }

  function rest() {
    cancelAnimationFrame(frame);
    if (!play) return;
    play = null;
    find("[data-do=play]").innerHTML = "▶ Play <kbd>m</kbd>";
    paintPicture();
    paintQuery();
  }

  // One button to the paper's rolled ends, and back.
  function cheat() {
    if (state.boundary === "wrap") return apply({ boundary: "split" });
    apply({ boundary: "wrap", ...(state.shift ? {} : { shift: half(state.g) }) });
    const note = find(".s2x-note");
    const leak = `${count(facts.future, "pair")} look at the future: the hatched ones. The first tokens have read the last.`;
    note.textContent = `${note.textContent} ${facts.future ? leak : "A group of one token has no future to look at."}`.trim();
    if (!facts.future || calm.matches) return;
    const began = performance.now();
    const glow = (now) => {
      const share = (now - began) / 1600;
      flash = share < 1 ? Math.abs(Math.sin(share * 3 * Math.PI)) : 0;
      paintPicture();
      if (share < 1 && state.boundary === "wrap") requestAnimationFrame(glow);
      else flash = 0;
    };
    requestAnimationFrame(glow);
  }

  // What is seen.
  function paint() {
    root.classList.toggle("s2x-projector", state.projector);
    root.classList.toggle("s2x-ask", Boolean(model.get("ask")));
    root.classList.toggle("s2x-hidden", hidden);
    find("[data-do=answer]").hidden = !hidden;
    find("[data-do=projector]").setAttribute("aria-pressed", state.projector);
    find("[data-do=tour]").setAttribute("aria-pressed", state.tour);
    for (const [name] of SLIDERS) {
      const input = find(`input[name=${name}]`);
      const stride = name === "n" && needsWholeGroups(state) ? state.g : 1;
      const [low, high] = name === "g" ? [1, Math.max(state.n, state.g)] : range(name, state);
      Object.assign(input, { step: stride, min: Math.max(low, stride === 1 ? low : stride), max: high });
      Object.assign(input, { value: state[name], disabled: low === high });
      input.parentNode.querySelector(".s2x-value").textContent = state[name];
    }
    find("select").value = state.boundary;
    find(".s2x-rule").textContent = state.shift
      ? `${state.boundary}: ${BOUNDARY_RULES[state.boundary]}`
      : "Without a shift the boundary makes no difference.";
    const values = root.querySelectorAll(":is(.s2x-readout, .s2x-costs) dd");
    [...READOUT, ...COSTS].forEach(([, say], at) => (values[at].textContent = say(state, facts)));
    const words = find("input[name=words]");
    if (words.value !== state.words && document.activeElement !== words) words.value = state.words;
    find("[data-do=cheat]").innerHTML = `${state.boundary === "wrap" ? "Play fair" : "Make it cheat"} <kbd>c</kbd>`;
    paintCosts();
    paintChallenge();
    const sentences = hidden ? `${saySetting(state)} The numbers are hidden until they are asked for.` : sayAll(state, facts).join(" ");
    canvas.setAttribute("aria-label", `Picture: ${sentences} Arrow keys choose a token.`);
    find(".s2x-link input").value = link();
    paintTour();
    paintPicture();
    paintQuery();
    paintTable();
    clearTimeout(timer); // a screen reader hears where a slider stopped, not all it passed
    const waiting = state.tour && !done;
    if (!waiting) timer = setTimeout(() => speak(state.tour ? find(".s2x-outcome").textContent : sentences), 700);
  }

  function paintPicture() {
    const width = Math.floor(canvas.clientWidth);
    if (width < 120) return; // not laid out yet: the observer comes back
    const scale = window.devicePixelRatio || 1;
    const focus = state.tour ? STEPS[step].panels : null;
    const dark = root.classList.contains("s2x-dark");
    const top = canvas.getBoundingClientRect().top + window.scrollY;
    const tall = alone && state.projector ? window.innerHeight - top - 30 : undefined;
    place = draw(canvas, context, state, facts, { width, scale, query, focus, play, flash, dark, hidden, tall });
  }

  function paintQuery() {
    const nobody = "No token is chosen: point at the picture to see whom a token looks at.";
    const words = query >= 0 && state.words ? ` ${sayHeard(state, facts, query)}` : "";
    const chosen = play
      ? sayHops(play, nameOf(state), Math.ceil(play.at), play.at === play.hops.length)
      : query < 0 ? nobody : sayQuery(state, facts, query) + words;
    find(".s2x-query").textContent = chosen;
    canvas.setAttribute("aria-valuemin", 0);
    canvas.setAttribute("aria-valuemax", state.n - 1);
    canvas.setAttribute("aria-valuenow", Math.max(query, 0));
    canvas.setAttribute("aria-valuetext", chosen);
  }

  function paintTable() {
    if (!find(".s2x-table").open) return;
    const rows = Array.from({ length: state.n }, (_, token) => [
      facts.plain ? tokensIn(facts.plain, state.n, token, Boolean) : "no plain head",
      tokensIn(facts.shifted, state.n, token, Boolean),
      tokensIn(facts.shifted, state.n, token, (kind) => kind === 2) || "none",
      tokensIn(facts.needed, state.n, token, (needed) => needed > 0 && needed <= state.layers),
    ]);
    const html = (row, at) => `<tr><th scope="row">${at}</th>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
    find("tbody").innerHTML = rows.map(html).join("");
  }

  // The bars of what it costs, as boxes: the picture keeps to who looks at whom.
  function paintCosts() {
    const { flops, bytes, future, pairs } = facts;
    const ahead = (future / pairs) * (flops.plain + flops.shifted);
    const rows = [
      ["FLOPs", "full attention", flops.dense, [["dense", flops.dense]]],
      ["", "S²-Attn", flops.dense, [["plain", flops.plain], ["shifted", flops.shifted - ahead], ["future", ahead]]],
      ["Bytes", "whole matrix, masked", bytes.masked, [["dense", bytes.masked]]],
      ["", "cells only", bytes.masked, [["plain", bytes.plain], ["shifted", bytes.shifted]]],
      ["", "flash kernel", bytes.masked, [["ink", bytes.flash]]],
    ];
    find(".s2x-bars").innerHTML = rows
      .map(([title, name, most, parts]) => {
        const total = parts.reduce((sum, [, value]) => sum + value, 0);
        const bars = parts.map(([kind, value]) => `<i class="s2x-${kind}" style="width:${(100 * value) / most}%"></i>`).join("");
        const share = title ? "" : `, ${percent(total / most)}`;
        return `${title && `<b>${title} of one layer</b>`}<div><span>${name}</span><span>${number(total)}${share}</span></div><p>${bars}</p>`;
      })
      .join("");
  }

  function paintChallenge() {
    find(".s2x-challenge").hidden = !state.challenge;
    for (const button of root.querySelectorAll("[data-do=challenge][aria-pressed]"))
      button.setAttribute("aria-pressed", Boolean(state.challenge));
    if (!state.challenge) return;
    find(".s2x-score").textContent = sayChallenge(facts, state.score, others);
  }

  function paintTour() {
    const now = STEPS[step];
    find(".s2x-tour").hidden = !state.tour;
    const open = state.tour ? now.parts : state.challenge ? OPEN : null;
    for (const part of root.querySelectorAll("[data-part]")) {
      part.inert = open !== null && !open.includes(part.dataset.part);
      part.classList.toggle("s2x-lit", state.tour && part.matches(`.s2x-control[data-part=${now.parts[0]}]`));
    }
    if (!state.tour) return;
    const here = { state, facts, query, before };
    const taken = !done && now.done(here);
    done ||= taken;
    find(".s2x-step").textContent = `Step ${step + 1} of ${STEPS.length}: ${now.title}`;
    find(".s2x-text").textContent = now.text;
    find(".s2x-action").textContent = `${done ? "✓" : "→"} ${now.action}`;
    if (!done) find(".s2x-outcome").textContent = "";
    else if (now.done(here)) find(".s2x-outcome").textContent = now.outcome(here);
    find("[data-do=next]").disabled = !done;
    find("[data-do=next]").innerHTML = `${step + 1 < STEPS.length ? "Next" : "Finish"} <kbd>Enter</kbd>`;
    if (taken) speak(now.outcome(here));
  }

  const speak = (sentence) => (find(".s2x-live").textContent = sentence);

  // What can be done.
  const actions = {
    tour: () => (state.tour ? leave() : enter(0)),
    play: () => (play?.frames ? rest() : start()),
    cheat,
    answer() {
      hidden = false;
      paint();
      find("[data-do=play]").focus({ preventScroll: true });
    },
    challenge: () => apply(state.challenge ? { challenge: false } : { ...CHALLENGE, words: "", tour: false, challenge: true }),
    sentence() {
      find("input[name=words]").value = SENTENCE;
      apply({ words: SENTENCE, n: wordsOf(SENTENCE).length });
      point(state.n - 2, true);
    },
    projector: () => apply({ projector: !state.projector }),
    next: () => done && enter(step + 1),
    leave,
    save: () => exported(state, facts, query, sayAll(state, facts)),
    copy: async () => {
      const input = find(".s2x-link input");
      // Pages opened as files, and some notebooks, keep the clipboard to themselves: the old way works there.
      const old = () => (input.select(), document.execCommand("copy"));
      const copied = await (navigator.clipboard?.writeText(link()) ?? Promise.reject()).then(() => true, old);
      find(".s2x-note").textContent = copied ? "The link is copied." : "The link is selected: copy it with Ctrl+C.";
    },
  };

  function nudge(name, by) {
    const input = find(`input[name=${name}]`);
    if (input.closest("[inert]")) return;
    const value = Number(input.value) + by * Number(input.step);
    if (value >= Number(input.min) && value <= Number(name === "g" ? 128 : input.max)) apply({ [name]: value });
  }

  function nextBoundary() {
    const at = BOUNDARIES.indexOf(state.boundary);
    if (!find("select").closest("[inert]")) apply({ boundary: BOUNDARIES[(at + 1) % BOUNDARIES.length] });
  }

  const onPicture = {
    ArrowDown: () => (query + 1) % state.n,
    ArrowUp: () => (query <= 0 ? state.n : query) - 1,
    Home: () => 0,
    End: () => state.n - 1,
  };
  onPicture.ArrowRight = onPicture.ArrowDown;
  onPicture.ArrowLeft = onPicture.ArrowUp;

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!(event.key === "Enter" && event.shiftKey)) event.stopPropagation(); // else JupyterLab takes it for a command
    const { key, target } = event;
    const slider = SLIDERS.find(([, , letter]) => letter === key.toLowerCase());
    // Letters choose in a list, and arrows move in a text.
    if (target.matches("input[type=text], select") && !["Escape", "Enter"].includes(key)) return;
    if (key === "Escape") {
      if (state.tour) leave();
      else point(-1, false);
    } else if (key === "Enter" && state.tour && !target.matches("button, summary")) actions.next();
    else if (target === canvas && key in onPicture) point(onPicture[key](), true);
    else if (slider) nudge(slider[0], event.shiftKey ? -1 : 1);
    else if (key === "b") nextBoundary();
    else if (key === "m") actions.play();
    else if (key === "c" && !find("select").closest("[inert]")) cheat();
    else if (key === "p") actions.projector();
    else if (key === "t") actions.tour();
    else return;
    event.preventDefault();
  }

  const under = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return place ? tokenAt(state, place, clientX - box.left, clientY - box.top) : -1;
  };
  root.addEventListener("keydown", pressed);
  root.addEventListener("click", ({ target }) => actions[target.closest("[data-do]")?.dataset.do]?.());
  // On its own page the explorer has the keys before anything in it was touched.
  const atLoad = (event) => event.target === document.body && pressed(event);
  if (alone) document.addEventListener("keydown", atLoad);
  root.addEventListener("input", ({ target }) => {
    if (target.name === "words") {
      const size = wordsOf(target.value).length;
      return apply({ words: target.value.trim(), ...(size ? { n: size } : {}) });
    }
    if (target.name) apply({ [target.name]: target.matches("select") ? target.value : Number(target.value) });
  });
  canvas.addEventListener("pointermove", (event) => pinned || point(under(event)));
  canvas.addEventListener("pointerleave", () => pinned || point(-1));
  canvas.addEventListener("pointerdown", (event) => {
    const token = under(event);
    point(token, !(pinned && token === query));
  });
  find(".s2x-table").addEventListener("toggle", paintTable);
  const observer = new ResizeObserver(() => Math.floor(canvas.clientWidth) === place?.width || paintPicture());
  observer.observe(canvas);
  const forgetTheme = followTheme(root, "s2x-dark");
  root.addEventListener("theme", paintPicture);
  // Once, on a page opened without settings, it shows by itself what Play does, when it comes into view and nothing
  // has been done yet. A link with settings, or a lesson, may have asked a question that this would answer.
  const seen = new IntersectionObserver(([{ isIntersecting }]) => {
    if (!isIntersecting) return;
    if (!calm.matches && !state.tour && !state.challenge && query < 0 && !play) start();
    seen.disconnect();
  }, { threshold: 0.3 });
  if (model.get("fresh")) seen.observe(canvas);
  for (const kind of ["pointerdown", "keydown"]) root.addEventListener(kind, () => seen.disconnect(), { once: true });
  for (const name of [...SYNCED, "note"]) model.on(`change:${name}`, follow);

  settle(state, model.get("note") || "");
  if (model.get("tour")) enter(0);

  return () => {
    observer.disconnect();
    seen.disconnect();
    forgetTheme();
    rest();
    document.removeEventListener("keydown", atLoad);
    clearTimeout(timer);
    for (const name of [...SYNCED, "note"]) model.off(`change:${name}`, follow);
  };
}

export default { render };
