// Light or dark: a notebook's own theme where there is one, else what the reader's system asks for.

const darkAsked = () => window.matchMedia("(prefers-color-scheme: dark)");

// JupyterLab says so on its body; a page says nothing, and a notebook of unknown make stays light.
function isDark() {
  const lab = document.body.dataset.jpThemeLight;
  if (lab !== undefined) return lab === "false";
  return document.documentElement.dataset.theme === "system" && darkAsked().matches;
}

// Sets the class while it is dark, and sends the event "theme" when that changes. Returns a function that stops it.
export function followTheme(root, name) {
  const asked = darkAsked();
  const set = () => {
    const dark = isDark();
    if (root.classList.contains(name) === dark) return;
    root.classList.toggle(name, dark);
    root.dispatchEvent(new Event("theme"));
  };
  const observer = new MutationObserver(set);
  observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  asked.addEventListener("change", set);
  set();
  return () => {
    observer.disconnect();
    asked.removeEventListener("change", set);
  };
}
