/** The panel of a backend. */
import { backendPath, call } from "./api.js";
import { badge, copy, glyph, h, made } from "./dom.js";
import { editBackend, removeBackend, shareBackend } from "./dialog.js";
import { isShared, kindLabel } from "./kinds.js";
import { busy, facts } from "./panel.js";
import { peerOf, showPeers } from "./peers.js";
import { plot } from "./plot.js";
import { RINGS } from "./states.js";
import { ago, clean, count, detail, many, ms, tally } from "./text.js";

const PLOT_STEPS = 120;

/** @param {App} app @param {string} id @returns {Sheet} */
export function backendSheet(app, id) {
  const backend = () => app.mesh?.backends.get(id);
  const root = made("backend-sheet");
  const [state, why, says, canvas, models, changes] = [".state", ".why", ".says", "canvas", ".models", ".changes"].map((where) => root.querySelector(where));
  const list = facts(root.querySelector("dl"));
  const buttons = root.querySelectorAll("button");
  const [check, power, link, share, terms, edit, remove] = buttons;
  let stateSig = "";
  let modelSig = "";
  let changeSig = "";
  /** @type {string[]} */
  let told = [];

  check.onclick = () => busy(check, says, async () => {
    const r = await call("POST", backendPath(id, "check"));
    return r.ok ? [`Answers in ${ms(r.latency_ms)}, ${many(r.models?.length ?? r.models ?? 0, "model")}.`, r.note].filter(Boolean).join(" ") : r.health.text === backend()?.health.text ? "Checked just now: no change." : `${r.health.text} ${r.health.fix}`;
  });
  power.onclick = () => busy(power, says, async () => {
    const on = backend()?.enabled;
    await call("POST", backendPath(id, on ? "disable" : "enable"));
    return on ? "Disabled: no request goes there." : "Enabled.";
  });
  const act = (/** @type {HTMLElement} */ button, /** @type {(b:BackendView)=>void} */ run) => (button.onclick = () => { const b = backend(); if (b) run(b); });
  act(link, (b) => copy(b.url, link));
  act(share, shareBackend);
  act(terms, () => showPeers(peerOf(id)?.id));
  act(edit, editBackend);
  act(remove, (b) => removeBackend(b, () => app.select(null)));

  /** @param {BackendView} b */
  const tellModels = (b) => {
    const sig = JSON.stringify([b.models, b.details]);
    if (sig === modelSig) return;
    modelSig = sig;
    models.replaceChildren(...b.models.slice(0, 80).map((model) =>
      h("button", { class: "link", onclick: () => app.select(`m:${id}\n${model}`, true) }, h("span", { class: "what", text: clean(model) }), detail(b.details?.[model]) && h("small", { class: "quiet", text: detail(b.details[model]) }))),
    ...(b.models.length > 80 ? [h("p", { class: "quiet", text: `and ${count(b.models.length - 80)} more` })] : []));
  };
  const tellChanges = () => {
    const seen = app.history.changes.get(id) ?? [];
    const sig = `${seen.length}${seen[0]?.at}${Math.floor(Date.now() / 30_000)}`;
    if (sig === changeSig) return;
    changeSig = sig;
    changes.replaceChildren(...seen.map((c) => h("li", { "data-look": c.to },
      glyph(/** @type {Look} */ (c.to)),
      h("span", {}, h("b", { text: c.to }), ` ${ago((Date.now() - c.at) / 1000)} ago`, h("small", { text: c.text })))),
    ...(seen.length ? [] : [h("li", { class: "quiet", text: app.history.seeded ? "None in the last hour." : "None since this page was opened." })]));
  };

  return {
    title: () => app.shown.get(id)?.name ?? id, kind: "Backend",
    body: [...root.children],
    update() {
      const b = backend();
      const s = app.shown.get(id);
      for (const button of buttons) button.hidden = !b;
      const peer = b && peerOf(id);
      terms.hidden = !peer;
      share.hidden ||= !isShared(b?.kind);
      if (!b || !s) {
        state.replaceChildren(h("p", { class: "quiet", text: b ? "Filtered out, or not there at that moment." : "This backend is gone from the mesh." }));
        stateSig = "";
        return;
      }
      const past = app.past !== null;
      const sig = `${s.look}${past}${b.health.text}${b.health.fix}`;
      if (sig !== stateSig) {
        stateSig = sig;
        const calm = s.look === "healthy" || past;
        state.replaceChildren(badge(s.look), h("span", { class: "quiet since" }));
        why.hidden = calm;
        why.dataset.look = s.look;
        why.replaceChildren(h("p", { text: s.look === "disabled" ? "Switched off: no request goes there." : b.health.text }),
          ...(b.health.fix && s.look !== "disabled" ? [h("p", { class: "fix", text: b.health.fix })] : []));
        power.textContent = b.enabled ? "Disable" : "Enable";
      }
      const since = state.querySelector(".since");
      if (since) since.textContent = past ? `${ago(app.pastAge())} ago` : `for ${ago(app.sinceOf(b))}`;
      const r = b.requests;
      const last = (app.history.changes.get(id) ?? []).find((c) => c.to === "unhealthy");
      list.set("Type", kindLabel(b.kind));
      list.set("Address", b.url);
      list.set("Node", peer?.short ?? "");
      list.set("Ring", RINGS[b.ring]);
      list.set("Enabled", b.enabled ? "yes" : "no");
      list.set("Latency", ms(s.latency));
      list.set("Models", count(b.models.length));
      list.set("In flight", count(b.in_flight));
      list.set("Requests", tally(r));
      list.set("First byte", r.first_byte_ms === null ? "" : ms(r.first_byte_ms));
      list.set("Tokens", r.tokens_in + r.tokens_out ? `${count(r.tokens_in)} in · ${count(r.tokens_out)} out` : "");
      list.set("Last error", b.health.state === "unhealthy" ? b.health.text : last ? `${last.text} (${ago((Date.now() - last.at) / 1000)} ago)` : "none seen");
      const about = b.about ?? {};
      for (const label of told) if (!(label in about)) list.set(label, "");
      told = Object.keys(about);
      for (const label of told) list.set(label, about[label]);
      list.set("Warning", b.warnings?.join(" ") ?? "");
      list.set("Found", b.source === "found" ? "by itself, on this machine" : "added by you");
      plot(canvas, app.history.latencies(id, PLOT_STEPS), app.theme);
      tellModels(b);
      tellChanges();
    },
  };
}
