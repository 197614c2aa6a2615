/** Opens the settings, whose code is loaded then. */

/** @type {[Store<AppState>, HeaderActions["changeSettings"]]} */
let deps;

/** @param {Store<AppState>} store @param {HeaderActions["changeSettings"]} changeLook */
export const initSettings = (store, changeLook) => void (deps = [store, changeLook]);

/** @param {string} [section] its id, to begin there: machine start keys storage rings models history look updates about */
export const openSettings = async (section) =>
  (await import("./settings_sheet.js")).showSettings(...deps, section);
