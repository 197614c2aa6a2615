/** A cloud by its key alone: the letters that it begins with tell whose it is. */
import { h } from "../chrome/dom.js";
import { callApi } from "../core/api.js";
import { plural } from "../core/format.js";
import { busy } from "../panel/parts.js";

/** The one with the longest matching beginning; a key with OpenAI's mark in it is OpenAI's. @param {KeyProvider[]} providers @param {string} key */
export const providerOf = (providers, key) =>
  providers.find((p) => p.prefixes.some((prefix) => key.startsWith(prefix))) ??
  (key.startsWith("sk-") && key.includes("T3BlbkFJ")
    ? providers.find((p) => p.kind === "openai")
    : undefined);

/** @param {string} page without its scheme @param {string} text */
export const outsideLink = (page, text) =>
  h("a", { href: `https://${page}`, target: "_blank", rel: "noreferrer", text });

/** @param {WelcomeDeps} deps */
export function cloudKey({ view }) {
  const { providers } = view;
  const key = h("input", {
    id: "w-key",
    type: "password",
    required: true,
    autocomplete: "new-password",
    spellcheck: "false",
    "aria-describedby": "w-whose",
  });
  const whose = h("select", { id: "w-provider", required: true }, h("option", { value: "" }, "Choose …"));
  whose.append(...providers.map((p, i) => h("option", { value: String(i) }, p.label)));
  const said = h("p", { id: "w-whose", role: "status" });
  const message = h("p", { class: "message", role: "status" });
  const submit = h("button", { class: "primary", type: "submit" }, "Check and add");
  const chosen = () => (whose.value === "" ? undefined : providers[Number(whose.value)]);
  const tell = () => {
    const provider = chosen();
    said.replaceChildren(
      ...(provider
        ? ["The key is sent to ", h("b", { text: provider.host }), ", and nowhere else."]
        : key.value
          ? ["Its letters do not say whose key this is: choose."]
          : ["Nothing is sent before you press the button."]),
    );
  };
  key.oninput = () => {
    const provider = providerOf(providers, key.value.trim());
    whose.value = provider ? String(providers.indexOf(provider)) : "";
    tell();
  };
  whose.onchange = tell;
  const form = h(
    "form",
    {},
    // A browser wants to know whose it is.
    h("input", { class: "offscreen", autocomplete: "username", tabindex: "-1", "aria-hidden": "true" }),
    h("div", { class: "field" }, h("label", { for: "w-key", text: "API key" }), key),
    h("div", { class: "field" }, h("label", { for: "w-provider", text: "Provider" }), whose),
    said,
    message,
    h("div", { class: "row end" }, submit),
  );
  form.onsubmit = (e) => {
    e.preventDefault();
    const provider = chosen();
    if (!provider) return;
    const { kind, url, label } = provider;
    void busy(submit, message, async () => {
      const body = { kind, url, name: label, api_key: key.value.trim() };
      const { models } = await callApi("POST", "/mesh/backends", body);
      key.value = "";
      return `${label} answers: ${plural(models.length, "model")}.`;
    });
  };
  tell();
  const links = providers.flatMap((p) => [" · ", outsideLink(p.key_page, p.label)]).slice(1);
  return {
    title: "A cloud key",
    nodes: [form, h("p", { class: "quiet" }, "No key yet? They are made here: ", ...links)],
  };
}
