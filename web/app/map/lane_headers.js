/** “LAN peers · 4 · 31 models · 1 unhealthy” */
import { h } from "../chrome/dom.js";
import { RINGS } from "./status_styles.js";
import { count, many } from "../core/format.js";

export class Heads {
  /** @param {HTMLElement} layer */
  constructor(layer) {
    this.layer = layer;
    /** @type {Map<string, {el:HTMLElement, sig:string}>} */
    this.made = new Map();
  }

  /** @param {Layout} layout @param {Camera} camera @param {Map<string, Shown>} shown @param {Size} view */
  sync(layout, camera, shown, view) {
    for (const [ring, { el }] of this.made)
      if (!layout.lanes.some((l) => l.ring === ring)) (el.remove(), this.made.delete(ring));
    for (const lane of layout.lanes) {
      const there = lane.backends.map((id) => shown.get(id)).filter((b) => b !== undefined);
      const models = new Set(there.flatMap((b) => b.models)).size;
      const bad = there.filter((b) => b.look === "unhealthy").length;
      const sig = `${there.length},${models},${bad}`;
      let head = this.made.get(lane.ring);
      if (!head) {
        head = { el: h("div", { class: "head" }), sig: "" };
        this.made.set(lane.ring, head);
        this.layer.append(head.el);
      }
      if (head.sig !== sig) {
        head.sig = sig;
        head.el.replaceChildren(
          h("b", { text: RINGS[lane.ring] }),
          ` · ${count(there.length)} · ${many(models, "model")}`,
          ...(bad ? [" · ", h("span", { class: "bad", text: `◆ ${bad} unhealthy` })] : []),
        );
      }
      const x = Math.max(8, lane.x * camera.k + camera.x + 10);
      const y = lane.y * camera.k + camera.y + 2;
      head.el.style.transform = `translate(${Math.round(x)}px,${Math.round(y)}px)`;
      head.el.hidden = y < -20 || y > view.h || x > view.w - 40;
    }
  }
}
