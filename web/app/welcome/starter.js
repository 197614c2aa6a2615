/** A first model for this machine, and how far it has come. */
import { fromTemplate, pick } from "../chrome/dom.js";
import { starterOffers } from "../panel/downloads.js";

/** @param {WelcomeDeps} deps */
export function starter({ store, openLocal }) {
  const offers = starterOffers(store, true);
  const root = fromTemplate("welcome-starter");
  const [lacking, place, more] = pick(root, ".no-runner .own-models .inline");
  place.append(offers.el);
  more.onclick = openLocal;
  const update = () => {
    lacking.hidden = store.state.local?.can_run ?? true;
    offers.update();
  };
  update();
  return { title: "A starter model", nodes: [...root.children], update };
}
