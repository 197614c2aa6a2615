/** The page without a session: it asks for the key, and names the easier way. */
import { ApiError, call } from "./api.js";
import { $, h } from "./dom.js";

/** @param {()=>void} opened what to do once the key was right */
export function askForKey(opened) {
  const root = $("session");
  if (!root.hidden) return;
  const input = h("input", { id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false", "aria-describedby": "key-error" });
  const error = h("p", { class: "error", id: "key-error", role: "alert" });
  const button = h("button", { class: "primary", type: "submit" }, "Open the mesh");
  const form = h("form", {
    onsubmit: async (/** @type {Event} */ e) => {
      e.preventDefault();
      button.disabled = true;
      error.textContent = "";
      try {
        await call("POST", "/mesh/session", { key: input.value.trim() });
        root.hidden = true;
        $("app").inert = false;
        root.replaceChildren();
        history.replaceState(null, "", location.pathname + location.hash);
        opened();
      } catch (problem) {
        error.textContent = problem instanceof ApiError && problem.status === 401
          ? "This is not the key of this service. “meshlight key” prints it."
          : `${problem instanceof Error ? problem.message : problem}`;
        input.select();
      } finally {
        button.disabled = false;
      }
    },
  }, h("label", { for: "key", text: "Key" }), input, error, button);
  root.replaceChildren(h("div", { class: "sheet" },
    h("span", { class: "mark", "aria-hidden": "true" }),
    h("h1", { text: "Meshlight is locked" }),
    h("p", {}, "Only someone with this machine’s key may look into the mesh. The easy way is to type"),
    h("pre", { text: "meshlight open" }),
    h("p", {}, "in a terminal, or to choose “Open” in the tray: both let you in without a question. Or paste the key that ", h("code", { text: "meshlight key" }), " prints:"),
    form));
  if (location.search === "?signin=refused") error.textContent = "This link was used already, or is older than a minute. “meshlight open” makes a new one.";
  root.hidden = false;
  $("app").inert = true;
  input.focus();
}
