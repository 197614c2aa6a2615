/** Time travel over the last hour. */
import { penOf } from "../map/canvas.js";
import { $, say } from "../chrome/dom.js";
import { STEPS, STEP_MS } from "../core/history.js";
import { PALETTES } from "../map/colours.js";
import { LOOK_ORDER } from "../map/status_styles.js";
import { ago } from "../core/format.js";

export class Timeline {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    const root = $("timeline");
    this.strip = root.querySelector("canvas");
    this.slider = root.querySelector("input");
    this.label = root.querySelector("output");
    const [earlier, pause, later, back] = root.querySelectorAll("button");
    this.pause = pause;
    this.back = back;
    const step = (/** @type {number} */ by) => () => this.to(Number(this.slider.value) + by);
    this.slider.addEventListener("input", step(0));
    earlier.onclick = step(-1);
    later.onclick = step(1);
    pause.onclick = () => (app.past === null ? this.to(0, true) : app.travel(null));
    back.onclick = () => app.travel(null);
    this.drawn = "";
  }

  /** @param {number} offset @param {boolean} [hold] */
  to(offset, hold = false) {
    const { history } = this.app;
    const at = Math.max(history.first, Math.min(history.step, history.step + offset));
    if (offset >= 0 && !hold) this.app.travel(null);
    else this.app.travel(at);
  }

  update() {
    const {
      app,
      app: { history, past, theme },
    } = this;
    const age = past === null ? 0 : history.step - past;
    this.slider.value = String(-age);
    const text = past === null ? "live now" : `${ago(app.pastAge())} ago`;
    this.slider.setAttribute("aria-valuetext", text);
    say(this.label, text);
    this.back.hidden = past === null;
    this.pause.setAttribute("aria-pressed", String(past !== null));
    const span = history.step - history.first + 1;
    this.slider.title =
      history.seeded || span >= STEPS
        ? "The last hour, in steps of 5 s"
        : `Known for ${ago((span * STEP_MS) / 1000)}`;
    const sig = `${history.step}${theme}${this.slider.clientWidth}${history.first}`;
    if (sig !== this.drawn) this.draw(sig);
  }

  /** @param {string} sig */
  draw(sig) {
    this.drawn = sig;
    const { history, theme } = this.app;
    const palette = PALETTES[theme];
    const [w, tall] = [this.slider.clientWidth, 14];
    if (!w) return;
    const pen = penOf(this.strip, w, tall);
    pen.globalAlpha = 0.5;
    pen.fillStyle = palette.line;
    pen.fillRect(0, tall - 1, w, 1);
    const columns = Math.min(w, STEPS);
    for (let c = 0; c < columns; c += 1) {
      // Each column shows the worst of its steps.
      let worst = [0, 0, 0, 0, 0];
      const [a, b] = [Math.floor((c * STEPS) / columns), Math.floor(((c + 1) * STEPS) / columns)];
      for (let i = a; i < Math.max(b, a + 1); i += 1) {
        const census = history.census(history.step - STEPS + 1 + i);
        if (census.some(Boolean) && census[0] >= worst[0]) worst = census;
      }
      const all = worst.reduce((x, y) => x + y, 0);
      if (!all) continue;
      let y = 0;
      LOOK_ORDER.forEach((look, i) => {
        const part = (worst[i] / all) * tall;
        pen.fillStyle = palette.looks[look];
        pen.globalAlpha = look === "healthy" ? 0.45 : 1;
        if (worst[i]) pen.fillRect((c * w) / columns, y, Math.ceil(w / columns), Math.max(part, 2));
        y += part;
      });
    }
  }
}
