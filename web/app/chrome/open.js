/** Opens what is loaded at its first use: the drawer in which models are asked, the sheet for apps, and the settings. */
import { errorText, onNoKeyring } from "../core/api.js";
import { announce, loadStyle } from "./dom.js";

/** @type {PanelContext} */
let context;
/** @type {HeaderActions["changeSettings"]} */
let changeLook;
/** @type {Promise<ReturnType<typeof import("../try/drawer.js").tryDrawer>>|null} */
let drawer = null;

/** @param {PanelContext} context_ @param {HeaderActions["changeSettings"]} changeLook_ */
export function initOpeners(context_, changeLook_) {
  context = context_;
  changeLook = changeLook_;
  onNoKeyring.ask = async () => (await import("../settings/key_storage.js")).askForFile();
}

/** @param {()=>Promise<unknown>} open */
const told = (open) => open().catch((error) => announce(errorText(error)));

async function loadDrawer() {
  const [{ tryDrawer }] = await Promise.all([import("../try/drawer.js"), loadStyle("try")]);
  return tryDrawer(context);
}

/** @param {string} [model] an id, or `backend/model`; else what was chosen last, or what is best @param {string} [firstQuestion] is sent at once */
export const openTry = (model, firstQuestion) =>
  told(async () => {
    drawer ??= loadDrawer().catch((error) => {
      drawer = null;
      throw error;
    });
    (await drawer).open(model, firstQuestion);
  });

/** “Use it in your apps”. @param {string} [model] the model to set apps up with; the best for each without one */
export const openApps = (model) => told(async () => (await import("../apps/apps_sheet.js")).showApps(model));

/** @param {string} [section] its id, to begin there: machine start keys storage rings models history look updates about */
export const openSettings = (section) =>
  told(async () =>
    (await import("../settings/settings_sheet.js")).showSettings(context.store, changeLook, section),
  );
