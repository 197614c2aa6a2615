/** A cloud by its key alone: the letters that it begins with tell whose it is. */
import { fromTemplate, h, outsideLink, pick } from "../chrome/dom.js";
import { callApi } from "../core/api.js";
import { plural } from "../core/format.js";
import { busy } from "../panel/parts.js";

/** The one with the longest matching beginning; a key with OpenAI's mark in it is OpenAI's. @param {KeyProvider[]} providers @param {string} key */
export const providerOf = (providers, key) =>
  providers.find((p) => p.prefixes.some((prefix) => key.startsWith(prefix))) ??
  (key.startsWith("sk-") && key.includes("T3BlbkFJ")
    ? providers.find((p) => p.kind === "openai")
    : undefined);

/** @param {WelcomeDeps} deps */
export function cloudKey({ view }) {
  const { providers } = view;
  const root = fromTemplate("cloud-key");
  const [key, whose, said, message, submit, links] = pick(
    root,
    "#w-key select #w-whose .message .primary .quiet",
  );
  whose.append(...providers.map((p, i) => h("option", { value: String(i) }, p.label)));
  const chosen = () => (whose.value === "" ? undefined : providers[Number(whose.value)]);
  const tell = () => {
    const provider = chosen();
    const { nothing, unknown } = said.dataset;
    said.replaceChildren(
      ...(provider
        ? ["The key is sent to ", h("b", { text: provider.host }), ", and nowhere else."]
        : [key.value ? unknown : nothing]),
    );
  };
  key.oninput = () => {
    const provider = providerOf(providers, key.value.trim());
    whose.value = provider ? String(providers.indexOf(provider)) : "";
    tell();
  };
  whose.onchange = tell;
  root.querySelector("form").onsubmit = (/** @type {Event} */ e) => {
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
  links.append(...providers.flatMap((p, i) => [i ? " · " : " ", outsideLink(p.key_page, p.label)]));
  return { title: "A cloud key", nodes: [...root.children] };
}
