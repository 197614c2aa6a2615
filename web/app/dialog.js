/** Adding, editing and removing a backend. The service connects before it saves. */
import { ApiError, backendPath, call, said } from "./api.js";
import { $, fill, h, made } from "./dom.js";
import { KINDS, grouped } from "./kinds.js";
import { sharing } from "./share.js";
import { clean, host } from "./text.js";

export const addBackend = () => void form(null);
/** @param {BackendView} backend */
export const editBackend = (backend) => void form(backend);
/** Fill in the dialog from what may be anybody's. @param {Link} link @param {string} [from] */
export const addFromLink = (link, from = "From a link") => void (KINDS.has(link.kind) && form(null, link, from));
/** @param {BackendView} backend */
export const shareBackend = (backend) => void open([h("h2", { text: `Share ${clean(backend.name)}` }), ...sharing(backend),
  h("div", { class: "row end" }, h("button", { onclick: close }, "Close"))], "Share a backend");

/** @param {Node[]} content @param {string} label */
export function open(content, label) {
  const dialog = $("dialog");
  dialog.setAttribute("aria-label", label);
  dialog.replaceChildren(...content);
  if (!dialog.open) dialog.showModal();
}

export const close = () => $("dialog").close();

/** @param {BackendView|null} old @param {Link} [link] @param {string} [from] */
function form(old, link, from) {
  /** @type {Record<string, any>} */
  const before = old ?? link ?? {};
  const verb = old ? "Connect and save" : "Connect and add";
  const node = made("backend-form");
  const [says, note, fields, own, shared, trouble, end] = ["[role]", ".trouble", ".fields", ".own", ".shared", "#trouble", ".end"].map((where) => node.querySelector(where));
  const [share, cancel, submit] = end.children;
  const [pick, ring] = node.querySelectorAll("select");
  open([node], old ? "Edit a backend" : "Add a backend");
  fill(node, { h2: old ? `Edit ${clean(old.name)}` : "Add a backend", ".primary": verb });
  if (link) note.textContent = `${from}: check the address before you connect.`;
  else note.remove();

  const option = (/** @type {Kind} */ k) => h("option", { value: k.kind, selected: k.kind === (before.kind ?? "ollama") }, k.label);
  const known = KINDS.get(before.kind ?? "");
  const groups = grouped();
  pick.append(...(old && !groups.some((g) => known && g.kinds.includes(known)) ? [h("option", { value: old.kind, selected: true }, known?.label ?? old.kind)] : []),
    ...groups.map((g) => h("optgroup", { label: g.title }, ...g.kinds.map(option))));
  pick.disabled = Boolean(old);
  if (old) {
    ring.options[0].remove();
    ring.value = old.ring;
  }
  $("f-name").value = clean(before.name?.slice(0, 80) ?? " ").replace("(no name)", "");
  const common = [...own.children];
  for (const input of inputs(own)) input.value = String(before[input.name] ?? "");

  /** @param {Field} field */
  const row = (field) => {
    const { name, is_secret, hint } = field;
    const kept = name === "models" ? before.given_models : before[name];
    const ticks = field.default === "true" || field.default === "false";
    const usual = name === "url" ? KINDS.get(pick.value)?.default_url : ticks ? "" : field.default;
    const input = h("input", {
      id: `f-${name}`, name, type: ticks ? "checkbox" : is_secret ? "password" : "text",
      required: field.required && !usual && !ticks && !(old && is_secret), checked: ticks && (kept ?? field.default === "true"),
      inputmode: name === "url" ? "url" : null, spellcheck: "false", autocomplete: is_secret ? "new-password" : "off",
      placeholder: old && is_secret ? "unchanged" : usual || field.placeholder || null, "aria-describedby": hint ? `h-${name}` : null,
    });
    if (kept !== undefined && !ticks && !is_secret) input.value = String(kept);
    return h("div", { class: "field" }, h("label", { for: input.id, text: field.label }), input, hint && h("small", { id: `h-${name}`, text: hint }));
  };
  const draw = () => {
    const kind = KINDS.get(pick.value);
    const typed = inputs(fields).map((i) => [i.name, i.value]);
    const names = kind?.fields.map((f) => f.name) ?? [];
    fields.replaceChildren(...(kind?.fields ?? []).map(row));
    own.replaceChildren(...common.filter((one) => !names.includes(one.querySelector("input").name)));
    for (const [name, value] of typed) {
      const input = $(`f-${name}`);
      if (value && input && input.type !== "checkbox") input.value = value;
    }
    fill(node, { "#h-kind": kind?.about ?? "", "[role]": "Meshlight connects first and saves only what answers." });
    trouble.hidden = true;
    shared.replaceChildren();
  };
  const [anyway, off] = trouble.querySelectorAll("button");
  anyway.onclick = () => send({ save_anyway: true });
  off.onclick = () => send({ save_anyway: true, enabled: false });
  pick.onchange = draw;
  cancel.onclick = close;
  share.addEventListener("click", () => {
    const { url = KINDS.get(pick.value)?.default_url, name, access_key } = collect(node, null);
    if (url) shared.replaceChildren(...sharing({ kind: pick.value, url, name, access_key }));
    else node.reportValidity();
  });

  /** @param {Record<string, unknown>} [more] */
  const send = async (more) => {
    const data = { ...collect(node, old), ...more };
    submit.disabled = true;
    submit.textContent = "Connecting …";
    says.textContent = `Connecting to ${host(String(data.url || before.url || KINDS.get(pick.value)?.default_url))} …`;
    trouble.hidden = true;
    for (const input of inputs(node)) input.removeAttribute("aria-invalid");
    try {
      await (old ? call("PATCH", backendPath(old.id), data) : call("POST", "/mesh/backends", data));
      close();
    } catch (error) {
      explain(error instanceof ApiError ? error : new ApiError(0, String(error), "", ""));
    } finally {
      submit.disabled = false;
      submit.textContent = verb;
    }
  };
  /** Beside the field that is wrong, where one is named. @param {ApiError} e */
  const explain = (e) => {
    says.textContent = "Nothing was saved.";
    fill(trouble, { b: e.message, p: e.hint });
    trouble.lastElementChild.hidden = e.code !== "check_failed";
    trouble.hidden = false;
    const input = /** @type {HTMLInputElement|null} */ (e.param ? node.querySelector(`#f-${CSS.escape(e.param)}`) : null);
    if (input) {
      input.closest("details")?.setAttribute("open", "");
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-errormessage", "trouble");
      input.parentElement?.append(trouble);
      input.focus();
    } else end.before(trouble);
  };

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
  for (const { name, type, value: typed, checked, defaultChecked } of inputs(form_)) {
    const value = typed.trim();
    if (type === "checkbox") {
      if (old ? checked !== defaultChecked : !checked) data[name] = checked;
    } else if (old ? name !== "kind" && value !== String((name === "models" ? old.given_models : old[name]) ?? "") && (value || MAY_BE_EMPTIED.includes(name)) : value) {
      data[name] = type === "number" ? Number(value) : value;
    }
  }
  return data;
}

/** @param {BackendView} backend @param {()=>void} removed */
export function removeBackend(backend, removed) {
  const node = made("backend-remove");
  const [no, yes] = node.querySelectorAll("button");
  yes.addEventListener("click", async () => {
    try {
      await call("DELETE", backendPath(backend.id));
      close();
      removed();
    } catch (problem) {
      fill(node, { ".error": said(problem) });
    }
  });
  no.onclick = close;
  open([node], "Remove a backend");
  fill(node, { h2: `Remove ${clean(backend.name)}?` });
  node.querySelectorAll("p")[backend.source === "found" ? 0 : 1].remove();
  no.focus();
}
