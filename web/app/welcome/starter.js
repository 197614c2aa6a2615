/** A first model for this machine, and how far it has come. */
import { h, withCode } from "../chrome/dom.js";
import { starterOffers } from "../panel/downloads.js";

/** @param {WelcomeDeps} deps */
export function starter({ store, openLocal }) {
  const offers = starterOffers(store, true);
  const lacking = h(
    "div",
    { class: "no-runner reason", "data-status": "warming" },
    h("p", { text: "Nothing here can run a model yet." }),
    h("p", { class: "fix" }, ...withCode("Install the engine: `pip install 'meshlight[local]'`")),
  );
  const update = () => {
    lacking.hidden = store.state.local?.can_run ?? true;
    offers.update();
  };
  update();
  const more = h(
    "button",
    { class: "inline", onclick: openLocal },
    "Other models and what this machine can run …",
  );
  return {
    title: "A starter model",
    nodes: [lacking, h("div", { class: "own-models" }, offers.el), h("p", {}, more)],
    update,
  };
}
