/** What a repository of the hub offers, and getting one of its models. The words are in index.html. */
import { callApi } from "../core/api.js";
import { h, fromTemplate, setTextWithCode, pick } from "../chrome/dom.js";
import { fitText } from "../core/local_models.js";
import { busy, fitMark, item } from "./parts.js";
import { displayName, formatBytes, joined, plural } from "../core/format.js";

export function downloadBox() {
  const el = fromTemplate("download-box");
  const [input, find, note, message] = pick(el, "input button .note .message");
  const files = el.querySelector("ul");

  el.addEventListener("submit", (/** @type {Event} */ e) => {
    e.preventDefault();
    // What stands behind the colon chooses among the files.
    const [name, quant = ""] = input.value.trim().split(/:(?=[^/]*$)/);
    files.replaceChildren();
    setTextWithCode(note, "");
    void busy(find, message, async () => {
      const found = await callApi("GET", `/mesh/models/repository?name=${encodeURIComponent(name)}`);
      setTextWithCode(note, found.note);
      const some = found.files.filter((/** @type {RepositoryFile} */ f) =>
        f.quantization.toLowerCase().startsWith(quant.toLowerCase()),
      );
      const shown = some.length ? some : found.files;
      files.replaceChildren(...shown.map(fileRow));
      return (some === shown ? "" : `No ${displayName(quant)}. `) + plural(shown.length, "model file");
    });
  });

  /** @param {RepositoryFile} file */
  const fileRow = ({ name, quantization, size_bytes, parts, fits, short_bytes, sees_images, is_here }) => {
    const label = displayName(quantization || name);
    const button = h("button", { "aria-label": `Get ${label}` }, "Get");
    button.onclick = () =>
      busy(button, message, async () => {
        await callApi("POST", "/mesh/models/pull", { name });
        return `${label} is on its way: see Downloads.`;
      });
    const about = joined(
      formatBytes(size_bytes),
      parts > 1 && plural(parts, "part"),
      sees_images && "reads images",
      " ",
    );
    return item(
      label,
      [about, fitMark(fits, fitText(fits, short_bytes))],
      is_here ? h("span", { class: "quiet", text: "is here" }) : button,
    );
  };
  return el;
}
