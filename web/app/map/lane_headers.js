/** “LAN peers · 4 · 31 models · 1 unhealthy” */
import { h } from "../chrome/dom.js";
import { RING_LABELS } from "./status_styles.js";
import { formatCount, plural } from "../core/format.js";

export class LaneHeaders {
  /** @param {HTMLElement} layer */
  constructor(layer) {
    this.layer = layer;
    /** @type {Map<string, {el:HTMLElement, sig:string}>} */
    this.headers = new Map();
  }

  /** @param {Layout} layout @param {Camera} camera @param {Map<string, ShownBackend>} shown @param {Size} view */
  update(layout, camera, shown, view) {
    for (const [ring, { el }] of this.headers)
      if (!layout.lanes.some((l) => l.ring === ring)) (el.remove(), this.headers.delete(ring));
    for (const lane of layout.lanes) {
      const backends = lane.backends.map((id) => shown.get(id)).filter((b) => b !== undefined);
      const models = new Set(backends.flatMap((b) => b.models)).size;
      const unhealthy = backends.filter((b) => b.status === "unhealthy").length;
      const signature = `${backends.length},${models},${unhealthy}`;
      let header = this.headers.get(lane.ring);
      if (!header) {
        header = { el: h("div", { class: "lane-header" }), sig: "" };
        this.headers.set(lane.ring, header);
        this.layer.append(header.el);
      }
      if (header.sig !== signature) {
        header.sig = signature;
        header.el.replaceChildren(
          h("b", { text: RING_LABELS[lane.ring] }),
          ` · ${formatCount(backends.length)} · ${plural(models, "model")}`,
          ...(unhealthy ? [" · ", h("span", { class: "bad", text: `◆ ${unhealthy} unhealthy` })] : []),
        );
      }
      const x = Math.max(8, lane.x * camera.k + camera.x + 10);
      const y = lane.y * camera.k + camera.y + 2;
      header.el.style.transform = `translate(${Math.round(x)}px,${Math.round(y)}px)`;
      header.el.style.maxWidth = `${Math.max(60, Math.round((lane.x + lane.w) * camera.k + camera.x - x - 6))}px`;
      header.el.hidden = y < -20 || y > view.h || x > view.w - 40;
    }
  }
}
