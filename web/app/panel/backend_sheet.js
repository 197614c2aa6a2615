/** The panel of a backend. */
import { backendPath, callApi } from "../core/api.js";
import { statusBadge, copyText, statusGlyph, h, fromTemplate, withCode, pick } from "../chrome/dom.js";
import { editBackend, removeBackend, shareBackend } from "../dialogs/backend_dialog.js";
import { isCluster, isShareable, kindLabel } from "../core/kinds.js";
import { andMore, busy, facts, usage } from "./parts.js";
import { peerByBackend, openPeersDialog } from "../dialogs/peers.js";
import { routeKey } from "../core/mesh.js";
import { slotsOf } from "../core/slots.js";
import { drawPlot } from "./plot.js";
import { OTHER_USER, RING_LABELS, statusLabel } from "../map/status_styles.js";
import {
  formatDuration,
  displayName,
  formatCount,
  formatModelDetail,
  plural,
  formatMs,
} from "../core/format.js";

const PLOT_STEPS = 120;
/** How often, and for how many models, routes are asked for to find services in trouble. */
const SERVICES_MS = 10_000;
const SERVICES_MODELS = 16;

/** @param {PanelContext} context @param {string} id @returns {PanelSheet} */
export function backendSheet({ store, history, select, healthAge, momentAge }, id) {
  const backend = () => store.state.mesh?.backends.get(id);
  const root = fromTemplate("backend-sheet");
  const [state, reason, message, canvas, models, changes, servicesTitle, services] = pick(
    root,
    ".state .reason .message canvas .models .changes .services-title .services",
  );
  const list = facts(root.querySelector("dl"));
  const buttons = root.querySelectorAll("button");
  const [check, power, link, share, sharing, edit, remove] = buttons;
  let stateSignature = "";
  let modelSignature = "";
  let changeSignature = "";
  /** The lines that it told, empty: one may not come again. @type {Record<string, string>} */
  let aboutLines = {};
  let servicesAt = -SERVICES_MS;
  servicesTitle.hidden = true;

  check.onclick = () =>
    busy(check, message, async () => {
      const r = await callApi("POST", backendPath(id, "check"));
      return r.ok
        ? [
            `Answers in ${formatMs(r.latency_ms)}, ${plural(r.models?.length ?? r.models ?? 0, "model")}.`,
            r.note,
          ]
            .filter(Boolean)
            .join(" ")
        : r.health.text === backend()?.health.text
          ? "Checked just now: no change."
          : `${r.health.text} ${r.health.fix}`;
    });
  power.onclick = () =>
    busy(power, message, async () => {
      const on = backend()?.enabled;
      await callApi("POST", backendPath(id, on ? "disable" : "enable"));
      return on ? "Disabled: no request goes there." : "Enabled: requests may go there.";
    });
  const onPress = (/** @type {HTMLElement} */ button, /** @type {(b:BackendView)=>void} */ run) =>
    (button.onclick = () => {
      const b = backend();
      if (b) run(b);
    });
  onPress(link, (b) => copyText(b.url, link));
  onPress(share, shareBackend);
  onPress(sharing, () => openPeersDialog(peerByBackend(id)?.id));
  onPress(edit, editBackend);
  onPress(remove, (b) => removeBackend(b, () => select(null)));

  /** @param {BackendView} b */
  const updateModels = (b) => {
    const { unused } = store.state;
    const isUnused = (/** @type {string} */ model) => unused.has(routeKey(id, model));
    const signature = JSON.stringify([b.models, b.details, b.models.filter(isUnused)]);
    if (modelSignature === (modelSignature = signature)) return;
    models.replaceChildren(
      ...b.models.slice(0, 80).map((model) => {
        const detail = isUnused(model) ? "offered, not used" : formatModelDetail(b.details[model]);
        return h(
          "button",
          { class: "link", onclick: () => select(routeKey(id, model), true) },
          h("span", { class: isUnused(model) ? "what quiet" : "what", text: displayName(model) }),
          detail && h("small", { class: "quiet", text: detail }),
        );
      }),
      ...andMore(b.models.length - 80),
    );
  };
  /** The routes of a cluster's models tell which of its services is in trouble. @param {BackendView} b */
  const updateServices = async (b) => {
    if (!isCluster(b.kind) || performance.now() - servicesAt < SERVICES_MS) return;
    servicesAt = performance.now();
    const found = b.models
      .slice(0, SERVICES_MODELS)
      .map((model) => callApi("GET", `/mesh/route?model=${encodeURIComponent(model)}`).catch(() => null));
    /** @type {Map<string, string>} */
    const troubles = new Map();
    for (const answer of await Promise.all(found))
      for (const r of /** @type {RouteLine[]} */ (answer?.routes ?? []))
        if (r.backend === id && r.place && r.tier === "last-resort") troubles.set(displayName(r.name), r.why);
    servicesTitle.hidden = !troubles.size;
    services.replaceChildren(
      ...[...troubles].map(([name, why]) =>
        h("li", {}, h("b", { text: name }), h("small", {}, ...withCode(why))),
      ),
    );
  };
  const updateChanges = () => {
    const stateChanges = history.changes.get(id) ?? [];
    const signature = `${stateChanges.length}${stateChanges[0]?.at}${Math.floor(Date.now() / 30_000)}`;
    if (changeSignature === (changeSignature = signature)) return;
    changes.replaceChildren(
      ...stateChanges.map((c) =>
        h(
          "li",
          { "data-status": c.to },
          statusGlyph(/** @type {Status} */ (c.to)),
          h(
            "span",
            {},
            h("b", { text: c.to }),
            ` ${formatDuration((Date.now() - c.at) / 1000)} ago`,
            h("small", {}, ...withCode(c.text)),
          ),
        ),
      ),
      ...(stateChanges.length
        ? []
        : [
            h("li", {
              class: "quiet",
              text: history.hasBackfill ? "None in the last hour." : "None since this page was opened.",
            }),
          ]),
    );
  };

  return {
    title: () => store.state.shown.get(id)?.name ?? id,
    kind: "Backend",
    body: [...root.children],
    update() {
      const b = backend();
      const s = store.state.shown.get(id);
      for (const button of buttons) button.hidden = !b;
      const peer = b && peerByBackend(id);
      sharing.hidden = !peer;
      share.hidden ||= !isShareable(b?.kind);
      if (!b || !s) {
        state.replaceChildren(
          h("p", {
            class: "quiet",
            text: b ? "Hidden by the filters, or not present at that moment." : "This backend was removed.",
          }),
        );
        stateSignature = "";
        return;
      }
      const past = store.state.moment !== null;
      const signature = `${s.status}${past}${s.degraded}${b.health.reason}${b.health.text}${b.health.fix}`;
      if (signature !== stateSignature) {
        stateSignature = signature;
        const label = statusLabel(s);
        const calm = label === "healthy" || past;
        const isForeign = !b.enabled && b.health.reason === OTHER_USER;
        const isOff = s.status === "disabled" && !isForeign;
        state.replaceChildren(statusBadge(label), h("span", { class: "quiet since" }));
        reason.hidden = calm;
        reason.dataset.status = label;
        reason.replaceChildren(
          h(
            "p",
            {},
            ...withCode(isOff ? "Switched off: no request goes there." : s.degraded || b.health.text),
          ),
          ...(b.health.fix && !isOff && !s.degraded
            ? [h("p", { class: "fix" }, ...withCode(b.health.fix))]
            : []),
        );
        power.classList.toggle("primary", isForeign);
        check.classList.toggle("primary", !isForeign);
        power.textContent = b.enabled ? "Disable" : isForeign ? "Use it anyway" : "Enable";
      }
      const since = state.querySelector(".since");
      if (since)
        since.textContent = past
          ? `${formatDuration(momentAge())} ago`
          : `for ${formatDuration(healthAge(b))}`;
      const r = b.requests;
      const last = (history.changes.get(id) ?? []).find((c) => c.to === "unhealthy");
      list.show({
        Type: kindLabel(b.kind),
        Address: b.url,
        Node: peer?.short ?? "",
        Ring: RING_LABELS[b.ring],
        Enabled: b.enabled ? "yes" : "no",
        Latency: formatMs(s.latency),
        Models: formatCount(b.models.length),
        "In flight": formatCount(b.in_flight),
        Slots: slotsOf(b).text,
        ...usage(r),
      });
      list.show(
        {
          "Last error":
            b.health.state === "unhealthy"
              ? b.health.text
              : last
                ? `${last.text} (${formatDuration((Date.now() - last.at) / 1000)} ago)`
                : "none seen",
        },
        true,
      );
      const { about } = b;
      list.show({ ...aboutLines, ...about });
      aboutLines = Object.fromEntries(Object.keys(about).map((label) => [label, ""]));
      list.show({ Warning: b.warnings.join(" ") }, true);
      list.show({ Found: b.source === "found" ? "by itself, on this machine" : "added by you" });
      drawPlot(canvas, history.latencies(id, PLOT_STEPS));
      updateModels(b);
      void updateServices(b);
      updateChanges();
    },
  };
}
