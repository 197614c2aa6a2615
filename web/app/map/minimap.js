/** The small map in the corner. */
import { $ } from "../chrome/dom.js";
import { penOf } from "./canvas.js";

const W = 140;
const H = 88;

export class Minimap {
  /** @param {Stage} stage */
  constructor(stage) {
    this.stage = stage;
    /** @type {HTMLCanvasElement} */
    this.el = $("minimap");
    const go = (/** @type {PointerEvent} */ e) => {
      if (!(e.buttons & 1)) return;
      const box = this.el.getBoundingClientRect();
      const s = this.scale();
      const { k } = stage.camera;
      stage.look({
        k,
        x: stage.view.w / 2 - ((e.clientX - box.left) / s) * k,
        y: stage.view.h / 2 - ((e.clientY - box.top) / s) * k,
      });
    };
    this.el.addEventListener("pointerdown", go);
    this.el.addEventListener("pointermove", go);
  }

  scale() {
    return Math.min(W / this.stage.layout.w, H / this.stage.layout.h);
  }

  update() {
    const {
      layout,
      camera: { k, x, y },
      view,
      palette,
      picture,
    } = this.stage;
    const whole = x >= -2 && y >= -2 && layout.w * k + x <= view.w + 2 && layout.h * k + y <= view.h + 2;
    this.el.hidden = whole || !layout.boxes.length;
    if (this.el.hidden) return;
    const s = this.scale();
    const pen = penOf(this.el, Math.round(layout.w * s), Math.round(layout.h * s));
    pen.scale(s, s);
    pen.fillStyle = palette.page;
    pen.fillRect(0, 0, layout.w, layout.h);
    pen.fillStyle = palette.accent;
    for (const r of [layout.user, layout.router]) pen.fillRect(r.x, r.y, r.w, r.h);
    for (const box of layout.boxes) {
      const look = picture?.backends.get(box.id)?.look ?? "unknown";
      pen.fillStyle = palette.looks[look];
      pen.globalAlpha = look === "healthy" ? 0.5 : 1;
      pen.fillRect(box.cell.x, box.cell.y, box.cell.w, box.cell.h);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = palette.ink;
    pen.lineWidth = 1.5 / s;
    pen.strokeRect(
      Math.max(1 / s, -x / k),
      Math.max(1 / s, -y / k),
      Math.min(layout.w - 2 / s, view.w / k),
      Math.min(layout.h - 2 / s, view.h / k),
    );
  }
}
