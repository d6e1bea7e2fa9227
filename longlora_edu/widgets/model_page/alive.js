// The model page: its parts, what the reader does to them, and the worker behind. `model` is what anywidget or the page
// gives: the packed weights, the files to take, and the switches.

import { startEngine } from "./client.js";
import { fitted, toText } from "./bytes.js";
import { groupsUpTo, startGroup } from "./pattern.js";
import { ATTENTIONS, MODELS, desk } from "./desk.js";
import { newReading } from "./reading.js";
import { newWriting } from "./writing.js";
import { newHiding } from "./hiding.js";
import { newLooking } from "./looking.js";
import { newLeaking } from "./leaking.js";
import { followTheme } from "../explorer/theme.js";

/* global WORKER_SOURCE -- the worker as text, which bundle.py puts before this module */

const SYNCED = ["variant", "attention", "group", "text"];
const count = (value) => value.toLocaleString("en-US");

// The packed weights as an ArrayBuffer: the page has them, a kernel sends them when it is asked.
function packOf(model) {
  const given = model.get("pack");
  if (given) return Promise.resolve(given);
  return new Promise((resolve) => {
    model.on("msg:custom", (content, [view] = []) => {
      if (content?.answer !== "pack") return;
      const start = view.byteOffset ?? 0;
      resolve((view.buffer ?? view).slice(start, start + view.byteLength));
    });
    model.send({ ask: "pack" });
  });
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "mp longlora-model";
  root.innerHTML = `<p role="status">Unpacking the model …</p>`;
  el.append(root);
  const forgetTheme = followTheme(root, "mp-dark");
  const engine = startEngine(WORKER_SOURCE);
  let ends = [];
  const patience = setTimeout(() => {
    root.innerHTML = `<p role="alert">No kernel answers. Run the cell again, or open docs/model.html in a browser.</p>`;
  }, 15_000);
  packOf(model)
    .then((pack) => (clearTimeout(patience), engine.call("load", { pack }, () => {}, [pack])))
    .then(({ header }) => (ends = open({ model, root, engine, header })))
    .catch((error) => (root.innerHTML = `<p role="alert">The model could not be started here: ${error.message}.</p>`));
  return () => {
    clearTimeout(patience);
    engine.end();
    forgetTheme();
    for (const end of ends) end();
  };
}

function open({ model, root, engine, header }) {
  const samples = model.get("samples") ?? [];
  const id = `mp${Math.random().toString(36).slice(2, 10)}`;
  root.innerHTML = desk(id, header, samples);
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const button = (name) => root.querySelector(`[data-do="${name}"]`);
  const field = part("text");
  const page = {
    model: Object.hasOwn(MODELS, model.get("variant")) ? model.get("variant") : "after",
    attention: Object.hasOwn(ATTENTIONS, model.get("attention")) ? model.get("attention") : "dense",
    group: header.group,
    ids: new Uint8Array(),
    left: 0,
    header,
    root,
    part,
    button,
    engine,
    id,
    pattern: (name = page.attention) => ({ name, group: page.group }),
    setText,
    status,
    busy,
    job,
    halt,
  };

  // One long job at a time, with its progress and a way to stop it; the promise is null where it was stopped.
  let running = null;
  function job(name, args, { hear = () => {}, says = "Computing" } = {}) {
    running?.stop();
    const call = engine.call(name, args, (news) => {
      if (running !== call) return; // what was stopped may still have sent something
      if (news.share !== undefined) busy(news.share, says);
      hear(news);
    });
    running = call;
    return call.then(
      (result) => (running === call && ((running = null), busy(null)), result),
      (error) => {
        if (running === call) ((running = null), busy(null));
        if (error.message === "stopped") return null;
        status(error.message);
        throw error;
      },
    );
  }
  const stop = () => running?.stop();
  function halt() {
    stop();
    running = null;
    busy(null);
  }

  function busy(share, says = "") {
    const bar = root.querySelector("progress");
    button("stop").hidden = share === null;
    bar.classList.toggle("mp-on", share !== null);
    bar.value = share ?? 0;
    if (share !== null) part("status").textContent = `${says}: ${Math.round(100 * share)}\u00a0%`;
  }
  function status(sentence) {
    part("status").textContent = sentence;
  }

  // Puts a text, or bytes, into the field and reads it. `fresh` texts choose their group.
  function setText(text, { fresh = false, read = true } = {}) {
    field.value = typeof text === "string" ? text : toText(text);
    take(fresh);
    if (read) reading.read();
  }

  function take(fresh = false) {
    const { ids, left } = fitted(field.value, header.context);
    [page.ids, page.left] = [ids, left];
    if (fresh) page.group = startGroup(ids.length, header.group);
    const over = left ? ` The last ${count(left)} are left out.` : "";
    part("length").textContent = `${count(ids.length)} of at most ${count(header.context)} bytes.${over}`;
    paintSwitches();
  }

  function paintSwitches() {
    for (const input of root.querySelectorAll("input[data-set=model]")) input.checked = input.value === page.model;
    for (const input of root.querySelectorAll("input[data-set=attention]"))
      input.checked = input.value === page.attention;
    const select = root.querySelector("select[data-set=group]");
    const sizes = groupsUpTo(header.group);
    if (!sizes.includes(page.group)) sizes.push(page.group);
    select.innerHTML = sizes
      .map((size) => `<option value="${size}"${size === page.group ? " selected" : ""}>${size} bytes</option>`)
      .join("");
    select.disabled = page.attention === "dense";
    part("group-says").textContent =
      page.attention === "dense"
        ? "Dense attention has no groups."
        : page.group === header.group
          ? "as in training"
          : `In training it was ${header.group}.`;
    for (const name of ["write", "hide"]) button(name).disabled = page.attention === "wrap";
    for (const [name, value] of Object.entries({
      variant: page.model,
      attention: page.attention,
      group: page.group,
      text: field.value,
    }))
      if (model.get(name) !== value) model.set(name, value);
    model.save_changes();
  }

  const reading = newReading(page);
  const writing = newWriting(page, reading);
  const hiding = newHiding(page, reading);
  Object.assign(page, { nats: reading.nats, isReading: reading.isReading });
  const looking = newLooking(page);
  const leaking = newLeaking(page);
  reading.after(() => looking.refresh());
  const actions = { stop, ...reading.actions, ...writing.actions, ...hiding.actions, ...leaking.actions };

  root.addEventListener("click", ({ target }) => actions[target.closest("[data-do]")?.dataset.do]?.());
  root.addEventListener("change", ({ target }) => {
    const { set } = target.dataset;
    if (set === "layer") return looking.layer(Number(target.value));
    if (!set) return;
    if (set === "model") page.model = target.value;
    else if (set === "attention") page.attention = target.value;
    else if (set === "group") page.group = Number(target.value);
    paintSwitches();
    reading.read();
  });
  part("file").addEventListener("change", ({ target }) => setText(samples[target.value]?.text ?? "", { fresh: true }));
  field.addEventListener("input", (event) => {
    part("file").value = "";
    take(event.inputType === "insertFromPaste");
    reading.read();
  });
  // Otherwise a notebook takes letters for its commands.
  root.addEventListener("keydown", (event) => (event.key === "Enter" && event.shiftKey) || event.stopPropagation());

  const repaint = () => (reading.paint(), looking.paint(), leaking.paint());
  let width = 0;
  const observer = new ResizeObserver(() => root.clientWidth !== width && ((width = root.clientWidth), repaint()));
  observer.observe(root);
  root.addEventListener("theme", repaint);

  // What a kernel or a link changes.
  const follow = () => {
    const asked = Object.fromEntries(SYNCED.map((name) => [name, model.get(name)]));
    if (Object.hasOwn(MODELS, asked.variant)) page.model = asked.variant;
    if (Object.hasOwn(ATTENTIONS, asked.attention)) page.attention = asked.attention;
    if (asked.group > 0) page.group = Math.min(asked.group, header.context);
    if (typeof asked.text === "string" && asked.text !== field.value) field.value = asked.text;
    take();
    reading.read();
  };
  let due = false; // several settings may arrive one by one
  const soon = () => {
    const differs =
      model.get("variant") !== page.model ||
      model.get("attention") !== page.attention ||
      model.get("group") !== page.group ||
      model.get("text") !== field.value;
    if (due || !differs) return;
    due = true;
    queueMicrotask(() => ((due = false), follow()));
  };
  for (const name of SYNCED) model.on(`change:${name}`, soon);

  const first = model.get("text") || samples[0]?.text || "";
  const at = samples.findIndex(({ text }) => text === first);
  part("file").value = at < 0 ? "" : at;
  const asked = model.get("group");
  setText(first, { fresh: !asked, read: false });
  if (asked) page.group = asked;
  paintSwitches();
  reading.read().then((done) => done && reading.beside("before"));
  root.dataset.ready = "yes";
  return [() => observer.disconnect(), () => SYNCED.forEach((name) => model.off(`change:${name}`, soon)), stop];
}

export default { render };
