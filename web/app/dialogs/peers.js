/** Other Meshlights: who is seen, who is paired, and what each may use. The dialog's words are in index.html. */
import { callApi, errorText } from "../core/api.js";
import { addFromLink, closeDialog, openDialog } from "./backend_dialog.js";
import {
  $,
  statusBadge,
  setTexts,
  h,
  fromTemplate,
  setText,
  setTextWithCode,
  withCode,
  pick,
} from "../chrome/dom.js";
import { initPairing, startPairing, setPairing } from "./pairing.js";
import { updateRows } from "../panel/parts.js";
import { linkWithQr } from "./share.js";
import { statusOf } from "../map/status_styles.js";
import { displayName, parseHostPort, plural } from "../core/format.js";
import { routeKey } from "../core/mesh.js";
import { matchesPattern, patternOf } from "../core/rules.js";

/** @type {PeersView|null} */
let view = null;
let revision = 0;
/** Changes under way: what was ticked stays ticked until they are answered. */
let pending = 0;
/** @type {Store<AppState>} */
let store;
/** @type {PanelContext["select"]} */
let select;
/** The lines of both lists. @type {Map<string, ListRow<any>>} */
let rows = new Map();

/** @param {Store<AppState>} store_ @param {PanelContext["select"]} select_ */
export function initPeers(store_, select_) {
  store = store_;
  select = select_;
  store.subscribe((s) => s.mesh, renderPeers);
  initPairing(openPeersDialog);
}

/** @param {PeersView} now */
export function setPeers(now) {
  revision += 1;
  view = now;
  renderPeers();
  setPairing(view.pairing);
}

/** Take what an event has not overtaken. @param {string} method @param {string} [path] @param {Record<string, unknown>} [data] */
async function requestPeers(method, path = "", data) {
  const before = revision;
  const now = await callApi(method, `/mesh/peers${path}`, data);
  if (revision === before) setPeers(now);
}

export const loadPeers = () => requestPeers("GET").catch(() => {});

/** @param {string} path @param {Record<string, unknown>} [data] nothing deletes */
async function change(path, data) {
  const message = $("p-message");
  message.textContent = "";
  pending += 1;
  try {
    await requestPeers(data ? "PATCH" : "DELETE", path, data);
  } catch (error) {
    message.replaceChildren(...withCode(errorText(error)));
  }
  pending -= 1;
  renderPeers();
}

/** @param {string} backend @returns {PeerView|undefined} the peer that is used as this backend */
export const peerByBackend = (backend) => view?.peers.find((p) => p.backend === backend);

/** @param {string} [peer] whose terms to open @param {DeepLink} [link] */
export function openPeersDialog(peer, link) {
  rows = new Map();
  const page = fromTemplate("peers-page");
  openDialog([page], "Peers");
  const address = $("p-address");
  let id = link?.id;
  for (const { name, id: at } of [$("p-visible"), $("p-browse")])
    $(at).onchange = () => change("", { [name]: $(at).checked });
  address.oninput = () => (id = undefined);
  address.form.onsubmit = (/** @type {Event} */ e) => {
    e.preventDefault();
    void startPairing({ ...parseHostPort(address.value), id }, address.value);
  };
  if (link?.host) {
    const { host, port } = link;
    address.value = (host.includes(":") ? `[${host}]` : host) + (port ? `:${port}` : "");
    page.querySelector("form .problem").hidden = false;
  }
  renderPeers();
  const row = rows.get(`p-paired${peer}`)?.el.firstElementChild;
  row?.setAttribute("open", "");
  (row?.querySelector("summary") ?? (link ? address : $("p-visible"))).focus();
}

function renderPeers() {
  if (!view || pending || !$("p-message")) return;
  const {
    addresses: [host],
    door,
    node_id: id,
    ...my
  } = view;
  setTexts($("dialog"), {
    ".this-machine b": displayName(my.name),
    ".this-machine code": my.short,
  });
  setTextWithCode($("p-problem"), my.problem);
  $("p-visible").checked = my.visible;
  $("p-browse").checked = my.browse;
  const link =
    door && host && id ? `meshlight://pair?${new URLSearchParams({ host, port: String(door), id })}` : "";
  const box = $("p-link");
  box.hidden = !link;
  if (link && box.dataset.link !== link)
    box.lastElementChild.replaceChildren(linkWithQr((box.dataset.link = link)));
  renderList("p-paired", my.peers, pairedRow);
  renderList("p-discovered", my.seen, discoveredRow);
}

/** @template {{id:string}} T @param {string} at @param {T[]} items @param {(item:T)=>ListRow<T>} make */
function renderList(at, items, make) {
  const root = $(at);
  updateRows(root, rows, items, make, at);
  root.nextElementSibling.hidden = items.length;
}

/** @param {DiscoveredPeerView} discovered @returns {ListRow<DiscoveredPeerView>} */
function discoveredRow(discovered) {
  const el = fromTemplate("discovered-row");
  const [ask_, add] = el.querySelectorAll("button");
  ask_.onclick = () => startPairing({ id: discovered.id }, discovered.name);
  add.onclick = () => {
    const at = discovered.addresses.find((a) => !a.includes(":")) ?? `[${discovered.addresses[0]}]`;
    addFromLink(
      { kind: "openai-compatible", url: `http://${at}:${discovered.port}`, name: discovered.name },
      "Announced on this network",
    );
  };
  return {
    el,
    update(now) {
      discovered = now;
      const name = displayName(discovered.name);
      setTexts(el, {
        b: name,
        code: discovered.short || "Backend.AI GO",
        ".error": discovered.conflict,
        small: `${displayName(discovered.host)} · ${plural(discovered.backends, "backend")} · ${plural(discovered.models, "model")}`,
      });
      el.querySelector("span").hidden = !discovered.is_paired;
      ask_.hidden = !discovered.can_pair;
      add.hidden = discovered.service === "meshlight" || !discovered.addresses.length;
      for (const button of [ask_, add]) button.ariaLabel = `${button.textContent} ${name}`;
    },
  };
}

/** @param {PeerView} peer @returns {ListRow<PeerView>} */
function pairedRow(peer) {
  const el = fromTemplate("peer-row");
  const [models, maxInFlight, paused, used, manages] = [
    "models",
    "max_in_flight",
    "paused",
    "use",
    "may_manage",
  ].map((name) => el.querySelector(`[name=${name}]`));
  const [chosenModels, usedModels, reason, confirmation, rings] = pick(
    el,
    ".selected .used .reason .problem fieldset",
  );
  const [details, unpair, keep, really] = el.querySelectorAll("button");
  const checkboxes = (/** @type {Element} */ group) => [...group.querySelectorAll("input")];
  const checkedValues = (/** @type {Element} */ group) =>
    checkboxes(group).flatMap((input) => (input.checked && !input.disabled ? input.value : []));
  let offered = "";
  let usable = "";
  /** What the list had that is none of its models now: it can be ticked again. @type {Set<string>} */
  const patternsSeen = new Set();
  const itsModels = () => store.state.mesh?.backends.get(peer.backend ?? "")?.models ?? [];
  /** Those that are used from it now. */
  const inUse = () => itsModels().filter((m) => !store.state.unused.has(routeKey(peer.backend ?? "", m)));
  const tick = (/** @type {string} */ value, /** @type {string} */ text) =>
    h("label", { class: "tick" }, h("input", { type: "checkbox", value }), displayName(text));

  el.onchange = (/** @type {any} */ { target }) => {
    if (!target.reportValidity()) return;
    void change(
      `/${peer.id}`,
      rings.contains(target)
        ? { share_rings: checkedValues(rings) }
        : chosenModels.contains(target)
          ? { share_models: checkedValues(chosenModels) }
          : target === models
            ? { share_models: models.value ? peer.sees_models : null }
            : target === used
              ? { use: used.value ? inUse().map(patternOf) : null }
              : usedModels.contains(target)
                ? { use: checkedValues(usedModels) }
                : target === maxInFlight
                  ? { max_in_flight: Number(maxInFlight.value) }
                  : { [target.name]: target.checked },
    );
  };
  details.onclick = () => {
    closeDialog();
    select(`b:${peer.backend}`, true);
  };
  unpair.onclick = () => ((confirmation.hidden = false), keep.focus());
  keep.onclick = () => ((confirmation.hidden = true), unpair.focus());
  really.onclick = () => change(`/${peer.id}`);

  return {
    el,
    update(now) {
      peer = now;
      const { share_models: only, share_rings, sees_models: sees, in_flight } = peer;
      const b = store.state.mesh?.backends.get(peer.backend ?? "");
      const status = b ? statusOf(b) : "unknown";
      setTextWithCode(reason, b ? `${b.health.text} ${b.health.fix}` : "");
      reason.hidden = !b || status === "healthy" || status === "disabled";
      setTexts(el, {
        b: displayName(peer.name),
        code: peer.short,
        ".shared-models": `It sees ${plural(sees.length, "model")}${sees.length ? `: ${sees.slice(0, 8).map(displayName).join(", ")}` : ""}${sees.length > 8 ? " …" : ""}. ${in_flight ? `${plural(in_flight, "request")} of it now.` : ""}`,
      });
      if (el.dataset.status !== status)
        el.querySelector(".badge").replaceWith(statusBadge((el.dataset.status = status)));
      // An id that is away just now stays chosen.
      const localBackends = [...(store.state.mesh?.backends.values() ?? [])].filter(
        (one) => one.enabled && one.kind !== "peer" && share_rings.includes(one.ring),
      );
      const ids = only ? [...new Set([...only, ...localBackends.flatMap((one) => one.models)])].sort() : [];
      if (offered !== (offered = ids.join("\n"))) {
        chosenModels.replaceChildren(...ids.map((id) => tick(id, id)));
      }
      const { use } = peer;
      const own = itsModels().map((m) => [patternOf(m), m]);
      for (const pattern of use ?? []) patternsSeen.add(pattern);
      const patterns = [...patternsSeen].filter((p) => own.every(([q]) => q !== p)).map((p) => [p, p]);
      const choices = use ? [...patterns, ...own] : [];
      if (usable !== (usable = choices.join("\n")))
        usedModels.replaceChildren(...choices.map(([value, text]) => tick(value, text)));
      checkboxes(usedModels).forEach((input, i) => {
        const [value, model] = choices[i];
        // What a pattern means already is not chosen by itself.
        input.disabled =
          i >= patterns.length && (use ?? []).some((p) => p !== value && matchesPattern(p, model));
        input.checked = input.disabled || Boolean(use?.includes(value));
      });
      used.value = use ? "chosen" : "";
      el.querySelector(".use-hint").hidden = use !== null;
      for (const input of checkboxes(rings))
        input.checked = share_rings.includes(/** @type {Ring} */ (input.value));
      for (const input of checkboxes(chosenModels)) input.checked = Boolean(only?.includes(input.value));
      models.value = only ? "chosen" : "";
      if (document.activeElement !== maxInFlight) maxInFlight.value = String(peer.max_in_flight);
      paused.checked = peer.paused;
      manages.checked = peer.may_manage;
      details.hidden = !b;
    },
  };
}
