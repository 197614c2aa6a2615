/** The panels of user and router. */
import { copyText, h, fromTemplate, pick, setTextWithCode, withCode } from "../chrome/dom.js";
import { openApps } from "../chrome/open.js";
import { findingsSection } from "./findings.js";
import { facts, item, linksTo } from "./parts.js";
import { countPaths } from "../map/selection.js";
import { formatDuration, displayName, formatCount, joined, loadedWords, plural } from "../core/format.js";

/** Where a request went, and why there. @param {Decision} decision @param {string} backend */
function decisionLine({ model, count, why, kept, loaded, waited_s, age_s, at }, backend) {
  const said = joined(
    displayName(why),
    kept !== null && !/conversation/.test(why) && `conversation ${kept ? "kept" : "moved"}`,
    loaded === false ? "loaded first" : loadedWords(loaded),
    waited_s && `waited ${formatDuration(waited_s)}`,
  );
  const time = h("time", { text: new Date(at - age_s * 1000).toLocaleTimeString() });
  const line = item(`${model} → ${displayName(backend)}${count > 1 ? ` × ${count}` : ""}`, [
    time,
    ` · ${said}`,
  ]);
  line.prepend(h("span", { "aria-hidden": "true", text: loaded ? "●" : loaded === false ? "○" : "" }));
  return line;
}

/** @param {PanelContext} context @returns {PanelSheet} */
export function userSheet({ store, select }) {
  const root = fromTemplate("user-sheet");
  const list = facts(root.querySelector("dl"));
  const links = root.lastElementChild;
  const [copyUrl, apps] = root.querySelectorAll("button");
  copyUrl.onclick = () => copyText(`${location.origin}/v1`, copyUrl);
  apps.onclick = () => openApps();
  let signature = "";
  return {
    title: () => "You",
    kind: "Entry point",
    body: [...root.children],
    update() {
      const { mesh, shown, servers } = store.state;
      if (!mesh) return;
      const on = [...shown.values()].filter((b) => b.status !== "disabled");
      list.show({
        Backends: `${plural(on.length, "backend")} in use, ${formatCount(on.filter((b) => b.status === "healthy").length)} healthy`,
        Models: `${formatCount(servers.size)} on ${plural(countPaths("u", shown, servers), "route")}`,
        "In flight": plural(mesh.router.requests.in_flight, "request"),
        Requests: formatCount(mesh.router.requests.total),
        "Base URL": `${location.origin}/v1`,
      });
      const now = [...shown.values()].map((b) => `${b.id}${b.status}${b.latency}`).join();
      if (signature === (signature = now)) return;
      links.replaceChildren(...linksTo([...shown.values()], select));
    },
  };
}

/** @param {PanelContext} context @returns {PanelSheet} */
export function routerSheet({ store, uptime }) {
  const root = fromTemplate("router-sheet");
  const [reason, notices, place, last, requests, dl] = pick(
    root,
    ".lead .notices .findings-here section .changes dl",
  );
  const list = facts(dl);
  const findings = findingsSection();
  place.append(findings.el);
  /** @type {string[]|null} */
  let shownNotices = null;
  /** @type {Decision[]|null} */
  let shownRequests = null;
  /** @param {Mesh} mesh */
  const drawRequests = ({ decisions, backends }) => {
    shownRequests = decisions;
    last.hidden = !decisions.length;
    requests.replaceChildren(
      ...decisions.map((d) => decisionLine(d, backends.get(d.backend)?.name ?? d.backend)).reverse(),
    );
  };
  return {
    title: () => "Router",
    kind: "This Meshlight",
    body: [...root.children],
    update() {
      const { mesh } = store.state;
      if (!mesh) return;
      findings.update(mesh);
      const { router } = mesh;
      const r = router.requests;
      // Of those that ended: what still runs is neither.
      const ended = r.successful + r.failed;
      const share = (/** @type {number} */ n) => (ended ? ` · ${((100 * n) / ended).toFixed(1)} %` : "");
      setTextWithCode(reason, mesh.light_reason);
      const healthy = [...mesh.backends.values()].filter(
        (b) => b.enabled && b.health.state === "healthy",
      ).length;
      list.show({
        Status: router.status,
        Uptime: formatDuration(uptime()),
        Requests: formatCount(r.total),
        Successful: formatCount(r.successful) + share(r.successful),
        Failed: formatCount(r.failed) + share(r.failed),
        "In flight": formatCount(r.in_flight),
        Backends: `${plural(mesh.backends.size, "backend")}, ${healthy} healthy`,
        Models: formatCount(mesh.models.size),
        Name: displayName(router.name),
        Version: router.version,
        "Node id": router.node_id,
      });
      if (mesh.decisions !== shownRequests) drawRequests(mesh);
      if (mesh.notices === shownNotices) return;
      shownNotices = mesh.notices;
      notices.replaceChildren(...mesh.notices.map((text) => h("li", {}, ...withCode(text))));
    },
  };
}
