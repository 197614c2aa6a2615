/** Asked once, where there is no keyring: may keys be kept in a file? */
import { callApi } from "../core/api.js";
import { fromTemplate } from "../chrome/dom.js";

/** @returns {Promise<boolean>} whether what needed the keyring can be tried again */
export async function askForFile() {
  const { asks_key_storage } = await callApi("GET", "/mesh/settings");
  if (!asks_key_storage) return false;
  const { file } = await callApi("GET", "/mesh/settings/keyring");
  const chosen = await new Promise((done) => {
    const dialog = fromTemplate("key-storage");
    dialog.querySelector("code").textContent = file;
    dialog.onclose = () => (done(dialog.returnValue), dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  });
  if (chosen) await callApi("PATCH", "/mesh/settings", { key_storage: chosen });
  return chosen === "file";
}
