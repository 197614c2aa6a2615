/** Asked once, where there is no keyring: may keys be kept in a file? */
import { callApi } from "../core/api.js";
import { h } from "../chrome/dom.js";

/** @returns {Promise<boolean>} whether what needed the keyring can be tried again */
export async function askForFile() {
  const { asks_key_storage } = await callApi("GET", "/mesh/settings");
  if (!asks_key_storage) return false;
  const { file } = await callApi("GET", "/mesh/settings/keyring");
  const chosen = await new Promise((done) => {
    const choose = (/** @type {string} */ value) => () => dialog.close(value);
    const dialog = h(
      "dialog",
      { "aria-labelledby": "k-title", onclose: () => (done(dialog.returnValue), dialog.remove()) },
      h("h2", { id: "k-title", text: "Keep keys in a file only you can read?" }),
      h("p", {
        text: "This machine has no keyring, in which keys of clouds and servers are kept otherwise. The file would be",
      }),
      h("p", {}, h("code", { text: file })),
      h("p", { class: "quiet", text: "Your backups may contain it. You can change this in Settings." }),
      h(
        "div",
        { class: "row end" },
        h("button", { onclick: choose("keyring") }, "No"),
        h("button", { class: "primary", onclick: choose("file") }, "Keep them in a file"),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
  if (chosen) await callApi("PATCH", "/mesh/settings", { key_storage: chosen });
  return chosen === "file";
}
