/** Real buttons for what is in view and can be read. */
import { h, icon, markEngine } from "../chrome/dom.js";
import { inView, strength } from "./paths.js";
import { kindLabel } from "../core/kinds.js";
import { FOLD, LOCAL_ID, memoryPart, percentOf, stateText, summaryText } from "../core/local_models.js";
import { queueText, slotsOf } from "../core/slots.js";
import { statusLabel } from "./status_styles.js";
import { NARROW } from "./dense_layout.js";
import { CARD_PAD_EMS, nameFontPx } from "./sizes.js";
import {
  formatCompact,
  joined,
  displayName,
  fitText,
  loadedWords,
  textWidth,
  plural,
  formatMs,
} from "../core/format.js";

export const ELEMENT_BUDGET = 580;
const MAX_CHIPS = 400;

/** `near` names everything, `mid` the backends, `far` shows colours only. @param {Layout} layout @param {number} k @returns {"near"|"mid"|"far"} */
export function detailLevel(layout, k) {
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
    this.lastElement = /** @type {Element|null} */ (null);
    /** @type {Map<string, Card>} */
    this.cards = new Map();
    /** The card in the tab order. */
    this.tabStop = "r";
  }

  /** @param {Scene} scene @returns {Set<string>} */
  chooseKeys(scene) {
    const keys = new Set(["u", "r"]);
    const { layout, level } = scene;
    const visible = layout.boxes.filter((box) => inView(scene, box.cell));
    let cost = 12;
    const cardCost = level === "near" ? 4 : 1;
    for (const box of visible) {
      if (cost + cardCost > ELEMENT_BUDGET) break;
      keys.add(box.key);
      cost += cardCost;
    }
    if (level === "near") {
      const chips = visible.flatMap((box) => box.chips.filter((chip) => inView(scene, chip)));
      if (chips.length <= MAX_CHIPS) {
        for (const chip of chips) {
          if (cost >= ELEMENT_BUDGET) break;
          keys.add(chip.key);
          cost += 1;
        }
      }
    }
    const focused = /** @type {HTMLElement|null} */ (document.activeElement)?.dataset.key ?? "";
    for (const key of [this.tabStop, focused]) if (layout.byKey.has(key)) keys.add(key);
    // Those out of view stay in the accessibility tree, as one bare element each.
    for (const box of layout.boxes) {
      if (cost >= ELEMENT_BUDGET) break;
      if (!keys.has(box.key)) cost += 1;
      keys.add(box.key);
    }
    return keys;
  }

  /** @param {Scene} scene @param {RouterSummary} hub @param {string|null} selected */
  update(scene, hub, selected) {
    const {
      cards: keys,
      layout,
      camera: { k },
    } = scene;
    this.scene = scene;
    this.selected = selected;
    for (const [key, card] of this.cards) {
      if (keys.has(key)) continue;
      card.el.remove();
      this.cards.delete(key);
    }
    if (!keys.has(this.tabStop)) this.tabStop = "r";
    this.lastElement = null;
    const size = 1 / Math.max(k, 0.01);
    const r = hub.requests;
    // Accessible names begin with the visible text, for control by voice.
    this.render("u", k.toFixed(3), "You and your apps, entry point", (el) =>
      setCard(el, "card hub user", icon("user"), b("You"), small("and your apps")),
    );
    const routerLines = [
      hub.status,
      hub.uptime,
      `${formatCompact(r.total)} request${r.total === 1 ? "" : "s"}`,
      `${formatCompact(r.in_flight)} in flight`,
      `${formatCompact(r.successful)} ok`,
      `${formatCompact(r.failed)} failed`,
    ];
    this.render("r", k.toFixed(3), `Router ${routerLines.join(" ")}, ${hub.name}`, (el) => {
      const lines = routerLines.map(small);
      lines[5].classList.toggle("fail", r.failed > 0);
      setCard(el, "card hub router", icon("router"), b("Router"), ...lines);
    });
    for (const box of layout.boxes) {
      const backend = scene.shown.get(box.id);
      if (!backend) continue;
      if (keys.has(box.key)) this.renderBackend(box, backend, size);
      for (const chip of box.chips) if (keys.has(chip.key)) this.renderModel(chip, backend);
    }
  }

  /** @param {Box} box @param {ShownBackend} backend @param {number} size */
  renderBackend(box, backend, size) {
    const { scene } = this;
    const { level, layout } = scene;
    const isBare = level === "far" || !inView(scene, box);
    const statusText = backend.removed ? "removed" : statusLabel(backend);
    const isDegraded = statusText === "degraded";
    const local = box.id === LOCAL_ID ? scene.local : null;
    const latency = layout.style !== "wide" && backend.status === "healthy" && formatMs(backend.latency);
    const subtitle = isDegraded
      ? `degraded: ${backend.degraded}`
      : local
        ? joined(statusText !== "healthy" && statusText, summaryText(local))
        : joined(statusText, latency, plural(backend.models.length, "model"));
    const mid = level === "mid";
    const fontPx = mid ? Math.max(10.5, Math.min(15, (box.h / size) * 0.42)) : nameFontPx(box.h);
    // On a phone the name takes its room.
    const iconEms = scene.view.w < NARROW ? 0 : 2.6;
    const available = mid ? box.w / size - 16 : box.w - (CARD_PAD_EMS - 2.6 + iconEms) * fontPx;
    const name =
      isBare || available <= 34 ? "" : fitText(backend.name, available, `600 ${fontPx.toFixed(1)}px`);
    const slots = slotsOf(scene.mesh?.backends.get(box.id));
    const pips = isBare || mid ? "" : slots.pips;
    const label = `Backend ${name || backend.name} ${subtitle}${fullNameSuffix(name, backend.name)}, ${kindLabel(backend.kind)}${subtitle.includes("↓") ? ", downloading" : ""}, ${backend.latency === null ? "no latency" : formatMs(backend.latency)}${slots.text && `, ${slots.text}`}`;
    const part = local ? memoryPart(local.memory).toFixed(2) : "";
    const zoomed = mid ? size.toFixed(2) : "";
    this.render(box.key, `${isBare}${level}${zoomed}${part}${iconEms}${label}`, label, (el) => {
      el.dataset.status = statusLabel(backend);
      el.dataset.pips = pips;
      const removed = backend.removed ? " removed" : "";
      if (isBare) return setCard(el, `card backend bare${removed}`);
      el.style.fontSize = `${mid ? fontPx * size : fontPx}px`;
      if (mid) return setCard(el, `card backend mid${removed}`, name);
      // As many of its parts as fit: the label has them all.
      const parts = isDegraded ? [subtitle] : subtitle.split(" · ");
      const font = `600 ${Math.max(10, fontPx * 0.84)}px`;
      const partsWidth = box.w - (1 + iconEms) * fontPx - (pips ? textWidth(pips, font) + 6 : 0);
      while (parts.length > 1 && textWidth(parts.join(" · "), font) > partsWidth) parts.pop();
      if (isDegraded) parts[0] = fitText(subtitle, partsWidth, font);
      const texts = [b(name), small(parts.join(" · "))];
      if (iconEms) setCard(el, `card backend${removed}`, icon(backend.kind), ...texts);
      else setCard(el, `card backend plain${removed}`, ...texts);
      if (!local) return;
      const bar = h("i", { class: "memory" });
      bar.style.setProperty("--part", part);
      el.append(bar);
    });
  }

  /** @param {Chip} chip @param {ShownBackend} backend */
  renderModel(chip, backend) {
    if (chip.model.startsWith(FOLD)) return this.renderFold(chip);
    const name = displayName(chip.model);
    const own = chip.backend === LOCAL_ID ? this.scene.local?.models.get(chip.model) : undefined;
    const loaded =
      backend.status === "healthy"
        ? this.scene.mesh?.backends.get(chip.backend)?.details[chip.model]?.loaded
        : undefined;
    const isUnused = this.scene.unused.has(chip.key);
    const statusText = backend.removed ? "removed" : isUnused ? "offered, not used" : backend.status;
    const fontPx = chipFontPx(chip);
    const font = `500 ${fontPx}px`;
    const percent = own && percentOf(own);
    const queue = queueText(this.scene.queues.get(chip.key));
    const word = queue || (own && !["ready", "on-disk"].includes(own.state) ? stateText(own) : "");
    // The word steps back for the name, but for the percent.
    const short = queue ? queue.split(",")[0] : percent === null ? word.split(" ")[0] : `${percent} %`;
    const room = chip.w - 23;
    const note = word && textWidth(`${name} ${word}`, font) + 14 > room ? short : word;
    const text = fitText(name, note ? room - textWidth(note, font) - 10 : room, font);
    this.render(
      chip.key,
      `${backend.status}${backend.removed}${isUnused}${chip.h}${own?.state}${loaded}`,
      `Model ${text}${note && ` ${note}`} on ${backend.name}, ${own ? `${stateText(own)}, ` : ""}${joined(statusText, !own && loadedWords(loaded))}${own?.state === "failed" ? `, ${own.reason?.text ?? ""}` : ""}${fullNameSuffix(text, name)}`,
      (el) => {
        el.dataset.status = backend.status;
        setCard(
          el,
          `card chip${backend.removed ? " removed" : ""}${isUnused ? " offered" : ""}`,
          text,
          ...(note ? [small(note)] : []),
        );
        el.style.fontSize = `${fontPx}px`;
        markEngine(el, own);
        if (!own && loaded !== undefined) el.dataset.engine = loaded ? "ready" : "on-disk";
      },
    );
  }

  /** The entry for all that are on disk. @param {Chip} chip */
  renderFold(chip) {
    const rest = chip.model.slice(1);
    const isFolded = rest !== "fold";
    const text = isFolded ? rest : "Show fewer";
    this.render(chip.key, `${chip.h}`, `${text}, models of this machine`, (el) => {
      setCard(el, "card chip fold", text);
      el.style.fontSize = `${chipFontPx(chip)}px`;
      el.ariaExpanded = String(!isFolded);
    });
  }

  /** @param {string} key @param {string} signature @param {string} label @param {(el:HTMLButtonElement)=>void} fill */
  render(key, signature, label, fill) {
    const { scene, selected } = this;
    const rect =
      key === "u"
        ? scene.hubs.user
        : key === "r"
          ? scene.hubs.router
          : /** @type {Rect} */ (scene.layout.byKey.get(key));
    let card = this.cards.get(key);
    if (!card) {
      card = { el: h("button", { "data-key": key }), signature: "" };
      this.cards.set(key, card);
    }
    const { el } = card;
    const isDimmed = strength(scene, key) < 1;
    const all = `${signature}|${rect.x},${rect.y},${rect.w},${rect.h}|${isDimmed}|${key === selected}|${key === this.tabStop}|${label}`;
    if (card.signature !== all) {
      card.signature = all;
      fill(el);
      const hub = key === "u" || key === "r";
      const scale = hub ? scene.hubs.scale : 1;
      el.style.transform = `translate(${rect.x}px,${rect.y}px)${hub ? ` scale(${scale})` : ""}`;
      el.style.width = `${rect.w / scale}px`;
      el.style.height = `${rect.h / scale}px`;
      el.ariaLabel = label;
      el.tabIndex = key === this.tabStop ? 0 : -1;
      el.classList.toggle("dim", isDimmed);
      el.classList.toggle("selected", key === selected);
      el.ariaCurrent = key === selected ? "true" : null;
    }
    const next = this.lastElement ? this.lastElement.nextElementSibling : this.world.firstElementChild;
    if (next !== el) this.world.insertBefore(el, next);
    this.lastElement = el;
  }

  /** @param {string} key @param {boolean} focus */
  makeTabStop(key, focus) {
    this.tabStop = key;
    const card = this.cards.get(key);
    if (focus) card?.el.focus({ preventScroll: true });
    return card !== undefined;
  }
}

const chipFontPx = (/** @type {Rect} */ { h: height }) =>
  height < 17 ? 10.5 : height < 20 ? 11.5 : height < 23 ? 12 : 12.5;
/** @param {string} short @param {string} name */
const fullNameSuffix = (short, name) => (!short || short === name ? "" : `, in full ${name}`);
const b = (/** @type {string} */ text) => h("b", { text });
const small = (/** @type {string} */ text) => h("small", { text });

/** @param {HTMLElement} el @param {string} classes @param {...(Node|string)} children */
function setCard(el, classes, ...children) {
  el.className = classes;
  // Without spaces the words run together for those who hear them.
  el.replaceChildren(...children.flatMap((child, i) => (i ? [" ", child] : [child])));
}
