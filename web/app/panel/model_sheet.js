/** The panel of a model. */
import { call, said } from "../core/api.js";
import { badge, copy, h, made } from "../chrome/dom.js";
import { linkTo } from "./hub_sheets.js";
import { busy, facts } from "./panel.js";
import { backendOf, modelOf } from "../map/selection.js";
import { clean, count, detail, ms, tally } from "../core/format.js";

/** @param {App} app @param {string} key @returns {Sheet} */
export function modelSheet(app, key) {
  const id = backendOf(key);
  const model = modelOf(key);
  const root = made("model-sheet");
  const [state, home, others, policy, route, says] = [
    ".state",
    ".home",
    ".others",
    ".quiet",
    ".route",
    ".says",
  ].map((where) => root.querySelector(where));
  const list = facts(root.querySelector("dl"));
  const [copyRequest, copyId, test] = root.querySelectorAll("button");
  let sig = "";

  copyRequest.onclick = () => copy(request(model), copyRequest);
  copyId.onclick = () => copy(model, copyId);
  test.onclick = () =>
    busy(test, says, async () => {
      const [run] = (await call("POST", "/mesh/test", { model, count: 1 })).runs;
      const name = app.shown.get(run.backend)?.name ?? run.backend;
      return run.ok
        ? `${name} answered: first token after ${ms(run.first_token_ms)}, ${Math.round(run.tokens_per_s ?? 0)} tokens/s.`
        : String(run.error);
    });

  const explain = async () => {
    try {
      const told = await call("GET", `/mesh/route?model=${encodeURIComponent(model)}`);
      route.replaceChildren(
        ...told.routes.map((/** @type {any} */ r) =>
          h(
            "li",
            { class: r.backend === told.answers ? "first" : "" },
            h("b", { text: clean(r.name) }),
            r.backend === told.answers ? h("span", { class: "pick", text: "answers" }) : null,
            h("small", { text: r.why }),
          ),
        ),
      );
      policy.textContent = `Policy: ${told.policy}`;
    } catch (error) {
      route.replaceChildren(h("li", { class: "quiet", text: said(error) }));
    }
  };
  void explain();

  return {
    title: () => clean(model),
    kind: "Model",
    body: [...root.children],
    update() {
      const view = app.mesh?.models.get(model);
      const here = app.shown.get(id);
      const work = view?.requests;
      list.set("Model id", model);
      list.set("Details", detail(app.mesh?.backends.get(id)?.details?.[model]));
      list.set("Belongs to", here?.name ?? id);
      list.set("Requests", work ? tally(work) : "none yet");
      list.set("First byte", work?.first_byte_ms ? ms(work.first_byte_ms) : "");
      list.set(
        "Tokens",
        work && work.tokens_in + work.tokens_out
          ? `${count(work.tokens_in)} in · ${count(work.tokens_out)} out`
          : "",
      );
      list.set("Here now", app.mesh?.busy.get(key) ? `${app.mesh.busy.get(key)} in flight` : "");
      const ids = app.servers.get(model) ?? [];
      const now = ids.map((b) => `${b}${app.shown.get(b)?.look}${app.shown.get(b)?.latency}`).join();
      if (now === sig) return;
      const first = sig === "";
      sig = now;
      state.replaceChildren(...(here ? [badge(here.look)] : []));
      home.replaceChildren(...(here ? [linkTo(app, here)] : []));
      const rest = ids
        .filter((b) => b !== id)
        .map((b) => app.shown.get(b))
        .filter((b) => b !== undefined);
      others.replaceChildren(
        ...(rest.length
          ? rest.slice(0, 60).map((b) => linkTo(app, b))
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
