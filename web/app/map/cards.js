/** Real buttons for what is in view and can be read. */
import { h, icon } from "../chrome/dom.js";
import { inView, strength } from "./edges.js";
import { kindLabel } from "../core/kinds.js";
import { CARD_PAD_EMS, namePx } from "./sizes.js";
import { brief, clean, fitted, many, ms } from "../core/format.js";

export const BUDGET = 590;
const CHIPS_MOST = 400;

/** `near` names everything, `mid` the backends, `far` shows colours only. @param {Layout} layout @param {number} k @returns {"near"|"mid"|"far"} */
export function levelOf(layout, k) {
  const [box] = layout.boxes;
  if (!box || k * 11.5 >= (layout.style === "wide" ? 7.5 : 8.4)) return "near";
  return box.h * k >= 10.5 && box.w * k >= 64 ? "mid" : "far";
}

export class Cards {
  /** @param {HTMLElement} world */
  constructor(world) {
    this.world = world;
    this.scene = /** @type {Scene} */ (/** @type {unknown} */ (null));
    this.selected = /** @type {string|null} */ (null);
    this.last = /** @type {Element|null} */ (null);
    /** @type {Map<string, Card>} */
    this.made = new Map();
    /** The card in the tab order. */
    this.stop = "r";
  }

  /** @param {Scene} scene @returns {Set<string>} */
  choose(scene) {
    const keys = new Set(["u", "r"]);
    const { layout, level } = scene;
    const visible = layout.boxes.filter((box) => inView(scene, box.cell));
    let cost = 12;
    const rich = level === "near" ? 4 : 1;
    for (const box of visible) {
      if (cost + rich > BUDGET) break;
      keys.add(box.key);
      cost += rich;
    }
    if (level === "near") {
      const chips = visible.flatMap((box) => box.chips.filter((chip) => inView(scene, chip)));
      if (chips.length <= CHIPS_MOST) {
        for (const chip of chips) {
          if (cost >= BUDGET) break;
          keys.add(chip.key);
          cost += 1;
        }
      }
    }
    for (const key of [
      this.stop,
      ...(document.activeElement instanceof HTMLElement ? [document.activeElement.dataset.key ?? ""] : []),
    ]) {
      if (layout.byKey.has(key)) keys.add(key);
    }
    // Those out of view stay in the accessibility tree, as one bare element each.
    for (const box of layout.boxes) {
      if (cost >= BUDGET) break;
      if (!keys.has(box.key)) cost += 1;
      keys.add(box.key);
    }
    return keys;
  }

  /** @param {Scene} scene @param {Hub} hub @param {string|null} selected */
  sync(scene, hub, selected) {
    const {
      cards: keys,
      layout,
      camera: { k },
    } = scene;
    this.scene = scene;
    this.selected = selected;
    for (const [key, card] of this.made) {
      if (keys.has(key)) continue;
      card.el.remove();
      this.made.delete(key);
    }
    if (!keys.has(this.stop)) this.stop = "r";
    this.last = null;
    const size = 1 / Math.max(k, 0.01);
    const r = hub.requests;
    // Accessible names begin with the visible text, for control by voice.
    const user = many([...scene.shown.values()].filter((s) => s.look !== "disabled").length, "connection");
    this.put("u", k.toFixed(3), `You ${user}, user, entry point`, (el) =>
      setCard(el, "card hub user", icon("user"), b("You"), small(user)),
    );
    const says = [
      hub.status,
      hub.uptime,
      `${brief(r.total)} requests`,
      `${brief(r.in_flight)} in flight`,
      `${brief(r.successful)} ok`,
      `${brief(r.failed)} failed`,
    ];
    this.put("r", k.toFixed(3), `Router ${says.join(" ")}, ${hub.name}`, (el) => {
      const lines = says.map(small);
      lines[5].classList.toggle("fail", r.failed > 0);
      setCard(el, "card hub router", icon("router"), b("Router"), ...lines);
    });
    for (const box of layout.boxes) {
      const shown = scene.shown.get(box.id);
      if (!shown) continue;
      if (keys.has(box.key)) this.putBackend(box, shown, size);
      for (const chip of box.chips) if (keys.has(chip.key)) this.putModel(chip, shown);
    }
  }

  /** @param {Box} box @param {Shown} shown @param {number} size */
  putBackend(box, shown, size) {
    const { level, layout } = this.scene;
    const bare = level === "far" || !inView(this.scene, box);
    const word = shown.gone ? "gone" : shown.look;
    const sub =
      layout.style === "wide"
        ? `${word} · ${many(shown.models.length, "model")}`
        : `${word}${shown.look === "healthy" ? ` · ${ms(shown.latency)}` : ""} · ${many(shown.models.length, "model")}`;
    const mid = level === "mid";
    const px = mid ? Math.max(10.5, Math.min(15, (box.h / size) * 0.42)) : namePx(box.h);
    const room = mid ? box.w / size - 16 : box.w - CARD_PAD_EMS * px;
    const name = bare || room <= 34 ? "" : fitted(shown.name, room, `600 ${px.toFixed(1)}px`);
    const label = `Backend ${name || shown.name} ${sub}${inFull(name, shown.name)}, ${kindLabel(shown.kind)}, ${shown.latency === null ? "no latency" : ms(shown.latency)}`;
    const zoomed = mid ? size.toFixed(2) : "";
    this.put(box.key, `${bare}${level}${zoomed}${label}`, label, (el) => {
      el.dataset.look = shown.look;
      const gone = shown.gone ? " gone" : "";
      if (bare) return setCard(el, `card backend bare${gone}`);
      el.style.fontSize = `${mid ? px * size : px}px`;
      if (mid) return setCard(el, `card backend mid${gone}`, name);
      setCard(el, `card backend${gone}`, icon(shown.kind), b(name), small(sub));
    });
  }

  /** @param {Chip} chip @param {Shown} shown */
  putModel(chip, shown) {
    const name = clean(chip.model);
    const word = shown.gone ? "gone" : shown.look;
    const px = chip.h < 17 ? 10.5 : chip.h < 20 ? 11.5 : chip.h < 23 ? 12 : 12.5;
    const text = fitted(name, chip.w - 23, `500 ${px}px`);
    this.put(
      chip.key,
      `${shown.look}${shown.gone}${chip.h}`,
      `Model ${text} on ${shown.name}, ${word}${inFull(text, name)}`,
      (el) => {
        el.dataset.look = shown.look;
        setCard(el, `card chip${shown.gone ? " gone" : ""}`, text);
        el.style.fontSize = `${px}px`;
      },
    );
  }

  /** @param {string} key @param {string} sig @param {string} label @param {(el:HTMLButtonElement)=>void} fill */
  put(key, sig, label, fill) {
    const { scene, selected } = this;
    const rect =
      key === "u"
        ? scene.hubs.user
        : key === "r"
          ? scene.hubs.router
          : /** @type {Rect} */ (scene.layout.byKey.get(key));
    let card = this.made.get(key);
    if (!card) {
      card = { el: h("button", { "data-key": key }), sig: "" };
      this.made.set(key, card);
    }
    const { el } = card;
    const dim = strength(scene, key) < 1;
    const all = `${sig}|${rect.x},${rect.y},${rect.w},${rect.h}|${dim}|${key === selected}|${key === this.stop}|${label}`;
    if (card.sig !== all) {
      card.sig = all;
      fill(el);
      const hub = key === "u" || key === "r";
      const scale = hub ? scene.hubs.scale : 1;
      el.style.transform = `translate(${rect.x}px,${rect.y}px)${hub ? ` scale(${scale})` : ""}`;
      el.style.width = `${rect.w / scale}px`;
      el.style.height = `${rect.h / scale}px`;
      el.setAttribute("aria-label", label);
      el.tabIndex = key === this.stop ? 0 : -1;
      el.classList.toggle("dim", dim);
      el.classList.toggle("chosen", key === selected);
      if (key === selected) el.setAttribute("aria-current", "true");
      else el.removeAttribute("aria-current");
    }
    const next = this.last ? this.last.nextElementSibling : this.world.firstElementChild;
    if (next !== el) this.world.insertBefore(el, next);
    this.last = el;
  }

  /** @param {string} key @param {boolean} focus */
  goTo(key, focus) {
    this.stop = key;
    const card = this.made.get(key);
    if (focus) card?.el.focus({ preventScroll: true });
    return card !== undefined;
  }
}

/** @param {string} short @param {string} name */
const inFull = (short, name) => (!short || short === name ? "" : `, in full ${name}`);
const b = (/** @type {string} */ text) => h("b", { text });
const small = (/** @type {string} */ text) => h("small", { text });

/** @param {HTMLElement} el @param {string} classes @param {...(Node|string)} children */
function setCard(el, classes, ...children) {
  el.className = classes;
  // Without spaces the words run together for those who hear them.
  el.replaceChildren(...children.flatMap((child, i) => (i ? [" ", child] : [child])));
}
