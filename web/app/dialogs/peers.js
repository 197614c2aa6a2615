/** Other Meshlights: who is seen, who is paired, and what each may use. The dialog's words are in index.html. */
import { call, said } from "../core/api.js";
import { addFromLink, close, open } from "./backend_dialog.js";
import { $, badge, fill, h, made, say } from "../chrome/dom.js";
import { joinPairing, pair, pairingIs } from "./pairing.js";
import { linked } from "./share.js";
import { lookOf } from "../map/status_styles.js";
import { clean, hostPort, many } from "../core/format.js";

/** @type {PeersView|null} */
let view = null;
let told = 0;
/** @type {App} */
let app;
/** The lines of both lists. @type {Map<string, Row<any>>} */
let rows = new Map();

/** @param {App} app_ */
export function joinPeers(app_) {
  app = app_;
  joinPairing(showPeers);
}

/** @param {PeersView} now */
export function peersAre(now) {
  told += 1;
  view = now;
  drawPeers();
  pairingIs(now.pairing);
}

/** Take what an event has not overtaken. @param {string} method @param {string} [path] @param {Record<string, unknown>} [data] */
async function ask(method, path = "", data) {
  const before = told;
  const now = await call(method, `/mesh/peers${path}`, data);
  if (told === before) peersAre(now);
}

export const learnPeers = () => ask("GET").catch(() => {});

/** @param {string} path @param {Record<string, unknown>} [data] nothing deletes */
async function change(path, data) {
  const says = $("p-says");
  says.textContent = "";
  try {
    await ask(data ? "PATCH" : "DELETE", path, data);
  } catch (error) {
    says.textContent = said(error);
    drawPeers();
  }
}

/** @param {string} backend @returns {PeerView|undefined} the peer that is used as this backend */
export const peerOf = (backend) => view?.peers.find((p) => p.backend === backend);

/** @param {string} [peer] whose terms to open @param {Link} [link] */
export function showPeers(peer, link) {
  rows = new Map();
  const page = made("peers-page");
  open([page], "Peers");
  const address = $("p-address");
  let id = link?.id;
  page.querySelector(".end button").onclick = close;
  for (const { name, id: at } of [$("p-visible"), $("p-browse")])
    $(at).addEventListener("change", () => change("", { [name]: $(at).checked }));
  address.addEventListener("input", () => (id = undefined));
  address.form.addEventListener("submit", (/** @type {Event} */ e) => {
    e.preventDefault();
    void pair({ ...hostPort(address.value), id }, address.value);
  });
  if (link?.host) {
    const { host, port } = link;
    address.value = (host.includes(":") ? `[${host}]` : host) + (port ? `:${port}` : "");
    page.querySelector("form .trouble").hidden = false;
  }
  drawPeers();
  const row = rows.get(`p-paired${peer}`)?.el.firstElementChild;
  row?.setAttribute("open", "");
  (row?.querySelector("summary") ?? (link ? address : $("p-visible"))).focus();
}

export function drawPeers() {
  if (!view || !$("p-says")) return;
  const {
    addresses: [host],
    door,
    node_id: id,
    ...my
  } = view;
  fill($("dialog"), { "#p-problem": my.problem, ".me b": clean(my.name), ".me code": my.short });
  $("p-visible").checked = my.visible;
  $("p-browse").checked = my.browse;
  const link =
    door && host && id ? `meshlight://pair?${new URLSearchParams({ host, port: String(door), id })}` : "";
  const box = $("p-link");
  box.hidden = !link;
  if (link && box.dataset.link !== link)
    box.lastElementChild.replaceChildren(linked((box.dataset.link = link)));
  list("p-paired", my.peers, pairedRow);
  list("p-seen", my.seen, seenRow);
}

/** @template {{id:string}} T @param {string} at @param {T[]} items @param {(item:T)=>Row<T>} make */
function list(at, items, make) {
  const root = $(at);
  const all = items.map((item) => {
    const row = rows.get(at + item.id) ?? make(item);
    rows.set(at + item.id, row);
    row.tell(item);
    return row.el;
  });
  for (const el of [...root.children]) if (!all.includes(el)) el.remove();
  all.forEach((el, i) => root.children[i] === el || root.insertBefore(el, root.children[i]));
  root.nextElementSibling.hidden = items.length;
}

/** @param {SightingView} seen @returns {Row<SightingView>} */
function seenRow(seen) {
  const el = made("seen-row");
  const [ask_, add] = el.querySelectorAll("button");
  ask_.onclick = () => pair({ id: seen.id }, seen.name);
  add.addEventListener("click", () => {
    const at = seen.addresses.find((a) => !a.includes(":")) ?? `[${seen.addresses[0]}]`;
    addFromLink(
      { kind: "openai-compatible", url: `http://${at}:${seen.port}`, name: seen.name },
      "Announced on this network",
    );
  });
  return {
    el,
    tell(now) {
      seen = now;
      const name = clean(seen.name);
      fill(el, {
        b: name,
        code: seen.short || "Backend.AI GO",
        ".error": seen.conflict,
        small: `${clean(seen.host)} · ${many(seen.backends, "backend")} · ${many(seen.models, "model")}`,
      });
      el.querySelector("span").hidden = !seen.is_paired;
      ask_.hidden = !seen.can_pair;
      add.hidden = seen.service === "meshlight" || !seen.addresses.length;
      for (const button of [ask_, add]) button.setAttribute("aria-label", `${button.textContent} ${name}`);
    },
  };
}

/** @param {PeerView} peer @returns {Row<PeerView>} */
function pairedRow(peer) {
  const el = made("peer-row");
  const [models, most, paused] = ["[name=models]", "[name=max_in_flight]", "[name=paused]"].map((where) =>
    el.querySelector(where),
  );
  const [chosen, why, sure, rings] = [".chosen", ".why", ".trouble", "fieldset"].map((where) =>
    el.querySelector(where),
  );
  const [details, unpair, keep, really] = el.querySelectorAll("button");
  const ticks = (/** @type {Element} */ group) => [...group.querySelectorAll("input")];
  const ticked = (/** @type {Element} */ group) =>
    ticks(group).flatMap((input) => (input.checked ? input.value : []));
  let offered = "";

  el.addEventListener("change", (/** @type {any} */ { target }) => {
    if (!target.reportValidity()) return;
    void change(
      `/${peer.id}`,
      rings.contains(target)
        ? { share_rings: ticked(rings) }
        : chosen.contains(target)
          ? { share_models: ticked(chosen) }
          : target === models
            ? { share_models: models.value ? peer.sees_models : null }
            : target === most
              ? { max_in_flight: Number(most.value) }
              : { paused: paused.checked },
    );
  });
  details.addEventListener("click", () => {
    close();
    app.select(`b:${peer.backend}`, true);
  });
  unpair.onclick = () => ((sure.hidden = false), keep.focus());
  keep.onclick = () => ((sure.hidden = true), unpair.focus());
  really.onclick = () => change(`/${peer.id}`);

  return {
    el,
    tell(now) {
      peer = now;
      const { share_models: only, share_rings, sees_models: sees, in_flight } = peer;
      const b = app.mesh?.backends.get(peer.backend ?? "");
      const look = b ? lookOf(b) : "unknown";
      why.hidden = !b || look === "healthy" || look === "disabled";
      fill(el, {
        b: clean(peer.name),
        code: peer.short,
        ".why": `${b?.health.text} ${b?.health.fix}`,
        ".sees": `It sees ${many(sees.length, "model")}${sees.length ? `: ${sees.slice(0, 8).map(clean).join(", ")}` : ""}${sees.length > 8 ? " …" : ""}. ${in_flight ? `${many(in_flight, "request")} of it now.` : ""}`,
      });
      if (el.dataset.look !== look) el.querySelector(".badge").replaceWith(badge((el.dataset.look = look)));
      // An id that is away just now stays chosen.
      const here = [...(app.mesh?.backends.values() ?? [])].filter(
        (one) => one.enabled && one.kind !== "peer" && share_rings.includes(one.ring),
      );
      const ids = only ? [...new Set([...only, ...here.flatMap((one) => one.models)])].sort() : [];
      if (offered !== (offered = ids.join("\n"))) {
        chosen.replaceChildren(
          ...ids.map((value) =>
            h("label", { class: "tick" }, h("input", { type: "checkbox", value }), clean(value)),
          ),
        );
      }
      for (const input of ticks(rings))
        input.checked = share_rings.includes(/** @type {Ring} */ (input.value));
      for (const input of ticks(chosen)) input.checked = Boolean(only?.includes(input.value));
      models.value = only ? "chosen" : "";
      if (document.activeElement !== most) most.value = String(peer.max_in_flight);
      paused.checked = peer.paused;
      details.hidden = !b;
    },
  };
}
