/** What a card has no room for, after 300 ms of rest. */
import { $, statusBadge, h, keyOfEvent, withCode } from "../chrome/dom.js";
import { kindLabel } from "../core/kinds.js";
import { FOLD, LOCAL_ID, activityText, freeText, memoryText, stateText } from "../core/local_models.js";
import { queueText, slotsOf } from "../core/slots.js";
import { OTHER_USER, RING_LABELS, statusLabel } from "../map/status_styles.js";
import { backendOf, modelOf } from "../map/selection.js";
import {
  formatBytes,
  formatDuration,
  displayName,
  joined,
  hostOf,
  loadedWords,
  plural,
  formatMs,
  formatRequests,
} from "../core/format.js";

const HOVER_MS = 300;

export class Tooltip {
  /**
   * @param {PanelContext} context
   * @param {(key:string, w:number, h:number)=>{x:number, y:number}} findSpot
   * @param {(key:string)=>number} rateOf requests a second
   */
  constructor(context, findSpot, rateOf) {
    this.context = context;
    this.findSpot = findSpot;
    this.rateOf = rateOf;
    this.el = $("tooltip");
    this.timer = 0;
    this.muted = false;
    /** @type {string|null} */
    this.key = null;
    const world = $("world");
    // After a press things slide under a resting pointer: that shows no tooltip.
    let [px, py] = [-99, -99];
    world.onpointermove = (/** @type {PointerEvent} */ e) => {
      if (Math.hypot(e.clientX - px, e.clientY - py) < 6) return;
      if (this.muted) this.schedule(keyOfEvent(e), HOVER_MS);
      this.muted = false;
    };
    world.onpointerdown = (/** @type {PointerEvent} */ e) => {
      [px, py, this.muted] = [e.clientX, e.clientY, true];
      this.schedule(null, 0);
    };
    world.onpointerover = (/** @type {PointerEvent} */ e) =>
      !this.muted && e.pointerType !== "touch" && this.schedule(keyOfEvent(e), HOVER_MS);
    world.onpointerout = () => this.schedule(null, 60);
    world.addEventListener(
      "focusin",
      (/** @type {FocusEvent} */ e) =>
        e.target instanceof Element && e.target.matches(":focus-visible") && this.schedule(keyOfEvent(e), 0),
    );
    world.addEventListener("focusout", () => this.schedule(null, 0));
  }

  /** @param {string|null} key @param {number} after */
  schedule(key, after) {
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
    this.el.replaceChildren(...content.filter((part) => part instanceof Node));
    const { x, y } = this.findSpot(key, this.el.offsetWidth, this.el.offsetHeight);
    this.el.style.transform = `translate(${x}px,${y}px)`;
  }

  /** Show it again, where its card is now. */
  follow() {
    if (this.key) this.show(this.key);
  }

  /** @param {string} key @returns {(Node|Missing)[]|null} what is missing has no line */
  content(key) {
    const { mesh, shown, servers, unused, local } = this.context.store.state;
    if (!mesh) return null;
    const line = (/** @type {string|Missing} */ text, c = "") =>
      text && h("p", { class: c }, ...withCode(text));
    if (key === "u")
      return [
        h("b", { text: "You and your apps" }),
        line(`${plural(mesh.router.requests.in_flight, "request")} in flight`),
        line(`${location.origin}/v1`, "quiet"),
      ];
    if (key === "r") {
      const r = mesh.router.requests;
      return [
        h("b", { text: `Router ${displayName(mesh.router.name)}` }),
        line(
          `${mesh.router.status} · up ${formatDuration(this.context.uptime())} · version ${mesh.router.version}`,
        ),
        line(`requests: ${formatRequests(r)} · ${r.in_flight} in flight`),
      ];
    }
    const view = shown.get(backendOf(key));
    if (!view) return null;
    const backend = mesh.backends.get(view.id);
    const own = view.id === LOCAL_ID ? local : null;
    if (key.startsWith("b:")) {
      const isBad = view.status !== "healthy" && (view.status !== "disabled" || view.reason === OTHER_USER);
      return [
        h("b", { text: view.name }),
        statusBadge(statusLabel(view)),
        line(
          own
            ? "runs its own models"
            : `${kindLabel(view.kind)} · ${RING_LABELS[view.ring]} · ${hostOf(backend?.url ?? "")}`,
          "quiet",
        ),
        line(
          joined(
            view.latency !== null && formatMs(view.latency),
            plural(view.models.length, "model"),
            `${backend?.in_flight ?? 0} in flight`,
            slotsOf(backend).text,
          ),
        ),
        isBad && line(view.text),
        isBad && line(backend?.health.fix, "fix"),
        line(view.degraded),
        own && line(`models take ${memoryText(own.memory)}; ${freeText(own.memory)} free`),
        line(view.removed && "Removed; its place is kept for a minute.", "quiet"),
      ];
    }
    const model = modelOf(key);
    if (model === FOLD)
      return [
        h("b", { text: "On this machine’s disk" }),
        line("Each is loaded when it is asked for.", "quiet"),
      ];
    const engine = own?.models.get(model);
    const others = servers.get(model)?.filter((one) => one !== view.id).length ?? 0;
    const rate = this.rateOf(key);
    return [
      h("b", { text: displayName(model) }),
      statusBadge(statusLabel(view)),
      line(`on ${view.name}`, "quiet"),
      line(
        engine && own
          ? joined(stateText(engine), formatBytes(engine.need_bytes), activityText(engine, own.at))
          : loadedWords(backend?.details[model]?.loaded),
      ),
      line(engine?.reason?.text),
      line(engine?.reason?.fix, "fix"),
      line(queueText(mesh.models.get(model))),
      line(unused.has(key) && "offered here, not used: its details say why"),
      line(
        others > 0
          ? `${unused.has(key) ? "served by" : "and on"} ${plural(others, "other backend")}`
          : "on no other backend",
      ),
      line(rate > 0 && `${rate.toFixed(1)} requests a second`),
    ];
  }
}
