/** The pairing under way. What others begin opens it by itself, but where somebody types. */
import { callApi, errorText } from "../core/api.js";
import { $, setTexts } from "../chrome/dom.js";
import { displayName } from "../core/format.js";

/** @type {PairingView|null} */
let pairing = null;
let expiresAt = 0;
let timer = 0;
/** The digits that were shown. */
let shownDigits = "";
/** Whether this page waits for an answer. */
let isRequesting = false;
/** Digits are confirmed after a look at them, not by the second half of a double click that opened the dialog. */
const LOOK_MS = 800;
let lookTimer = 0;
/** A dialog with new content drops it. @type {any} */
let notice;

const isInProgress = () => pairing?.state === "comparing" || pairing?.state === "confirmed";
const isTyping = () =>
  $("dialog").querySelector(":scope > form")?.checkVisibility() ||
  document.activeElement?.matches("input:not([type=checkbox], [type=range]), select");

/** @param {PairingView|null} update */
export function setPairing(update) {
  // Without digits the page knows more, and how its own try failed.
  if (update ? isRequesting && !update.digits : isRequesting || pairing?.state === "over") return;
  pairing = update;
  expiresAt = performance.now() + (pairing?.left_s ?? 0) * 1000;
  render();
}

/** @param {Record<string, unknown>} target @param {string} name */
export async function startPairing(target, name) {
  const own = { role: "asking", name, id: "", digits: "", why: "", left_s: 0 };
  if (isInProgress()) return open();
  isRequesting = true;
  pairing = /** @type {PairingView} */ ({ ...own, state: "waiting" });
  open();
  try {
    await callApi("POST", "/mesh/peers/pairing", target);
  } catch (error) {
    pairing = /** @type {PairingView} */ ({ ...own, state: "over", why: errorText(error) });
    render();
  }
  isRequesting = false;
}

function open() {
  if (!$("pairing").open) $("pairing").showModal();
  holdConfirm();
  render();
}

function holdConfirm() {
  const confirm = $("pairing").querySelector("[data-act=confirm]");
  confirm.disabled = true;
  clearTimeout(lookTimer);
  lookTimer = window.setTimeout(() => (confirm.disabled = false), LOOK_MS);
}

function render() {
  clearTimeout(timer);
  const dialog = $("pairing");
  if (!pairing) dialog.close();
  else if (
    isInProgress() &&
    !dialog.open &&
    pairing.digits !== shownDigits &&
    (isRequesting || pairing.role === "asked") &&
    !isTyping()
  )
    return open();
  notice.hidden = dialog.open || !isInProgress();
  if (!pairing) return;
  const { state, digits, why } = pairing;
  if (dialog.open && digits !== shownDigits) {
    shownDigits = digits;
    holdConfirm();
  }
  const parent = document.querySelector("dialog[open]") ?? document.body;
  if (!notice.hidden && notice.parentNode !== parent) parent.append(notice);
  for (const [root, word] of [
    [notice, pairing.role],
    [dialog, state],
  ]) {
    for (const part of root.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.includes(word);
    setTexts(root, { ".who": displayName(pairing.name) });
  }
  setTexts(dialog, {
    ".digits :first-child": digits.slice(0, 3),
    ".digits :last-child": digits.slice(3),
    "[role] :last-child": why,
    output: String(Math.max(0, Math.ceil((expiresAt - performance.now()) / 1000))),
  });
  if (isInProgress()) timer = window.setTimeout(render, 1000);
}

/** @param {(id?:string)=>void} openSharing shows what a peer may use */
export function initPairing(openSharing) {
  const dialog = $("pairing");
  dialog.onclick = async (
    /** @type {any} */ {
      detail,
      target: {
        dataset: { act },
      },
    },
  ) => {
    if (!act || detail > 1) return;
    if (act !== "confirm") dialog.close();
    if (act === "terms") return openSharing(pairing?.id);
    if (act === "close") return;
    if (act === "refuse" && pairing) pairing = { ...pairing, state: "over" };
    try {
      await callApi("POST", `/mesh/peers/pairing/${act}`);
    } catch (error) {
      if (pairing) setPairing({ ...pairing, state: "over", why: errorText(error) });
    }
  };
  notice = $("pairing-notice");
  notice.querySelector("button").onclick = open;
  for (const closing of [dialog, $("dialog")]) closing.addEventListener("close", render);
}
