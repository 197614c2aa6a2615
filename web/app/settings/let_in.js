/** A locked page asks to be let in: somebody at this machine allows it in the tray. */
import { callApi, errorText } from "../core/api.js";
import { $, setText, setTextWithCode } from "../chrome/dom.js";

const PAUSE_MS = 1000;
const PATH = "/mesh/session/request";

/** @param {()=>void} onAllowed */
export async function letMeIn(onAllowed) {
  const [button, status] = ["let-in", "let-in-status"].map($);
  button.disabled = true;
  try {
    const { code, tray } = await callApi("POST", PATH);
    setTextWithCode(
      status,
      tray
        ? `Choose “Let the browser in (code ${code})” in the tray’s menu, or click the notification with this code.`
        : status.dataset.none,
    );
    while (!(await callApi("POST", `${PATH}/answer`)).allowed)
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    setText(status, "");
    onAllowed();
  } catch (error) {
    setTextWithCode(status, errorText(error));
  } finally {
    button.disabled = false;
  }
}
