/** Opens the drawer in which models are asked; its code and looks come at its first use. */
import { errorText } from "../core/api.js";
import { announce, loadStyle } from "./dom.js";

/** @type {PanelContext} */
let context;
/** @type {Promise<ReturnType<typeof import("../try/drawer.js").tryDrawer>>|null} */
let loading = null;

/** @param {PanelContext} given */
export const initTry = (given) => void (context = given);

async function load() {
  const [{ tryDrawer }] = await Promise.all([import("../try/drawer.js"), loadStyle("try")]);
  return tryDrawer(context);
}

/** @param {string} [model] an id, or `backend/model`; else what was chosen last, or what is best @param {string} [firstQuestion] is sent at once */
export async function openTry(model, firstQuestion) {
  try {
    (await (loading ??= load())).open(model, firstQuestion);
  } catch (error) {
    loading = null;
    announce(errorText(error));
  }
}
