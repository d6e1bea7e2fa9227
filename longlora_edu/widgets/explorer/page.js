// The explorer on a page of its own, without a kernel: a model whose memory is the link.

import { fromHash, toHash } from "./state.js";

export function start(render, el) {
  const listeners = {};
  const fresh = location.hash === ""; // nobody sent settings, so nothing is given away by showing what they do
  let [values, timer] = [{}, 0];
  function load() {
    const { state, problems } = fromHash(location.hash);
    values = { ...state, note: problems.join(" "), page: location.href.split("#")[0], fresh };
    for (const listener of new Set(Object.values(listeners).flat())) listener();
  }
  const model = {
    get: (name) => values[name],
    set: (name, value) => (values[name] = value),
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    off: (event, listener) => (listeners[event] = listeners[event]?.filter((other) => other !== listener)),
    save_changes() {
      clearTimeout(timer); // browsers allow a page only so many changes of its address a second
      timer = setTimeout(() => history.replaceState(null, "", `#${toHash(values)}`), 250);
    },
  };
  load();
  window.addEventListener("hashchange", load);
  return render({ model, el });
}
