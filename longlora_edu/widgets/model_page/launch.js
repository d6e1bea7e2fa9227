// The model on a page of its own: the weights stand in the page, the switches in the link.

export function launch(render, el, samples) {
  const text = document.getElementById("pack").textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const values = {
    pack: bytes.buffer,
    samples,
    variant: asked.model,
    attention: asked.attention,
    group: Number(asked.group) || 0,
    text: "",
  };
  let timer = 0;
  const model = {
    get: (name) => values[name],
    set: (name, value) => (values[name] = value),
    on: () => {},
    off: () => {},
    save_changes() {
      clearTimeout(timer);
      const { variant, attention, group } = values;
      timer = setTimeout(
        () => history.replaceState(null, "", `#model=${variant}&attention=${attention}&group=${group}`),
        250,
      );
    },
  };
  return render({ model, el });
}
