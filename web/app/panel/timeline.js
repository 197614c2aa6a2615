/** Time travel over the last hour. */
import { sizedContext } from "../map/canvas.js";
import { $, setText } from "../chrome/dom.js";
import { STEPS, STEP_MS } from "../core/history.js";
import { palette } from "../map/colours.js";
import { STATUS_ORDER } from "../map/status_styles.js";
import { formatDuration } from "../core/format.js";

export class Timeline {
  /** @param {Store<AppState>} store @param {MeshHistory} history @param {(moment:number|null)=>void} showMoment */
  constructor(store, history, showMoment) {
    this.store = store;
    this.history = history;
    this.showMoment = showMoment;
    const root = $("timeline");
    this.strip = root.querySelector("canvas");
    this.slider = root.querySelector("input");
    this.label = root.querySelector("output");
    const [earlier, pause, later, back] = root.querySelectorAll("button");
    this.pause = pause;
    this.back = back;
    const step = (/** @type {number} */ by) => () => this.moveTo(Number(this.slider.value) + by);
    this.slider.oninput = step(0);
    earlier.onclick = step(-1);
    later.onclick = step(1);
    pause.onclick = () => (store.state.moment === null ? this.moveTo(0, true) : showMoment(null));
    back.onclick = () => showMoment(null);
    this.drawnSignature = "";
    store.subscribe(
      (s) => [s.historyVersion, s.moment, s.theme],
      () => this.update(),
    );
    new ResizeObserver(() => this.update()).observe(this.slider);
  }

  /** @param {number} offset @param {boolean} [hold] */
  moveTo(offset, hold = false) {
    const { history, showMoment } = this;
    const at = Math.max(history.firstStep, Math.min(history.step, history.step + offset));
    if (offset >= 0 && !hold) showMoment(null);
    else showMoment(at);
  }

  update() {
    const { history } = this;
    const { moment, theme } = this.store.state;
    const age = moment === null ? 0 : history.step - moment;
    this.slider.value = -age;
    const text = moment === null ? "live now" : `${formatDuration((age * STEP_MS) / 1000)} ago`;
    this.slider.ariaValueText = text;
    setText(this.label, text);
    this.back.hidden = moment === null;
    this.pause.ariaPressed = moment !== null;
    const span = history.step - history.firstStep + 1;
    this.slider.title =
      history.hasBackfill || span >= STEPS
        ? "The last hour, in steps of 5 s"
        : `Known for ${formatDuration((span * STEP_MS) / 1000)}`;
    const signature = `${history.step}${theme}${this.slider.clientWidth}${history.firstStep}`;
    if (signature !== this.drawnSignature) this.draw(signature);
  }

  /** @param {string} signature */
  draw(signature) {
    this.drawnSignature = signature;
    const { history } = this;
    const { line, statuses } = palette();
    const [w, height] = [this.slider.clientWidth, 14];
    if (!w) return;
    const ctx = sizedContext(this.strip, w, height);
    ctx.globalAlpha = 0.5;
    ctx.fillStyle = line;
    ctx.fillRect(0, height - 1, w, 1);
    const columns = Math.min(w, STEPS);
    for (let c = 0; c < columns; c += 1) {
      // Each column shows the worst of its steps.
      let worst = [0, 0, 0, 0, 0];
      const [a, b] = [Math.floor((c * STEPS) / columns), Math.floor(((c + 1) * STEPS) / columns)];
      for (let i = a; i < Math.max(b, a + 1); i += 1) {
        const counts = history.statusCounts(history.step - STEPS + 1 + i);
        if (counts.some(Boolean) && counts[0] >= worst[0]) worst = counts;
      }
      const all = worst.reduce((x, y) => x + y, 0);
      if (!all) continue;
      let y = 0;
      STATUS_ORDER.forEach((status, i) => {
        const part = (worst[i] / all) * height;
        ctx.fillStyle = statuses[status];
        ctx.globalAlpha = status === "healthy" ? 0.45 : 1;
        if (worst[i]) ctx.fillRect((c * w) / columns, y, Math.ceil(w / columns), Math.max(part, 2));
        y += part;
      });
    }
  }
}
