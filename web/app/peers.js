/** Other Meshlights: who is seen, who is paired, and what each may use. The dialog's words are in index.html. */
import { call, said } from "./api.js";
import { addFromLink, close, open } from "./dialog.js";
import { $, badge, h, say } from "./dom.js";
import { joinPairing, pair, pairingIs } from "./pairing.js";
import { linked } from "./share.js";
import { lookOf } from "./states.js";
import { clean, count, hostPort, many } from "./text.js";

/** @type {PeersView|null} */
let view = null;
/** How many views the events have brought. */
let told = 0;
/** @type {App} */
let app;
/** The rows of both lists, which stay while what they tell changes. @type {Map<string, Row<any>>} */
let rows = new Map();
/** The node id that a link named, for as long as its address stays. */
let expected = "";

/** @param {App} app_ */
export function joinPeers(app_) {
  app = app_;
  $("peers").addEventListener("click", () => showPeers());
  joinPairing(showPeers);
}

/** @param {PeersView} now */
export function peersAre(now) {
  told += 1;
  view = now;
  drawPeers();
  pairingIs(now.pairing);
}

export const learnPeers = () => asked(call("GET", "/mesh/peers")).catch(() => {});

/** Take an answer, unless an event has overtaken it. @param {Promise<PeersView>} answer */
async function asked(answer) {
  const before = told;
  const now = await answer;
  if (told === before) peersAre(now);
}

/** @param {string} path @param {Record<string, unknown>} [change] nothing deletes */
async function change(path, change) {
  $("p-says").textContent = "";
  try {
    await asked(call(change ? "PATCH" : "DELETE", `/mesh/peers${path}`, change));
  } catch (error) {
    if ($("p-says")) $("p-says").textContent = said(error);
    drawPeers();
  }
}

/** @param {string} backend @returns {PeerView|undefined} the peer that is used as this backend */
export const peerOf = (backend) => view?.peers.find((p) => p.backend === backend);

/** @param {string} id */
const named = (id) => /** @type {HTMLTemplateElement} */ ($(id)).content.firstElementChild?.cloneNode(true);

/** @param {string} [peer] whose terms to open @param {Link} [link] */
export function showPeers(peer, link) {
  rows = new Map();
  const page = /** @type {HTMLElement} */ (named("peers-page"));
  open([page], "Peers");
  const address = $("p-address");
  const shut = page.querySelector(".end button");
  shut?.addEventListener("click", close);
  for (const name of ["visible", "browse"]) $(`p-${name}`).addEventListener("change", () => void change("", { [name]: $(`p-${name}`).checked }));
  address.addEventListener("input", () => (expected = ""));
  page.querySelector("form")?.addEventListener("submit", (e) => {
    e.preventDefault();
    void pair({ ...hostPort(address.value), ...(expected && { id: expected }) }, address.value);
  });
  expected = link?.id ?? "";
  if (link?.host) {
    address.value = `${link.host.includes(":") ? `[${link.host}]` : link.host}${link.port ? `:${link.port}` : ""}`;
    address.closest("form").append(h("p", { class: "trouble", "data-look": "warming", text: "From a link: pair only if you know whose it is." }));
  }
  drawPeers();
  const row = peer && rows.get(peer)?.el;
  if (row) row.querySelector("details")?.setAttribute("open", "");
  (row ? row.querySelector("summary") : link ? address : $("p-visible"))?.focus();
  if (!view) void learnPeers();
}

export function drawPeers() {
  if (!view || !$("p-says")) return;
  const { node_id: id, addresses: [host], door } = view;
  say($("p-problem"), view.problem);
  const me = document.querySelector(".me");
  say(/** @type {HTMLElement} */ (me?.firstElementChild), clean(view.name));
  say(/** @type {HTMLElement} */ (me?.lastElementChild), view.short);
  $("p-visible").checked = view.visible;
  $("p-browse").checked = view.browse;
  const link = door && host && id ? `meshlight://pair?${new URLSearchParams({ host, port: String(door), id })}` : "";
  const box = $("p-link");
  box.hidden = !link;
  if (box.dataset.link !== link) box.lastElementChild.replaceChildren(...(link ? linked((box.dataset.link = link)) : []));
  list("p-paired", view.peers, pairedRow);
  list("p-seen", view.seen, seenRow);
}

/** @template {{id:string}} T @param {string} id @param {T[]} items @param {(item:T)=>Row<T>} make */
function list(id, items, make) {
  const root = $(id);
  for (const el of [...root.children]) if (!items.some((item) => rows.get(id + item.id)?.el === el)) el.remove();
  items.forEach((item, i) => {
    const key = id + item.id;
    let row = rows.get(key);
    if (!row?.el.isConnected) rows.set(key, (row = make(item)));
    row.tell(item);
    if (root.children[i] !== row.el) root.insertBefore(row.el, root.children[i] ?? null);
  });
  root.nextElementSibling.hidden = items.length > 0;
}

/** @param {SightingView} first @returns {Row<SightingView>} */
function seenRow(first) {
  let seen = first;
  const name = h("b");
  const what = h("small");
  const conflict = h("small", { class: "error" });
  const paired = h("span", { class: "quiet", text: "paired" });
  const act = h("button", { onclick: () => {
    if (seen.service === "meshlight") return void pair({ id: seen.id }, seen.name);
    const at = seen.addresses.find((a) => !a.includes(":")) ?? `[${seen.addresses[0]}]`;
    addFromLink({ kind: "openai-compatible", url: `http://${at}:${seen.port}`, name: seen.name }, "Announced on this network");
  } });
  return {
    el: h("li", { class: "seen" }, h("div", {}, name, " ", h("code", { text: seen.short || "Backend.AI GO" }), what, conflict), paired, act),
    tell(now) {
      seen = now;
      const by = seen.service === "bago" ? "Add by hand …" : "Pair …";
      say(name, clean(seen.name));
      say(what, `${clean(seen.host)} · ${many(seen.backends, "backend")} · ${many(seen.models, "model")}`);
      say(conflict, seen.conflict);
      paired.hidden = !seen.is_paired;
      act.hidden = seen.is_paired || !(seen.can_pair || (seen.service === "bago" && seen.addresses.length));
      say(act, by);
      act.setAttribute("aria-label", `${by} ${clean(seen.name)}`);
    },
  };
}

/** @param {PeerView} first @returns {Row<PeerView>} */
function pairedRow(first) {
  let peer = first;
  const el = /** @type {HTMLElement} */ (named("peer-row"));
  const all = (/** @type {string} */ query) => /** @type {HTMLInputElement[]} */ ([...el.querySelectorAll(query)]);
  const [name, short, why, sees, chosen] = ["b", "code", ".why", "p.quiet", ".chosen"].map((query) => /** @type {HTMLElement} */ (el.querySelector(query)));
  const [models, most, paused, sure] = ["[name=models]", "[name=max_in_flight]", "[name=paused]", ".trouble"].map((query) => all(query)[0]);
  const [details, unpair, keep, really] = all("button");
  const path = `/${peer.id}`;
  const ticked = (/** @type {string} */ of) => all(`[name=${of}]:checked`).map((input) => input.value);
  let offered = "";

  el.addEventListener("change", ({ target }) => {
    const input = /** @type {HTMLInputElement} */ (target);
    if (!input.reportValidity()) return;
    /** @type {Record<string, Record<string, unknown>>} */
    const terms = {
      ring: { share_rings: ticked("ring") }, models: { share_models: input.value ? peer.sees_models : null }, model: { share_models: ticked("model") },
      max_in_flight: { max_in_flight: Number(input.value) }, paused: { paused: input.checked },
    };
    void change(path, terms[input.name]);
  });
  details.addEventListener("click", () => {
    close();
    app.select(`b:${peer.backend}`, true);
  });
  const ask = (/** @type {boolean} */ open_) => {
    sure.hidden = !open_;
    (open_ ? keep : unpair).focus();
  };
  unpair.addEventListener("click", () => ask(true));
  keep.addEventListener("click", () => ask(false));
  really.addEventListener("click", () => void change(path));

  /** What there is to choose from: an id that is away just now stays chosen. */
  const offer = () => {
    const here = [...(app.mesh?.backends.values() ?? [])].filter((b) => b.enabled && b.kind !== "peer" && peer.share_rings.includes(b.ring));
    const ids = [...new Set([...(peer.share_models ?? []), ...here.flatMap((b) => b.models)])].sort();
    chosen.hidden = !peer.share_models;
    if (!peer.share_models || offered === (offered = ids.join("\n"))) return;
    chosen.replaceChildren(...ids.map((id) => h("label", { class: "tick" }, h("input", { type: "checkbox", name: "model", value: id }), clean(id))));
  };

  return {
    el,
    tell(now) {
      peer = now;
      const b = app.mesh?.backends.get(peer.backend ?? "");
      const look = b ? lookOf(b) : "unknown";
      say(name, clean(peer.name));
      say(short, peer.short);
      if (el.dataset.look !== look) {
        el.dataset.look = look;
        el.querySelector(".badge")?.remove();
        el.querySelector("summary")?.append(badge(look));
      }
      why.hidden = !b || look === "healthy";
      say(why, look === "disabled" ? "Switched off: no request goes there." : `${b?.health.text} ${b?.health.fix}`);
      offer();
      for (const input of all("[name=ring]")) input.checked = peer.share_rings.includes(/** @type {Ring} */ (input.value));
      for (const input of all("[name=model]")) input.checked = Boolean(peer.share_models?.includes(input.value));
      models.value = peer.share_models ? "chosen" : "";
      if (document.activeElement !== most) most.value = String(peer.max_in_flight);
      paused.checked = peer.paused;
      details.hidden = !b;
      const { sees_models: ids } = peer;
      say(sees, `It sees ${many(ids.length, "model")}${ids.length ? `: ${ids.slice(0, 8).map(clean).join(", ")}${ids.length > 8 ? " …" : ""}` : ""}. ${peer.in_flight ? `${count(peer.in_flight)} of its requests run here now.` : ""}`);
    },
  };
}
