/** The pairing under way, in a dialog above any other. What nobody here began opens it only where no form is filled in. */
import { call, said } from "./api.js";
import { $, say } from "./dom.js";
import { clean } from "./text.js";

/** @type {PairingView|null} */
let now = null;
let until = 0;
let timer = 0;
/** The digits that were shown by themselves. */
let shown = "";
/** Whether this page has asked, and still waits for the answer. */
let asking = false;
let isMine = false;
/** @type {(id:string)=>void} */
let onTerms = () => {};

/** Title, sentence, and what the first button says. @type {Record<PairingView["state"], (name:string, why:string)=>string[]>} */
const WORDS = {
  waiting: (name) => [`Asking ${name} …`, "It has a minute to answer.", "Close"],
  comparing: (name) => [`Pair with ${name}?`, "The same digits on both screens?", "No"],
  confirmed: (name) => [`Pair with ${name}?`, `Confirmed here. Waiting until ${name} has confirmed the same digits.`, "Cancel"],
  paired: (name) => [`Paired with ${name}`, "It may use this machine’s engines, and you may use its own.", "What it may use …"],
  over: (name, why) => [`Not paired with ${name}`, why, "Close"],
};

const goesOn = () => now?.state === "comparing" || now?.state === "confirmed";
const fills = () => $("dialog").querySelector(":scope > form")?.checkVisibility() || document.activeElement?.matches("input:not([type=checkbox], [type=range]), select");

/** @param {PairingView|null} pairing */
export function pairingIs(pairing) {
  // What the service says before there are digits is less than this page knows.
  if ((asking && !pairing?.digits) || (!pairing && now?.state === "over")) return;
  now = pairing;
  until = performance.now() + (pairing?.left_s ?? 0) * 1000;
  draw();
}

/** @param {Record<string, unknown>} whom @param {string} name */
export async function pair(whom, name) {
  if (!goesOn()) {
    isMine = asking = true;
    now = { role: "asking", state: "waiting", name, id: "", digits: "", why: "", left_s: 0 };
    void call("POST", "/mesh/peers/pairing", whom).catch((error) => {
      asking = false;
      pairingIs({ role: "asking", state: "over", name, id: "", digits: "", why: said(error), left_s: 0 });
    }).finally(() => (asking = false));
  }
  show();
}

function show() {
  shown = now?.digits ?? "";
  if (!$("pairing").open) $("pairing").showModal();
  draw();
}

function draw() {
  clearTimeout(timer);
  const [dialog, bar] = ["pairing", "asked"].map($);
  if (!now) dialog.close();
  if (goesOn() && now && !dialog.open && now.digits !== shown && (isMine || now.role === "asked") && !fills()) return show();
  bar.hidden = dialog.open || !goesOn();
  if (!now) return;
  const name = clean(now.name);
  if (!bar.hidden) {
    const place = document.querySelector("dialog[open]") ?? document.body;
    if (bar.parentElement !== place) place.append(bar);
    say(bar.firstElementChild, now.role === "asked" ? `${name} asks to be paired` : `Pairing with ${name}`);
  }
  const [title, words, first] = WORDS[now.state](name, now.why);
  const [digits, text, left] = dialog.querySelectorAll("p");
  const [no, yes] = dialog.querySelectorAll("button");
  say($("pairing-title"), title);
  digits.hidden = left.hidden = !goesOn();
  digits.children[0].textContent = now.digits.slice(0, 3);
  digits.children[1].textContent = now.digits.slice(3);
  say(text, words);
  say(no, first);
  say(yes, now.state === "paired" ? "Done" : "Yes, the same");
  yes.hidden = now.state !== "comparing" && now.state !== "paired";
  left.textContent = `${Math.max(0, Math.ceil((until - performance.now()) / 1000))} s left`;
  if (goesOn()) timer = window.setTimeout(draw, 1000);
}

/** @param {"confirm"|"refuse"} word */
async function answer(word) {
  try {
    await call("POST", `/mesh/peers/pairing/${word}`);
  } catch (error) {
    if (now && word === "confirm") pairingIs({ ...now, state: "over", why: said(error) });
  }
}

/** @param {(id:string)=>void} terms opens what a peer may use */
export function joinPairing(terms) {
  onTerms = terms;
  const dialog = $("pairing");
  const [no, yes] = dialog.querySelectorAll("button");
  no.addEventListener("click", () => {
    dialog.close();
    if (goesOn()) void answer("refuse");
    else if (now?.state === "paired") onTerms(now.id);
  });
  yes.addEventListener("click", () => (goesOn() ? void answer("confirm") : dialog.close()));
  $("asked").querySelector("button").addEventListener("click", show);
  for (const closing of [dialog, $("dialog")]) closing.addEventListener("close", draw);
}
