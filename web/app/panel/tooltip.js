/** What a card has no room for, after 300 ms of rest. */
import { $, badge, h, keyOf } from "../chrome/dom.js";
import { kindLabel } from "../core/kinds.js";
import { RINGS } from "../map/status_styles.js";
import { backendOf, modelOf } from "../map/selection.js";
import { ago, clean, host, many, ms, tally } from "../core/format.js";

const REST_MS = 300;

export class Tooltip {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.el = $("tooltip");
    this.timer = 0;
    this.muted = false;
    /** @type {string|null} */
    this.key = null;
    const world = $("world");
    // After a press things slide under a resting pointer: no wish for a tooltip.
    let [px, py] = [-99, -99];
    world.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => {
      if (Math.hypot(e.clientX - px, e.clientY - py) < 6) return;
      if (this.muted) this.want(keyOf(e), REST_MS);
      this.muted = false;
    });
    world.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
      [px, py, this.muted] = [e.clientX, e.clientY, true];
      this.want(null, 0);
    });
    world.addEventListener(
      "pointerover",
      (/** @type {PointerEvent} */ e) =>
        !this.muted && e.pointerType !== "touch" && this.want(keyOf(e), REST_MS),
    );
    world.addEventListener("pointerout", () => this.want(null, 60));
    world.addEventListener(
      "focusin",
      (/** @type {FocusEvent} */ e) =>
        e.target instanceof Element && e.target.matches(":focus-visible") && this.want(keyOf(e), 0),
    );
    world.addEventListener("focusout", () => this.want(null, 0));
  }

  /** @param {string|null} key @param {number} after */
  want(key, after) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.show(key), after);
  }

  /** @param {string|null} key */
  show(key) {
    clearTimeout(this.timer);
    this.key = key;
    const content = key ? this.content(key) : null;
    this.el.hidden = !content;
    if (!content || !key) return;
    this.el.replaceChildren(...content);
    const { x, y } = this.app.stage.freeSpot(key, this.el.offsetWidth, this.el.offsetHeight);
    this.el.style.transform = `translate(${x}px,${y}px)`;
  }

  /** @param {string} key @returns {Node[]|null} */
  content(key) {
    const { mesh, shown } = this.app;
    if (!mesh) return null;
    const line = (/** @type {string} */ text, c = "") => h("p", { class: c, text });
    if (key === "u")
      return [
        h("b", { text: "You and your apps" }),
        line(`${many(mesh.router.requests.in_flight, "request")} in flight`),
        line(`${location.origin}/v1`, "quiet"),
      ];
    if (key === "r") {
      const r = mesh.router.requests;
      return [
        h("b", { text: `Router ${clean(mesh.router.name)}` }),
        line(`${mesh.router.status} · up ${ago(this.app.uptime())} · version ${mesh.router.version}`),
        line(`requests: ${tally(r)} · ${r.in_flight} in flight`),
      ];
    }
    const now = shown.get(backendOf(key));
    if (!now) return null;
    const backend = mesh.backends.get(now.id);
    if (key.startsWith("b:")) {
      return [
        h("b", { text: now.name }),
        badge(now.look),
        line(`${kindLabel(now.kind)} · ${RINGS[now.ring]} · ${host(backend?.url ?? "")}`, "quiet"),
        line(
          `${ms(now.latency)} · ${many(now.models.length, "model")} · ${backend?.in_flight ?? 0} in flight`,
        ),
        ...(now.look === "healthy" || now.look === "disabled"
          ? []
          : [line(now.text), line(backend?.health.fix ?? "", "fix")]),
        ...(now.gone ? [line("It is gone; its place is kept for a minute.", "quiet")] : []),
      ];
    }
    const model = modelOf(key);
    const others = (this.app.servers.get(model)?.length ?? 1) - 1;
    const rate = this.app.rates.rate(key, performance.now());
    return [
      h("b", { text: clean(model) }),
      badge(now.look),
      line(`on ${now.name}`, "quiet"),
      line(others > 0 ? `and on ${many(others, "other backend")}` : "on no other backend"),
      ...(rate > 0 ? [line(`${rate.toFixed(1)} requests a second`)] : []),
    ];
  }
}
