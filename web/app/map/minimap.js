/** The small map in the corner. */
import { $ } from "../chrome/dom.js";
import { sizedContext } from "./canvas.js";

const W = 140;
const H = 88;

export class Minimap {
  /** @param {MapView} map */
  constructor(map) {
    this.map = map;
    /** @type {HTMLCanvasElement} */
    this.el = $("minimap");
    const panTo = (/** @type {PointerEvent} */ e) => {
      if (!(e.buttons & 1)) return;
      const box = this.el.getBoundingClientRect();
      const s = this.scale();
      const { k } = map.camera;
      map.moveCamera({
        k,
        x: map.view.w / 2 - ((e.clientX - box.left) / s) * k,
        y: map.view.h / 2 - ((e.clientY - box.top) / s) * k,
      });
    };
    this.el.onpointerdown = panTo;
    this.el.onpointermove = panTo;
  }

  scale() {
    return Math.min(W / this.map.layout.w, H / this.map.layout.h);
  }

  update() {
    const {
      layout,
      camera: { k, x, y },
      view,
      palette,
      model,
    } = this.map;
    const showsAll = x >= -2 && y >= -2 && layout.w * k + x <= view.w + 2 && layout.h * k + y <= view.h + 2;
    this.el.hidden = showsAll || !layout.boxes.length;
    if (this.el.hidden) return;
    const s = this.scale();
    const ctx = sizedContext(this.el, Math.round(layout.w * s), Math.round(layout.h * s));
    ctx.scale(s, s);
    ctx.fillStyle = palette.page;
    ctx.fillRect(0, 0, layout.w, layout.h);
    ctx.fillStyle = palette.accent;
    for (const r of [layout.user, layout.router]) ctx.fillRect(r.x, r.y, r.w, r.h);
    for (const box of layout.boxes) {
      const status = model?.backends.get(box.id)?.status ?? "unknown";
      ctx.fillStyle = palette.statuses[status];
      ctx.globalAlpha = status === "healthy" ? 0.5 : 1;
      ctx.fillRect(box.cell.x, box.cell.y, box.cell.w, box.cell.h);
    }
    ctx.globalAlpha = 1;
    ctx.strokeStyle = palette.ink;
    ctx.lineWidth = 1.5 / s;
    ctx.strokeRect(
      Math.max(1 / s, -x / k),
      Math.max(1 / s, -y / k),
      Math.min(layout.w - 2 / s, view.w / k),
      Math.min(layout.h - 2 / s, view.h / k),
    );
  }
}
