/** The filter menu. */
import { $, h } from "./dom.js";
import { kindLabel } from "../core/kinds.js";
import { noFilters } from "../map/selection.js";
import { LOOKS, LOOK_ORDER, RINGS, RING_ORDER, lookOf } from "../map/status_styles.js";

/** @returns {Filters} */
export const onlyUnhealthy = () => ({
  rings: [],
  kinds: [],
  looks: LOOK_ORDER.filter((look) => look !== "unhealthy"),
});

/** @param {Filters} filters */
export const pack = ({ rings, kinds, looks }) =>
  filtering({ rings, kinds, looks }) ? [rings, kinds, looks].map((l) => l.join(".")).join("~") : null;

/** @param {string} [text] @returns {Filters} */
export function unpack(text = "") {
  const [rings, kinds = [], looks = []] = text.split("~").map((l) => l.split(".").filter(Boolean));
  return { rings, kinds, looks };
}

/** @param {Filters} filters */
export const filtering = ({ rings, kinds, looks }) => rings.length + kinds.length + looks.length > 0;

/** @param {App} app */
export function drawFilters(app) {
  const { filters, mesh } = app;
  const all = [...(mesh?.backends.values() ?? [])];
  const kinds = [...new Set(all.map((b) => b.kind))];
  /** @param {"rings"|"kinds"|"looks"} group @param {string} value @param {string} text @param {number} n */
  const tick = (group, value, text, n) =>
    h(
      "label",
      { class: "tick" },
      h("input", {
        type: "checkbox",
        checked: !filters[group].includes(value),
        onchange: (/** @type {Event} */ e) => {
          const on = /** @type {HTMLInputElement} */ (e.target).checked;
          app.filter({
            ...filters,
            [group]: on ? filters[group].filter((v) => v !== value) : [...filters[group], value],
          });
        },
      }),
      text,
      h("span", { class: "quiet", text: String(n) }),
    );
  const focused =
    document.activeElement instanceof HTMLInputElement
      ? [...$("filters").querySelectorAll("input")].indexOf(document.activeElement)
      : -1;
  $("filters").replaceChildren(
    h(
      "fieldset",
      {},
      h("legend", { text: "Ring" }),
      ...RING_ORDER.map((r) => tick("rings", r, RINGS[r], all.filter((b) => b.ring === r).length)),
    ),
    h(
      "fieldset",
      {},
      h("legend", { text: "State" }),
      ...LOOK_ORDER.map((l) =>
        tick("looks", l, `${LOOKS[l].glyph} ${l}`, all.filter((b) => lookOf(b) === l).length),
      ),
    ),
    h(
      "fieldset",
      {},
      h("legend", { text: "Kind" }),
      ...kinds.map((k) => tick("kinds", k, kindLabel(k), all.filter((b) => b.kind === k).length)),
    ),
    h("button", { disabled: !filtering(filters), onclick: () => app.filter(noFilters()) }, "Show everything"),
  );
  if (focused >= 0)
    /** @type {HTMLElement|undefined} */ ($("filters").querySelectorAll("input")[focused])?.focus();
}
