/** The list of what hurts, with one thing to do for each: asked for while the router's panel is open. */
import { backendPath, callApi } from "../core/api.js";
import { copyText, fromTemplate, h, pick, setText, withCode } from "../chrome/dom.js";
import { busy } from "./parts.js";

/** As often as the service looks by itself. */
const ASK_MS = 30_000;

/** `update` asks again if the last answer is old, or the mesh's state is another. */
export function findingsSection() {
  const list = h("ul", { class: "changes findings" });
  const el = h("section", { hidden: true }, h("h3", { text: "Findings" }), list);
  let askedAt = -ASK_MS;
  let askedFor = "";
  let shown = "";
  const ask = async () => {
    askedAt = performance.now();
    const answer = await callApi("GET", "/mesh/findings").catch(() => null); // an older service has none
    const findings = answer?.findings ?? [];
    const text = JSON.stringify(findings);
    el.hidden = !findings.length;
    if (text !== shown) list.replaceChildren(...findings.map((/** @type {Finding} */ f) => item(f, again)));
    shown = text;
  };
  const again = () => void (askedAt = -ASK_MS);
  /** @param {Mesh} mesh */
  const update = (mesh) => {
    const { light_reason, refresh } = mesh;
    const state = `${light_reason} ${refresh?.id} ${refresh && refresh.done === refresh.total}`;
    if (state === askedFor && performance.now() - askedAt < ASK_MS) return;
    askedFor = state;
    void ask();
  };
  return { el, update };
}

/** @param {Finding} finding @param {()=>void} done */
function item({ severity, evidence, why, fix, command, button, backend }, done) {
  const el = fromTemplate("finding");
  const [glyph, what, , code, does, message] = pick(el, ".glyph p small code button .message");
  const suffers = severity === "suffer";
  el.dataset.status = suffers ? "warming" : "unknown";
  setText(glyph, suffers ? "!" : "i");
  [what, ...el.querySelectorAll("small")].forEach((part, i) =>
    part.append(...withCode([evidence, why, fix][i])),
  );
  setText(code, command);
  setText(does, button ? (button === "check" ? "Check now" : "Disable") : "Copy command");
  does.onclick = () =>
    button
      ? busy(does, message, async () => {
          const answer = await callApi("POST", backendPath(backend, button));
          done();
          return button === "check" ? answer.health.text : "Disabled: no request goes there.";
        })
      : copyText(command, does);
  return el;
}
