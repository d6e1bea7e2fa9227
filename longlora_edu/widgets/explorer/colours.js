// Colours: those of longlora_edu/plots/style.py, where each stands for one thing. A test holds them equal.

export const COLOURS = {
  plain: "#0072B2", shifted: "#E69F00", future: "#CC79A7", dense: "#666666", empty: "#EFEFEF", ink: "#222222",
};
// What is not a meaning but a ground, by theme: the sheet, words and outlines on it, squares that nobody may look at,
// full attention's bar.
export const PAINTS = {
  light: { ground: "#FFFFFF", ink: COLOURS.ink, empty: COLOURS.empty, dense: COLOURS.dense },
  dark: { ground: "#1B1E21", ink: "#ECECEC", empty: "#30353A", dense: "#8C8C8C" },
};
// cividis, in steps of a sixteenth.
export const CIVIDIS = [
  "#00224E", "#002E6A", "#1A386F", "#32436D", "#434E6C", "#535A6D", "#61656F", "#6F7073", "#7D7C78",
  "#8C8878", "#9B9476", "#ABA072", "#BCAE6C", "#CDBB63", "#DEC958", "#F0D846", "#FEE838",
];

// A colour that lets through what is below it.
export const clear = (hex, share) => `rgba(${channels(hex).join(",")},${share})`;

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// One colour a layer, the same however many layers there are: cividis from 0.15 on, each layer a quarter of what is
// left nearer to its end, as in plot_reach.
export function layerColours(layers) {
  return Array.from({ length: layers }, (_, at) => {
    const place = 16 * (1 - 0.85 * 0.75 ** at);
    const below = Math.min(15, Math.floor(place));
    const [a, b] = [channels(CIVIDIS[below]), channels(CIVIDIS[below + 1])];
    const mixed = a.map((value, i) => Math.round(value + (place - below) * (b[i] - value)));
    return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  });
}

// Black or white, whichever stands out more from a colour (contrast as WCAG 2 defines it).
export function readableOn(hex) {
  const linear = channels(hex)
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#FFFFFF";
}
