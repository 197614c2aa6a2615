/** Adding, editing and removing a backend. The service connects before it saves. */
import { ApiError, backendPath, call } from "./api.js";
import { $, h } from "./dom.js";
import { COMMON, KINDS } from "./kinds.js";
import { RINGS, RING_ORDER } from "./states.js";
import { clean } from "./text.js";

/** Open the dialog for a new backend. */
export const addBackend = () => form(null);
/** @param {BackendView} backend */
export const editBackend = (backend) => form(backend);

/** @param {Node[]} content @param {string} label */
function open(content, label) {
  const dialog = $("dialog");
  dialog.setAttribute("aria-label", label);
  dialog.replaceChildren(...content);
  if (!dialog.open) dialog.showModal();
  return dialog;
}

const close = () => $("dialog").close();

/** @param {BackendView|null} old */
function form(old) {
  const kinds = Object.entries(KINDS).filter(([name, kind]) => kind.addable || name === old?.kind);
  const fields = h("div", { class: "fields" });
  const more = h("details", {}, h("summary", { text: "More" }));
  const trouble = h("div", { class: "trouble", "data-look": "unhealthy", role: "alert", hidden: true });
  const submit = h("button", { type: "submit", class: "primary" }, old ? "Connect and save" : "Connect and add");
  let anyway = false;
  let ringChosen = Boolean(old);

  const pick = h("select", { id: "f-kind", name: "kind", disabled: Boolean(old), onchange: () => draw() },
    ...kinds.map(([name, kind]) => h("option", { value: name, selected: name === (old?.kind ?? "ollama") }, kind.about ? `${kind.label} (${kind.about})` : kind.label)));
  const ring = h("select", { id: "f-ring", name: "ring", onchange: () => (ringChosen = true) },
    ...RING_ORDER.map((r) => h("option", { value: r, selected: r === old?.ring }, RINGS[r])));
  const name = h("input", { id: "f-name", name: "name", maxlength: "200", value: old?.name ?? "", placeholder: "chosen for you when empty" });

  /** @param {Field} field */
  const row = (field) => {
    const input = h("input", {
      id: `f-${field.name}`, name: field.name, type: field.type === "url" ? "text" : field.type, required: field.required,
      inputmode: field.type === "url" ? "url" : null, spellcheck: "false", autocomplete: "off", step: field.type === "number" ? "any" : null,
      placeholder: field.name === "api_key" && old ? "unchanged" : field.placeholder ?? null, "aria-describedby": field.hint ? `h-${field.name}` : null,
    });
    const before = old && field.type !== "password" ? /** @type {any} */ (old)[field.name] : undefined;
    if (before !== undefined) input.value = String(before);
    return labelled(field.label, input, field.hint);
  };
  const draw = () => {
    const kind = KINDS[pick.value];
    const typed = new Map([...fields.querySelectorAll("input")].map((i) => [i.name, i.value]));
    fields.replaceChildren(...kind.fields.map(row));
    for (const input of fields.querySelectorAll("input")) if (typed.get(input.name)) input.value = typed.get(input.name) ?? "";
    if (!ringChosen) ring.value = kind.ring;
    trouble.hidden = true;
  };
  more.append(labelled("Ring", ring, "How far a prompt travels when it goes there."), ...COMMON.map(row));

  const send = async () => {
    const data = collect(node, old);
    if (!old && !ringChosen) delete data.ring;
    if (anyway) data.save_anyway = true;
    submit.disabled = true;
    submit.textContent = "Connecting …";
    trouble.hidden = true;
    try {
      await (old ? call("PATCH", backendPath(old.id), data) : call("POST", "/mesh/backends", data));
      close();
    } catch (error) {
      explain(error);
    } finally {
      submit.disabled = false;
      submit.textContent = old ? "Connect and save" : "Connect and add";
      anyway = false;
    }
  };
  const explain = (/** @type {unknown} */ error) => {
    const e = error instanceof ApiError ? error : new ApiError(0, String(error), "", "");
    const save = e.status === 422 && e.code === "check_failed"
      ? h("button", { onclick: () => ((anyway = true), void send()) }, "Save anyway") : null;
    trouble.replaceChildren(h("b", { text: e.message }), e.hint ? h("p", { text: e.hint }) : "", save ?? "");
    trouble.hidden = false;
  };

  const node = h("form", { onsubmit: (/** @type {Event} */ e) => (e.preventDefault(), void send()) },
    h("h2", { text: old ? `Edit ${clean(old.name)}` : "Add a backend" }),
    h("p", { class: "quiet", text: "Meshlight connects first and saves only what answers." }),
    labelled("Kind", pick), fields, labelled("Name", name), more, trouble,
    h("div", { class: "row end" }, h("button", { onclick: close }, "Cancel"), submit));
  draw();
  open([node], old ? "Edit a backend" : "Add a backend");
  (/** @type {HTMLElement|null} */ (fields.querySelector("input")) ?? name).focus();
}

/** @param {string} label @param {HTMLElement} input @param {string} [hint] */
const labelled = (label, input, hint) =>
  h("div", { class: "field" }, h("label", { for: input.id, text: label }), input, hint ? h("small", { id: input.id.replace("f-", "h-"), text: hint }) : "");

/** What was typed; for an edit only what differs. @param {HTMLFormElement} form_ @param {any} old */
function collect(form_, old) {
  /** @type {Record<string, any>} */
  const data = {};
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (form_.querySelectorAll("input, select"))) {
    const value = input.value.trim();
    if (!value || (old && (input.name === "kind" || String(old[input.name] ?? "") === value))) continue;
    data[input.name] = input.type === "number" ? Number(value) : value;
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
      error.textContent = problem instanceof Error ? problem.message : String(problem);
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
