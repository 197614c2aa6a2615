/** The panels of user and router. */
import { copy, glyph, h, made } from "../chrome/dom.js";
import { facts } from "./panel.js";
import { paths } from "../map/selection.js";
import { ago, clean, count, many, ms } from "../core/format.js";

/** @param {App} app @returns {Sheet} */
export function userSheet(app) {
  const root = made("user-sheet");
  const list = facts(root.querySelector("dl"));
  const links = root.lastElementChild;
  const copyUrl = root.querySelector("button");
  copyUrl.onclick = () => copy(`${location.origin}/v1`, copyUrl);
  let sig = "";
  return {
    title: () => "You",
    kind: "Entry point",
    body: [...root.children],
    update() {
      const mesh = app.mesh;
      if (!mesh) return;
      const on = [...app.shown.values()].filter((b) => b.look !== "disabled");
      list.set(
        "Connections",
        `${many(on.length, "backend")} downstream, ${count(on.filter((b) => b.look === "healthy").length)} healthy`,
      );
      list.set(
        "Models",
        `${count(app.servers.size)} on ${many(paths("u", app.shown, app.servers), "route")}`,
      );
      list.set("In flight", many(mesh.router.requests.in_flight, "request"));
      list.set("Requests", count(mesh.router.requests.total));
      list.set("Base URL", `${location.origin}/v1`);
      const now = [...app.shown.values()].map((b) => `${b.id}${b.look}${b.latency}`).join();
      if (now === sig) return;
      sig = now;
      links.replaceChildren(
        ...[...app.shown.values()].slice(0, 60).map((b) => linkTo(app, b)),
        ...(app.shown.size > 60
          ? [
              h("p", {
                class: "quiet",
                text: `and ${count(app.shown.size - 60)} more: the table (t) lists all`,
              }),
            ]
          : []),
      );
    },
  };
}

/** @param {App} app @param {Shown} b @param {string} [more] */
export function linkTo(app, b, more = "") {
  return h(
    "button",
    { class: "link", "data-look": b.look, onclick: () => app.select(`b:${b.id}`, true) },
    glyph(b.look),
    h("span", { class: "what", text: b.name }),
    h("span", { class: "quiet", text: more || (b.look === "healthy" ? ms(b.latency) : b.look) }),
  );
}

/** @param {App} app @returns {Sheet} */
export function routerSheet(app) {
  const list = facts();
  const reason = h("p", { class: "lead" });
  const notices = h("ul", { class: "notices", "data-look": "warming" });
  return {
    title: () => "Router",
    kind: "This Meshlight",
    body: [reason, notices, list.el],
    update() {
      const mesh = app.mesh;
      if (!mesh) return;
      const { router } = mesh;
      const r = router.requests;
      const share = (/** @type {number} */ n) => (r.total ? ` · ${((100 * n) / r.total).toFixed(1)} %` : "");
      if (reason.textContent !== mesh.light_reason) reason.textContent = mesh.light_reason;
      const healthy = [...mesh.backends.values()].filter(
        (b) => b.enabled && b.health.state === "healthy",
      ).length;
      list.set("Status", router.status);
      list.set("Uptime", ago(app.uptime()));
      list.set("Requests", count(r.total));
      list.set("Successful", count(r.successful) + share(r.successful));
      list.set("Failed", count(r.failed) + share(r.failed));
      list.set("In flight", count(r.in_flight));
      list.set("Backends", `${many(mesh.backends.size, "backend")}, ${healthy} healthy`);
      list.set("Models", count(mesh.models.size));
      list.set("Name", clean(router.name));
      list.set("Version", router.version);
      list.set("Node id", router.node_id);
      if (notices.childElementCount !== mesh.notices.length)
        notices.replaceChildren(...mesh.notices.map((text) => h("li", { text })));
    },
  };
}
