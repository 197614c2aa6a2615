/** Opens the settings, whose code is loaded then. */
import { onNoKeyring } from "../core/api.js";

/** @type {[Store<AppState>, HeaderActions["changeSettings"]]} */
let deps;

/** @param {Store<AppState>} store @param {HeaderActions["changeSettings"]} changeLook */
export function initSettings(store, changeLook) {
  deps = [store, changeLook];
  onNoKeyring.ask = async () => (await import("./key_storage.js")).askForFile();
}

/** @param {string} [section] its id, to begin there: machine start keys storage rings models history look updates about */
export const openSettings = async (section) =>
  (await import("./settings_sheet.js")).showSettings(...deps, section);
