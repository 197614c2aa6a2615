/** Adding, editing and removing a backend. The service connects before it saves. */
import { ApiError, backendPath, callApi, errorText } from "../core/api.js";
import {
  $,
  setText,
  setTexts,
  h,
  fromTemplate,
  setTextWithCode,
  withCode,
  pick,
  outsideLink,
} from "../chrome/dom.js";
import { KINDS, kindGroups } from "../core/kinds.js";
import { shareContent } from "./share.js";
import { displayName, hostOf, originOf } from "../core/format.js";

export const addBackend = () => void openBackendForm(null);
/** Any server of OpenAI's form, by its address. */
export const addServer = () =>
  void openBackendForm(null, /** @type {any} */ ({ kind: "openai-compatible" }), "");
/** @param {BackendView} backend */
export const editBackend = (backend) => void openBackendForm(backend);
/** Fill in the dialog from what may be anybody's. @param {DeepLink} link @param {string} [from] */
export const addFromLink = (link, from = "From a link") =>
  void (KINDS.has(link.kind) && openBackendForm(null, link, from));
/** @param {BackendView} backend */
export const shareBackend = (backend) =>
  void openDialog(
    [
      h("h2", { text: `Share ${displayName(backend.name)}` }),
      ...shareContent(backend),
      h("div", { class: "row end" }, h("button", { class: "close" }, "Close")),
    ],
    "Share a backend",
  );

/** @param {Node[]} content @param {string} label */
export function openDialog(content, label) {
  const dialog = $("dialog");
  dialog.ariaLabel = label;
  dialog.replaceChildren(...content);
  for (const el of dialog.querySelectorAll(".close")) el.onclick = closeDialog;
  if (!dialog.open) dialog.showModal();
}

export const closeDialog = () => $("dialog").close();

/** @param {BackendView|null} old @param {DeepLink} [link] @param {string} [from] */
function openBackendForm(old, link, from) {
  /** @type {Record<string, any>} */
  const before = old ?? link ?? {};
  const submitLabel = old ? "Connect and save" : "Connect and add";
  const node = fromTemplate("backend-form");
  const [status, note, fields, own, shared, problem, end] = pick(
    node,
    "[role] .problem .fields .own .shared #form-problem .end",
  );
  const [share, , submit] = end.children;
  const [kindSelect, ring] = node.querySelectorAll("select");
  openDialog([node], old ? "Edit a backend" : "Add a backend");
  setTexts(node, { h2: old ? `Edit ${displayName(old.name)}` : "Add a backend", ".primary": submitLabel });
  if (from) note.textContent = `${from}: check the address before you connect.`;
  else note.remove();

  const option = (/** @type {Kind} */ k) =>
    h("option", { value: k.kind, selected: k.kind === (before.kind ?? "ollama") }, k.label);
  const known = KINDS.get(before.kind ?? "");
  const groups = kindGroups();
  kindSelect.append(
    ...(old && !groups.some((g) => known && g.kinds.includes(known))
      ? [h("option", { value: old.kind, selected: true }, known?.label ?? old.kind)]
      : []),
    ...groups.map((g) => h("optgroup", { label: g.title }, ...g.kinds.map(option))),
  );
  kindSelect.disabled = Boolean(old);
  if (old) {
    ring.options[0].remove();
    ring.value = old.ring;
  }
  $("f-name").value = displayName(before.name?.slice(0, 80) ?? " ").replace("(no name)", "");
  const common = [...own.children];
  for (const input of inputs(own)) input.value = String(before[input.name] ?? "");

  /** @param {Field} field */
  const row = (field) => {
    const { name, is_secret, hint } = field;
    const kept = name === "models" ? before.given_models : before[name];
    const isCheckbox = field.default === "true" || field.default === "false";
    const defaultValue =
      name === "url" ? KINDS.get(kindSelect.value)?.default_url : isCheckbox ? "" : field.default;
    const input = h("input", {
      id: `f-${name}`,
      name,
      type: isCheckbox ? "checkbox" : is_secret ? "password" : "text",
      required: field.required && !defaultValue && !isCheckbox && !(old && is_secret),
      checked: isCheckbox && (kept ?? field.default === "true"),
      inputmode: name === "url" ? "url" : null,
      spellcheck: "false",
      autocomplete: is_secret ? "new-password" : "off",
      placeholder: old && is_secret ? "unchanged" : defaultValue || field.placeholder || null,
      "aria-describedby": hint ? `h-${name}` : null,
    });
    if (kept !== undefined && !isCheckbox && !is_secret) input.value = String(kept);
    const page = /^Made at (\S+)\.$/.exec(hint ?? "")?.[1];
    return h(
      "div",
      { class: "field" },
      h("label", { for: input.id, text: field.label }),
      input,
      hint &&
        h("small", { id: `h-${name}` }, ...(page ? ["Made at ", outsideLink(page), "."] : withCode(hint))),
    );
  };
  /** A key that is kept is for the address that it was given for: another one wants its own in the same save. */
  const hasMoved = () => Boolean(old) && originOf($("f-url")?.value || old?.url) !== originOf(old?.url ?? "");
  const updateKey = () => {
    const input = $("f-api_key");
    if (!old || !input) return;
    const field = KINDS.get(kindSelect.value)?.fields.find((f) => f.name === "api_key");
    const moved = hasMoved();
    input.required = moved && Boolean(field?.required);
    input.placeholder = moved ? (field?.required ? "" : "none") : "unchanged";
    const hint = $("h-moved");
    hint.hidden = !moved;
    if (moved)
      setText(
        hint,
        `A key for ${hostOf(old.url)} is not sent to ${hostOf($("f-url").value)}: give that one’s key here${field?.required ? "" : ", or leave this empty if it needs none"}.`,
      );
  };
  const draw = () => {
    const kind = KINDS.get(kindSelect.value);
    const entered = inputs(fields).map((i) => [i.name, i.value]);
    const names = kind?.fields.map((f) => f.name) ?? [];
    fields.replaceChildren(...(kind?.fields ?? []).map(row));
    own.replaceChildren(...common.filter((one) => !names.includes(one.querySelector("input").name)));
    for (const [name, value] of entered) {
      const input = $(`f-${name}`);
      if (value && input && input.type !== "checkbox") input.value = value;
    }
    if (old && $("f-api_key"))
      $("f-api_key").after(h("small", { id: "h-moved", role: "status", hidden: true }));
    setTexts(node, {
      "#h-kind": kind?.about ?? "",
      "[role]": "Meshlight connects first and saves only what answers.",
    });
    problem.hidden = true;
    shared.replaceChildren();
  };
  const [anyway, off] = problem.querySelectorAll("button");
  anyway.onclick = () => send({ save_anyway: true });
  off.onclick = () => send({ save_anyway: true, enabled: false });
  kindSelect.onchange = draw;
  share.onclick = () => {
    const { url = KINDS.get(kindSelect.value)?.default_url, name, access_key } = collect(node, null);
    if (url) shared.replaceChildren(...shareContent({ kind: kindSelect.value, url, name, access_key }));
    else node.reportValidity();
  };

  /** @param {Record<string, unknown>} [more] */
  const send = async (more) => {
    const data = { ...collect(node, old), ...more };
    if (hasMoved() && $("f-api_key")) data.api_key ??= "";
    submit.disabled = true;
    submit.textContent = "Connecting …";
    status.textContent = `Connecting to ${hostOf(String(data.url || before.url || KINDS.get(kindSelect.value)?.default_url))} …`;
    problem.hidden = true;
    for (const input of inputs(node)) input.removeAttribute("aria-invalid");
    try {
      await (old ? callApi("PATCH", backendPath(old.id), data) : callApi("POST", "/mesh/backends", data));
      closeDialog();
    } catch (error) {
      showProblem(error instanceof ApiError ? error : new ApiError(0, String(error), "", ""));
    } finally {
      submit.disabled = false;
      submit.textContent = submitLabel;
    }
  };
  /** Beside the field that is wrong, where one is named. @param {ApiError} e */
  const showProblem = (e) => {
    status.textContent = "Nothing was saved.";
    setTextWithCode(problem.querySelector("b"), e.message);
    setTextWithCode(problem.querySelector("p"), e.hint);
    problem.lastElementChild.hidden = e.code !== "check_failed";
    problem.hidden = false;
    const input = /** @type {HTMLInputElement|null} */ (
      e.param ? node.querySelector(`#f-${CSS.escape(e.param)}`) : null
    );
    if (input) {
      input.closest("details")?.setAttribute("open", "");
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-errormessage", problem.id);
      input.parentElement?.append(problem);
      input.focus();
    } else end.before(problem);
  };

  fields.oninput = updateKey;
  node.onsubmit = (/** @type {Event} */ e) => (e.preventDefault(), void send());
  draw();
  node.querySelector("input")?.focus();
}

/** @param {HTMLElement} form_ */
const inputs = (form_) => [...form_.querySelectorAll(/** @type {"input"} */ ("input, select"))];

const MAY_BE_EMPTIED = ["access_key", "ca_file", "proxy", "models"];

/** What was typed; for an edit only what differs. @param {HTMLFormElement} form_ @param {any} old */
function collect(form_, old) {
  /** @type {Record<string, any>} */
  const data = {};
  for (const { name, type, value: entered, checked, defaultChecked } of inputs(form_)) {
    const value = entered.trim();
    if (type === "checkbox") {
      if (old ? checked !== defaultChecked : !checked) data[name] = checked;
    } else if (
      old
        ? name !== "kind" &&
          value !== String((name === "models" ? old.given_models : old[name]) ?? "") &&
          (value || MAY_BE_EMPTIED.includes(name))
        : value
    ) {
      data[name] = type === "number" ? Number(value) : value;
    }
  }
  return data;
}

/** @param {BackendView} backend @param {()=>void} removed */
export function removeBackend(backend, removed) {
  const node = fromTemplate("backend-remove");
  const [no, yes] = node.querySelectorAll("button");
  yes.onclick = async () => {
    try {
      await callApi("DELETE", backendPath(backend.id));
      closeDialog();
      removed();
    } catch (problem) {
      setTextWithCode(node.querySelector(".error"), errorText(problem));
    }
  };
  openDialog([node], "Remove a backend");
  setTexts(node, { h2: `Remove ${displayName(backend.name)}?` });
  node.querySelectorAll("p")[backend.source === "found" ? 0 : 1].remove();
  no.focus();
}
