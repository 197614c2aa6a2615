/** One of this machine's models: what it needs, and what can be done with it. Its words are in index.html. */
import { callApi, errorText } from "../core/api.js";
import { h, fromTemplate, markEngine, setText, pick } from "../chrome/dom.js";
import { LOCAL_ID, activityText, fitText, freeText, isInMemory, stateText } from "../core/local_models.js";
import { routeKey } from "../core/mesh.js";
import { busy, facts, setWhy } from "./parts.js";
import { displayName, formatBytes, formatCount, formatMs, joined } from "../core/format.js";

/** What its button says; where it does not load, it unloads. @type {Partial<Record<LocalModel["state"], string>>} */
const ACTS = {
  "on-disk": "Load",
  failed: "Try again",
  waiting: "Stop",
  loading: "Stop",
  ready: "Unload",
  draining: "Unload now",
};

/** @param {PanelContext} context @param {string} id @param {ReturnType<typeof facts>} [sheet] the list of the panel that it has of its own */
export function localModel({ store, select }, id, sheet) {
  const el = fromTemplate("local-model");
  const [head, act, more, reason, message, keep, log, place, remove, confirmation] = pick(
    el,
    ".link .act .more .reason .message [name=keep] .log .place .remove .problem",
  );
  const isAlone = sheet !== undefined;
  const list = sheet ?? facts(el.querySelector("dl"));
  sheet?.el.after(log);
  const [stay, really] = confirmation.querySelectorAll("button");
  const lines = log.querySelector("pre");
  const query = `?model=${encodeURIComponent(id)}`;
  const name = displayName(id);
  setText(head.querySelector("b"), name);
  el.classList.toggle("alone", isAlone);
  place.hidden = isAlone;
  more.hidden = !isAlone;
  /** @type {LocalModel|undefined} */
  let model;

  head.onclick = () => {
    more.hidden = !more.hidden;
    head.ariaExpanded = !more.hidden;
    update();
  };
  act.onclick = async () => {
    const state = model?.state ?? "";
    const verb = ["on-disk", "failed"].includes(state) ? "load" : "unload";
    const body = { model: id, force: verb !== "load" && state !== "ready" };
    const isDone = await busy(act, message, () => callApi("POST", `/mesh/models/${verb}`, body));
    // What went wrong stands inside.
    if (!isDone && more.hidden) head.click();
  };
  keep.onchange = async () => {
    const wanted = keep.checked;
    const ask = () => callApi("PATCH", "/mesh/models", { model: id, keep: wanted });
    if (!(await busy(keep, message, ask))) keep.checked = !wanted;
  };
  log.ontoggle = async () => {
    if (!log.open) return;
    try {
      const found = (await callApi("GET", `/mesh/models/log${query}`)).lines.join("\n");
      setText(lines, found || "Its engine has written nothing yet.");
    } catch (error) {
      setText(lines, errorText(error));
    }
  };
  place.onclick = () => select(routeKey(LOCAL_ID, id), true);
  remove.onclick = () => ((confirmation.hidden = false), stay.focus());
  stay.onclick = () => ((confirmation.hidden = true), remove.focus());
  really.onclick = async () => {
    const isGone = await busy(really, message, () => callApi("DELETE", `/mesh/models${query}`));
    if (isAlone && isGone) select(`b:${LOCAL_ID}`);
  };

  function update() {
    const { local } = store.state;
    model = local?.models.get(id);
    el.hidden = !local || !model;
    if (!local || !model) return;
    const { state, size_bytes, need_bytes, fits, context, context_max } = model;
    const isIn = isInMemory(model);
    const isFailed = state === "failed";
    const activity = activityText(model, local.at);
    markEngine(head, model);
    setText(
      head.querySelector("small"),
      joined(
        stateText(model),
        !isFailed && formatBytes(isIn ? need_bytes : size_bytes),
        state === "on-disk" && fits !== "now" && fitText(fits),
        isFailed && model.reason && displayName(model.reason.text),
        isIn && activity,
      ),
    );
    const label = ACTS[state] ?? "";
    act.hidden = !label;
    setText(act, label);
    act.ariaLabel = `${label} ${name}`;
    if (!isAlone && more.hidden) return;
    setWhy(reason, model.reason, isFailed);
    if (!keep.disabled) keep.checked = model.keep;
    list.show({ State: joined(stateText(model), activity) });
    const { budget_bytes: budget } = local.memory;
    list.show({
      Memory: isIn
        ? `takes ${formatBytes(need_bytes)}`
        : `needs ${formatBytes(need_bytes)}; ${freeText(local.memory)} of ${formatBytes(budget)} free: ${fitText(fits, Math.max(0, need_bytes - budget))}`,
      Runner: model.runner || "none can run it here",
      Context: context
        ? `${formatCount(context)}${context_max > context ? ` of ${formatCount(context_max)}` : ""} tokens`
        : "",
      Quantisation: model.quantization,
      Parameters: model.parameters,
      Architecture: model.architecture,
      Purpose: joined(model.purpose !== "chat" && model.purpose, model.sees_images && "reads images"),
      "On disk": formatBytes(size_bytes),
      "Found in": local.stores.find((s) => s.store === model?.store)?.label ?? model.store,
      "Last load": model.load_s ? formatMs(1000 * model.load_s) : "",
    });
    remove.hidden = !model.can_delete;
    setText(confirmation.querySelector("b"), formatBytes(size_bytes));
  }
  return { el, update };
}

/** The buttons that load and unload a model where another backend keeps it. @param {string} path of its models @param {string} model @param {HTMLElement} message */
export const foreignButtons = (path, model, message) =>
  [
    ["Load", "It is loaded, or being loaded."],
    ["Unload", "Unloaded: its memory is free."],
  ].map(([label, said]) => {
    const button = h("button", {}, label);
    const ask = () => callApi("POST", `${path}/${label.toLowerCase()}`, { model });
    button.onclick = () => busy(button, message, async () => (await ask(), said));
    return button;
  });
