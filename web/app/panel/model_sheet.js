/** The panel of a model. */
import { backendPath, callApi, errorText } from "../core/api.js";
import { $, statusBadge, copyText, h, fromTemplate, withCode, pick } from "../chrome/dom.js";
import { busy, facts, linkTo, linksTo, usage } from "./parts.js";
import { openApps, openTry } from "../chrome/open.js";
import { openPeersDialog, peerByBackend } from "../dialogs/peers.js";
import { backendOf, modelOf } from "../map/selection.js";
import { LOCAL_ID } from "../core/local_models.js";
import { patternOf, withAlso } from "../core/rules.js";
import { queueDetails } from "../core/slots.js";
import { displayName, formatCount, formatModelDetail, joined, loadedWords } from "../core/format.js";

/** @param {PanelContext} context @param {string} key @returns {PanelSheet} */
export function modelSheet(context, key) {
  const { store, select } = context;
  const id = backendOf(key);
  const model = modelOf(key);
  const root = fromTemplate("model-sheet");
  const [state, owner, others, policy, route, message, offersTitle, offers] = pick(
    root,
    ".state .owner .others .quiet .route .message .offers-title .offers",
  );
  const offersMessage = offers.nextElementSibling;
  const list = facts(root.querySelector("dl"));
  const [ask, copyId, apps] = root.querySelectorAll("button");
  let signature = "";
  /** @type {RouteLine[]} */
  let lines = [];
  const engine = root.querySelector(".engine");
  /** @type {ReturnType<typeof import("./local_model.js").localModel>|null} */
  let own = null;

  /** The buttons of this machine's models, or of a backend that loads and unloads: their code comes when it is wanted. */
  const loadButtons = async () => {
    if (id !== LOCAL_ID && !store.state.mesh?.backends.get(id)?.can_load) return;
    const { foreignButtons, localModel } = await import("./local_model.js");
    if (id === LOCAL_ID) {
      own = localModel(context, model, list);
      engine.append(own.el);
      own.update();
    } else copyId.after(...foreignButtons(backendPath(id, "models"), model, message));
  };

  ask.onclick = () => openTry(id ? `${id}/${model}` : model);
  copyId.onclick = () => copyText(model, copyId);
  apps.onclick = () => openApps(model);
  const explain = async () => {
    try {
      const explanation = await callApi("GET", `/mesh/route?model=${encodeURIComponent(model)}`);
      lines = explanation.routes;
      const offering = offeredBy();
      route.replaceChildren(
        ...lines
          .filter((r) => !offering.includes(r.backend))
          .map((r, i) =>
            h(
              "li",
              {},
              h("b", { text: displayName(r.name) }),
              i === 0 && explanation.answers
                ? h("span", {
                    class: "picked",
                    "data-status": "healthy",
                    text: explanation.instead
                      ? `answers with ${displayName(explanation.instead)}`
                      : "answers",
                  })
                : r.tier === "last-resort" &&
                    h("span", { class: "picked", "data-status": "unhealthy", text: "last resort" }),
              h("small", {}, ...withCode(r.why)),
              h(
                "small",
                {},
                joined(loadedWords(r.loaded), r.context && `${formatCount(r.context)} tokens of context`),
              ),
            ),
          ),
      );
      drawOffers();
      const fallback = explanation.fallback ? ` · fallback: ${explanation.fallback}` : "";
      policy.textContent = `Policy: ${explanation.policy}${fallback}`;
    } catch (error) {
      route.replaceChildren(h("li", { class: "quiet" }, ...withCode(errorText(error))));
    }
  };
  const offeredBy = () => store.state.mesh?.offered.get(model) ?? [];
  /** Use a backend for this model, which only offers it. @param {string} backend @param {PeerView} [peer] */
  const use = async (backend, peer) => {
    if (peer?.use) {
      const { use: only } = peer;
      await callApi("PATCH", `/mesh/peers/${peer.id}`, { use: [...only, patternOf(model)] });
    } else {
      const { rules } = (await callApi("GET", "/mesh/settings")).routing;
      await callApi("PATCH", "/mesh/settings", { routing: { rules: withAlso(rules, model, backend) } });
    }
    return `${displayName(store.state.mesh?.backends.get(backend)?.name ?? backend)} is used for it, too.`;
  };
  /** What had it may be gone. */
  const keepFocus = () => {
    if (document.activeElement === document.body) $("panel-title")?.focus({ preventScroll: true });
  };
  const drawOffers = () => {
    const { shown } = store.state;
    const hadFocus = offers.contains(document.activeElement);
    const offering = offeredBy().flatMap((one) => shown.get(one) ?? []);
    offersTitle.hidden = !offering.length;
    offers.replaceChildren(
      ...offering.map((one) => {
        const peer = peerByBackend(one.id);
        const button = h("button", {}, "Use it");
        button.onclick = async () => {
          await busy(button, offersMessage, () => use(one.id, peer));
          keepFocus();
        };
        // How it is done by hand is what the button does.
        const why = lines.find((line) => line.backend === one.id)?.why.split(" To use both:")[0];
        return h(
          "li",
          {},
          linkTo(one, select),
          h("small", { class: "quiet" }, ...withCode(why ?? "")),
          h(
            "div",
            { class: "row" },
            button,
            peer && h("button", { onclick: () => openPeersDialog(peer.id) }, "Choose its models …"),
          ),
        );
      }),
    );
    if (hadFocus) keepFocus();
  };

  void explain();
  loadButtons().catch(() => {});

  return {
    title: () => displayName(model),
    kind: "Model",
    body: [...root.children],
    update() {
      const { mesh, shown, servers, unused } = store.state;
      const view = mesh?.models.get(model);
      const backend = shown.get(id);
      const stats = view?.requests;
      own?.update();
      list.show({
        "Model id": model,
        Details: formatModelDetail(mesh?.backends.get(id)?.details?.[model]),
        Waiting: queueDetails(view),
        Requests: "none yet",
        ...(stats && usage(stats)),
        "Here now": mesh?.inFlightByRoute.get(key) ? `${mesh.inFlightByRoute.get(key)} in flight` : "",
      });
      const ids = servers.get(model) ?? [];
      const now = [...ids, "", ...offeredBy()]
        .map((b) => {
          const detail = mesh?.backends.get(b)?.details[model];
          return `${b}${shown.get(b)?.status}${shown.get(b)?.latency}${detail?.loaded}`;
        })
        .join();
      if (now === signature) return;
      const first = signature === "";
      signature = now;
      state.replaceChildren(
        ...(backend ? [statusBadge(backend.status)] : []),
        unused.has(key) ? h("span", { class: "quiet", text: "offered here, not used" }) : "",
      );
      owner.replaceChildren(...(backend ? [linkTo(backend, select)] : []));
      const rest = ids
        .filter((b) => b !== id)
        .map((b) => shown.get(b))
        .filter((b) => b !== undefined);
      others.replaceChildren(
        ...(rest.length
          ? linksTo(rest, select)
          : [
              h("p", {
                class: "quiet",
                text: unused.has(key)
                  ? "No backend is used for this model."
                  : "No other backend: if this one is down, so is the model.",
              }),
            ]),
      );
      drawOffers();
      if (!first) void explain();
    },
  };
}
