/** Opens “Use it in your apps”: its code and style come when it is wanted. */
import { errorText } from "../core/api.js";
import { announce } from "../chrome/dom.js";

/** @param {string} [model] the model to set apps up with; the best for each without one */
export async function openApps(model) {
  try {
    await (await import("./apps_sheet.js")).showApps(model);
  } catch (error) {
    announce(errorText(error));
  }
}
