/** The pairing under way. What others begin opens it by itself, but where somebody types. */
import { call, said } from "../core/api.js";
import { $, fill } from "../chrome/dom.js";
import { clean } from "../core/format.js";

/** @type {PairingView|null} */
let now = null;
let until = 0;
let timer = 0;
/** The digits that were shown. */
let shown = "";
/** Whether this page waits for an answer. */
let asking = false;
/** A dialog with new content drops it. @type {any} */
let bar;

const goesOn = () => now?.state === "comparing" || now?.state === "confirmed";
const types = () =>
  $("dialog").querySelector(":scope > form")?.checkVisibility() ||
  document.activeElement?.matches("input:not([type=checkbox], [type=range]), select");

/** @param {PairingView|null} pairing */
export function pairingIs(pairing) {
  // Without digits the page knows more, and how its own try failed.
  if (pairing ? asking && !pairing.digits : asking || now?.state === "over") return;
  now = pairing;
  until = performance.now() + (pairing?.left_s ?? 0) * 1000;
  draw();
}

/** @param {Record<string, unknown>} whom @param {string} name */
export async function pair(whom, name) {
  const mine = { role: "asking", name, id: "", digits: "", why: "", left_s: 0 };
  if (goesOn()) return show();
  asking = true;
  now = /** @type {PairingView} */ ({ ...mine, state: "waiting" });
  show();
  try {
    await call("POST", "/mesh/peers/pairing", whom);
  } catch (error) {
    now = /** @type {PairingView} */ ({ ...mine, state: "over", why: said(error) });
    draw();
  }
  asking = false;
}

function show() {
  if (!$("pairing").open) $("pairing").showModal();
  draw();
}

function draw() {
  clearTimeout(timer);
  const dialog = $("pairing");
  if (!now) dialog.close();
  else if (goesOn() && !dialog.open && now.digits !== shown && (asking || now.role === "asked") && !types())
    return show();
  bar.hidden = dialog.open || !goesOn();
  if (!now) return;
  const { state, digits, why } = now;
  if (dialog.open) shown = digits;
  const place = document.querySelector("dialog[open]") ?? document.body;
  if (!bar.hidden && bar.parentNode !== place) place.append(bar);
  for (const [root, word] of [
    [bar, now.role],
    [dialog, state],
  ]) {
    for (const part of root.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.includes(word);
    fill(root, { ".who": clean(now.name) });
  }
  fill(dialog, {
    ".digits :first-child": digits.slice(0, 3),
    ".digits :last-child": digits.slice(3),
    "[role] :last-child": why,
    output: String(Math.max(0, Math.ceil((until - performance.now()) / 1000))),
  });
  if (goesOn()) timer = window.setTimeout(draw, 1000);
}

/** @param {(id?:string)=>void} terms shows what a peer may use */
export function joinPairing(terms) {
  const dialog = $("pairing");
  dialog.addEventListener(
    "click",
    async (
      /** @type {any} */ {
        target: {
          dataset: { act },
        },
      },
    ) => {
      if (!act) return;
      if (act !== "confirm") dialog.close();
      if (act === "terms") return terms(now?.id);
      if (act === "close") return;
      if (act === "refuse" && now) now = { ...now, state: "over" };
      try {
        await call("POST", `/mesh/peers/pairing/${act}`);
      } catch (error) {
        if (now) pairingIs({ ...now, state: "over", why: said(error) });
      }
    },
  );
  bar = $("asked");
  bar.querySelector("button").onclick = show;
  for (const closing of [dialog, $("dialog")]) closing.addEventListener("close", draw);
}
