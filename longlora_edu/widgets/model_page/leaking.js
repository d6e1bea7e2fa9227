// The leak: the last word of the text changes, and the forecasts before it either stay or move.

import { drawMoved } from "./chart.js";
import { quoted } from "./bytes.js";
import { ATTENTIONS } from "./desk.js";
import { otherLastWord } from "./hidden.js";
import { startGroup } from "./pattern.js";

const MOST = 512; // bytes: two runs of each pattern are to take seconds

export function newLeaking(page) {
  const { part, root } = page;
  let found = null;

  async function leak() {
    const group = Math.min(page.group, startGroup(Math.min(page.ids.length, MOST), page.header.group));
    const whole = Math.min(page.ids.length, MOST);
    const ids = page.ids.slice(page.ids.length - (whole - (whole % group)));
    const { changed, start, stop } = otherLastWord(ids);
    if (ids.length < 2 * group || start === stop) return say("Write at least 16 bytes that end in a word.");
    found = { ids, start, stop, group, moved: {} };
    part("leaks").hidden = false;
    for (const name of Object.keys(ATTENTIONS)) {
      const args = { model: page.model, pattern: { name, group }, ids, changed };
      const result = await page.job("compare", args, { says: `Both texts, ${ATTENTIONS[name][0]}` });
      if (!result) return say("Stopped.");
      found.moved[name] = result.moved;
      paint();
    }
    const before = (name) => found.moved[name].subarray(0, start).reduce((sum, by) => sum + (by > 1e-6), 0);
    const [leaks, quiet] = [before("wrap"), ["dense", "s2", "short"].map(before)];
    const first = found.moved.wrap.findIndex((by) => by > 1e-6);
    say(
      `“${quoted(ids, start, stop)}” became “${quoted(changed, start, stop)}”, ${ids.length} bytes in groups of ${group}, model ${page.model}. ` +
        `Under wrap ${leaks} of the ${start} forecasts before the word moved, from byte ${first} on: the first bytes had read the last ones. ` +
        `With dense attention ${quiet[0]} moved, with S² ${quiet[1]}, with short ${quiet[2]}.`,
    );
  }

  function paint() {
    if (!found) return;
    for (const [name, moved] of Object.entries(found.moved)) {
      const before = moved.subarray(0, found.start).reduce((sum, by) => sum + (by > 1e-6), 0);
      const caption = root.querySelector(`[data-leak="${name}"]`);
      caption.textContent = `${ATTENTIONS[name][0]}: ${before} forecasts before the word moved`;
      const canvas = caption.parentNode.querySelector("canvas");
      canvas.setAttribute("aria-label", caption.textContent);
      drawMoved(canvas, moved, { ...found, name, n: found.ids.length });
    }
  }

  const say = (sentence) => (part("leak-says").textContent = sentence);
  return { paint, actions: { leak } };
}
