/** The panel of a model. */
import { callApi, errorText } from "../core/api.js";
import { statusBadge, copyText, h, fromTemplate, withCode } from "../chrome/dom.js";
import { busy, facts, linkTo } from "./parts.js";
import { backendOf, modelOf } from "../map/selection.js";
import { displayName, formatCount, formatModelDetail, formatMs, formatRequests } from "../core/format.js";

/** @param {PanelContext} context @param {string} key @returns {PanelSheet} */
export function modelSheet({ store, select }, key) {
  const id = backendOf(key);
  const model = modelOf(key);
  const root = fromTemplate("model-sheet");
  const [state, owner, others, policy, route, message] = [
    ".state",
    ".owner",
    ".others",
    ".quiet",
    ".route",
    ".message",
  ].map((where) => root.querySelector(where));
  const list = facts(root.querySelector("dl"));
  const [copyRequest, copyId, test] = root.querySelectorAll("button");
  let signature = "";

  copyRequest.onclick = () => copyText(request(model), copyRequest);
  copyId.onclick = () => copyText(model, copyId);
  test.onclick = () =>
    busy(test, message, async () => {
      const [run] = (await callApi("POST", "/mesh/test", { model, count: 1 })).runs;
      const name = store.state.shown.get(run.backend)?.name ?? run.backend;
      return run.ok
        ? `${name} answered: first token after ${formatMs(run.first_token_ms)}, ${Math.round(run.tokens_per_s ?? 0)} tokens/s.`
        : String(run.error);
    });

  const explain = async () => {
    try {
      const explanation = await callApi("GET", `/mesh/route?model=${encodeURIComponent(model)}`);
      route.replaceChildren(
        ...explanation.routes.map((/** @type {any} */ r, /** @type {number} */ i) =>
          h(
            "li",
            { class: i === 0 && explanation.answers ? "first" : "" },
            h("b", { text: displayName(r.name) }),
            i === 0 && explanation.answers ? h("span", { class: "picked", text: "answers" }) : null,
            h("small", {}, ...withCode(r.why)),
          ),
        ),
      );
      policy.textContent = `Policy: ${explanation.policy}`;
    } catch (error) {
      route.replaceChildren(h("li", { class: "quiet" }, ...withCode(errorText(error))));
    }
  };
  void explain();

  return {
    title: () => displayName(model),
    kind: "Model",
    body: [...root.children],
    update() {
      const { mesh, shown, servers } = store.state;
      const view = mesh?.models.get(model);
      const backend = shown.get(id);
      const stats = view?.requests;
      list.set("Model id", model);
      list.set("Details", formatModelDetail(mesh?.backends.get(id)?.details?.[model]));
      list.set("Belongs to", backend?.name ?? id);
      list.set("Requests", stats ? formatRequests(stats) : "none yet");
      list.set("First byte", stats?.first_byte_ms ? formatMs(stats.first_byte_ms) : "");
      list.set(
        "Tokens",
        stats && stats.tokens_in + stats.tokens_out
          ? `${formatCount(stats.tokens_in)} in · ${formatCount(stats.tokens_out)} out`
          : "",
      );
      list.set(
        "Here now",
        mesh?.inFlightByRoute.get(key) ? `${mesh.inFlightByRoute.get(key)} in flight` : "",
      );
      const ids = servers.get(model) ?? [];
      const now = ids.map((b) => `${b}${shown.get(b)?.status}${shown.get(b)?.latency}`).join();
      if (now === signature) return;
      const first = signature === "";
      signature = now;
      state.replaceChildren(...(backend ? [statusBadge(backend.status)] : []));
      owner.replaceChildren(...(backend ? [linkTo(backend, select)] : []));
      const rest = ids
        .filter((b) => b !== id)
        .map((b) => shown.get(b))
        .filter((b) => b !== undefined);
      others.replaceChildren(
        ...(rest.length
          ? rest.slice(0, 60).map((b) => linkTo(b, select))
          : [h("p", { class: "quiet", text: "No other backend: if this one is down, so is the model." })]),
      );
      if (!first) void explain();
    },
  };
}

/** A request that works as it stands. @param {string} model */
const request = (model) => {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Say hello." }] });
  return [
    `curl ${location.origin}/v1/chat/completions`,
    '-H "Authorization: Bearer $(meshlight key)"',
    '-H "Content-Type: application/json"',
    `-d '${body.replaceAll("'", "'\\''")}'`,
  ].join(" \\\n  ");
};
