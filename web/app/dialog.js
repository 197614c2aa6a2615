/** Adding, editing and removing a backend. The service connects before it saves. */
import { ApiError, backendPath, call, said } from "./api.js";
import { $, h } from "./dom.js";
import { COMMON, KINDS, grouped } from "./kinds.js";
import { sharing } from "./share.js";
import { RINGS, RING_ORDER } from "./states.js";
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
  const fields = h("div");
  const own = h("div");
  const shared = h("div");
  const says = h("p", { class: "quiet", role: "status" });
  const trouble = h("div", { class: "trouble", "data-look": "unhealthy", role: "alert", id: "trouble", hidden: true });
  const submit = h("button", { type: "submit", class: "primary" }, verb);
  const end = h("div", { class: "row end" }, h("button", { onclick: () => share() }, "Share …"), h("button", { onclick: close }, "Cancel"), submit);

  const option = (/** @type {Kind} */ k) => h("option", { value: k.kind, selected: k.kind === (before.kind ?? "ollama") }, k.label);
  const known = KINDS.get(before.kind ?? "");
  const groups = grouped();
  const pick = h("select", { id: "f-kind", name: "kind", disabled: Boolean(old), "aria-describedby": "h-kind", onchange: () => draw() },
    ...(old && !groups.some((g) => known && g.kinds.includes(known)) ? [h("option", { value: old.kind, selected: true }, known?.label ?? old.kind)] : []),
    ...groups.map((g) => h("optgroup", { label: g.title }, ...g.kinds.map(option))));
  const ring = h("select", { id: "f-ring", name: "ring" },
    old ? null : h("option", { value: "" }, "Told from the address"),
    ...RING_ORDER.map((r) => h("option", { value: r, selected: r === old?.ring }, RINGS[r])));
  const about = h("small", { id: "h-kind" });

  /** @param {Field} field */
  const row = (field) => {
    const { name, is_secret, hint } = field;
    const kept = before[name];
    const ticks = field.default === "true" || field.default === "false";
    const usual = name === "url" ? KINDS.get(pick.value)?.default_url : ticks ? "" : field.default;
    const input = h("input", {
      id: `f-${name}`, name, type: ticks ? "checkbox" : is_secret ? "password" : field.number ? "number" : "text",
      required: field.required && !usual && !ticks && !(old && is_secret), checked: ticks && (kept ?? field.default === "true"),
      inputmode: name === "url" ? "url" : null, spellcheck: "false", autocomplete: is_secret ? "new-password" : "off", step: field.number ? "any" : null,
      placeholder: old && is_secret ? "unchanged" : usual || field.placeholder || null, "aria-describedby": hint ? `h-${name}` : null,
    });
    if (kept !== undefined && !ticks && !is_secret) input.value = String(kept);
    return labelled(field.label, input, hint);
  };
  const draw = () => {
    const kind = KINDS.get(pick.value);
    const typed = inputs(node).map((i) => [i.name, i.value]);
    const names = kind?.fields.map((f) => f.name) ?? [];
    fields.replaceChildren(...(kind?.fields ?? []).map(row));
    own.replaceChildren(...COMMON.filter((f) => !names.includes(f.name)).map(row));
    for (const [name, value] of typed) {
      const input = $(`f-${name}`);
      if (value && input?.type !== "checkbox" && input?.tagName === "INPUT") input.value = value;
    }
    about.textContent = kind?.about ?? "";
    says.textContent = "Meshlight connects first and saves only what answers.";
    trouble.hidden = true;
    shared.replaceChildren();
  };
  const share = () => {
    const { url = KINDS.get(pick.value)?.default_url, name, access_key } = collect(node, null);
    if (url) shared.replaceChildren(...sharing({ kind: pick.value, url, name, access_key }));
    else node.reportValidity();
  };

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
    const again = (/** @type {string} */ text, /** @type {Record<string, unknown>} */ more) => h("button", { onclick: () => void send(more) }, text);
    says.textContent = "Nothing was saved.";
    trouble.replaceChildren(h("b", { text: e.message }), e.hint ? h("p", { text: e.hint }) : "",
      ...(e.code === "check_failed" ? [h("div", { class: "row" }, again("Save anyway", { save_anyway: true }), again("Save switched off", { save_anyway: true, enabled: false }))] : []));
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

  const node = h("form", { onsubmit: (/** @type {Event} */ e) => (e.preventDefault(), void send()) },
    h("h2", { text: old ? `Edit ${clean(old.name)}` : "Add a backend" }), says,
    link ? h("p", { class: "trouble", "data-look": "warming", text: `${from}: check the address before you connect.` }) : null,
    h("div", { class: "field" }, h("label", { for: "f-kind", text: "Kind" }), pick, about), fields,
    labelled("Name", h("input", { id: "f-name", name: "name", maxlength: "80", value: clean(before.name?.slice(0, 80) ?? " ").replace("(no name)", ""), placeholder: "chosen for you when empty" })),
    h("details", {}, h("summary", { text: "More" }), labelled("Ring", ring, "How far a prompt travels when it goes there."), own),
    shared, trouble, end);
  open([node], old ? "Edit a backend" : "Add a backend");
  draw();
  node.querySelector("input")?.focus();
}

/** @param {HTMLElement} form_ */
const inputs = (form_) => [...form_.querySelectorAll(/** @type {"input"} */ ("input, select"))];

/** @param {string} label @param {HTMLElement} input @param {string} [hint] */
const labelled = (label, input, hint) =>
  h("div", { class: "field" }, h("label", { for: input.id, text: label }), input, hint ? h("small", { id: input.id.replace("f-", "h-"), text: hint }) : null);

/** What was typed; for an edit only what differs. @param {HTMLFormElement} form_ @param {any} old */
function collect(form_, old) {
  /** @type {Record<string, any>} */
  const data = {};
  for (const { name, type, value: typed, checked, defaultChecked } of inputs(form_)) {
    const value = typed.trim();
    if (type === "checkbox") {
      if (old ? checked !== defaultChecked : !checked) data[name] = checked;
    } else if (old ? name !== "kind" && value !== String(old[name] ?? "") && (value || name === "access_key" || name === "ca_file") : value) {
      data[name] = type === "number" ? Number(value) : value;
    }
  }
  return data;
}

/** @param {BackendView} backend @param {()=>void} removed */
export function removeBackend(backend, removed) {
  const error = h("p", { class: "error", role: "alert" });
  const yes = h("button", { class: "danger", onclick: async () => {
    try {
      await call("DELETE", backendPath(backend.id));
      close();
      removed();
    } catch (problem) {
      error.textContent = said(problem);
    }
  } }, "Remove");
  const no = h("button", { onclick: close }, "Keep it");
  open([h("h2", { text: `Remove ${clean(backend.name)}?` }),
    h("p", { text: backend.source === "found"
      ? "It was found by itself; Meshlight will ignore it from now on. The server itself keeps running."
      : "Meshlight forgets its address and its key. The server itself keeps running." }),
    error, h("div", { class: "row end" }, no, yes)], "Remove a backend");
  no.focus();
}
