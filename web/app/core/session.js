/** The page without a session: index.html has its form. */
import { ApiError, callApi, errorText } from "./api.js";
import { $ } from "../chrome/dom.js";

/** @param {()=>void} onUnlocked */
export function askForKey(onUnlocked) {
  const [root, form, input, error] = ["session", "unlock", "key", "key-error"].map($);
  if (!root.hidden) return;
  const button = form.querySelector("button");
  const enter = () => {
    root.hidden = true;
    $("app").inert = false;
    form.reset();
    history.replaceState(null, "", location.pathname + location.hash);
    onUnlocked();
  };
  $("let-in").onclick = async () => (await import("../settings/let_in.js")).letMeIn(enter);
  form.onsubmit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    button.disabled = true;
    error.textContent = "";
    try {
      await callApi("POST", "/mesh/session", { key: input.value.trim() });
      enter();
    } catch (failure) {
      error.textContent =
        failure instanceof ApiError && failure.status === 401 ? error.dataset.wrong : errorText(failure);
      input.select();
    } finally {
      button.disabled = false;
    }
  };
  if (location.search === "?signin=refused") error.textContent = error.dataset.used;
  root.hidden = false;
  $("app").inert = true;
  input.focus();
}
