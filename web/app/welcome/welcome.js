/** The first run: ways to a first backend where there is none, then a bar with the next step. The service keeps how far it came. */
import { $, fromTemplate, h, icon, loadStyle, pick, setText } from "../chrome/dom.js";
import { openApps, openTry } from "../chrome/open.js";
import { callApi } from "../core/api.js";
import { displayName, plural } from "../core/format.js";
import { addServer } from "../dialogs/backend_dialog.js";
import { openPeersDialog } from "../dialogs/peers.js";
import { emptyReason } from "../map/empty_state.js";
import { starterOffers } from "../panel/downloads.js";
import { busy } from "../panel/parts.js";
import { cloudKey } from "./cloud_key.js";

const PATH = "/mesh/welcome";
const LOGIN = "/mesh/settings/login";

/** @param {Store<AppState>} store @param {{refresh:()=>void, openLocal:()=>void}} act */
export async function startWelcome(store, act) {
  const styled = loadStyle("welcome");
  /** @type {WelcomeView} */
  let view = await callApi("GET", PATH);
  /** @type {LoginView|null} */
  const login = view.login_asked ? null : await callApi("GET", LOGIN);
  await styled;
  const bar = fromTemplate("welcome-steps");
  document.querySelector("main")?.before(bar);
  /** Requests that had been answered when the question was opened. */
  let answered = Infinity;

  const isDemo = (/** @type {BackendView} */ b) => b.source === "demo";
  const backends = () => [...(store.state.mesh?.backends.values() ?? [])];
  const good = () => backends().filter((b) => b.enabled && b.models.length && b.health.state === "healthy");
  const successes = () => store.state.mesh?.router.requests.successful ?? 0;
  /** @param {Record<string, unknown>} change */
  const keep = async (change) => {
    view = await callApi("PATCH", PATH, change);
    draw();
  };

  /** What is to be done next; nothing once all is done or skipped. @returns {""|"question"|"waiting"|"apps"|"login"} */
  const step = () => {
    if (view.is_over || !good().length) return "";
    if (!view.done.includes("question")) return answered < Infinity ? "waiting" : "question";
    if (!view.done.includes("apps")) return "apps";
    return login?.can && !login.on && !view.login_asked ? "login" : "";
  };

  const found = () => {
    const [first, ...more] = good().sort((a, b) => Number(isDemo(a)) - Number(isDemo(b)));
    const other = more.length ? ` and ${plural(more.length, "other backend")}` : "";
    const models = plural(first.models.length, "model");
    return first.kind === "local"
      ? `Found ${models} on this machine${other}.`
      : `Found ${displayName(first.name)} with ${models}${other}.`;
  };

  /** What the bar's buttons do. @type {Record<string, ()=>unknown>} */
  const presses = {
    end: () => callApi("DELETE", "/mesh/demo"),
    ask: () => ((answered = successes()), drawBar(), openTry()),
    apps: () => (openApps(), keep({ done: "apps" })),
    later: () => keep({ done: "apps" }),
    yes: async () => (await callApi("PATCH", LOGIN, { on: true }), keep({ done: "login" })),
    no: () => keep({ done: "login" }),
    skip: () => keep({ is_over: true }),
  };
  for (const el of bar.querySelectorAll("button"))
    el.onclick = async () => {
      const hadFocus = document.activeElement === el;
      await busy(el, bar.lastElementChild, async () => void (await presses[el.value]()));
      // What comes next takes the focus of what has gone.
      if (hadFocus && !el.checkVisibility() && [el, document.body].includes(document.activeElement)) goOn();
    };
  const goOn = () => bar.querySelector("button:not([hidden], [hidden] *)")?.focus();
  const drawBar = () => {
    const demo = backends().some(isDemo);
    const now = step();
    bar.hidden = !demo && !now;
    for (const line of bar.querySelectorAll("[data-step]"))
      line.hidden = !line.dataset.step
        .split(" ")
        .some((/** @type {string} */ one) => one === now || (demo && one === "demo"));
    if (!now) return;
    if (chosen === "demo") {
      chosen = "";
      goOn();
    }
    const [question, apps] = bar.querySelectorAll(".found");
    setText(question, found());
    setText(apps, view.done.includes("question") ? "It answers." : found());
  };

  /** Until it is known, it is offered: the others must not move below a pointer. */
  const hasStarter = () => {
    const { local } = store.state;
    return !local || (local.enabled && local.starters.some((s) => s.fits !== "never"));
  };
  /** What the ways to a first backend do. @type {Record<string, ()=>unknown>} */
  const ways = {
    starter: () => go(starter),
    key: () => go(cloudKey),
    server: addServer,
    peer: () => openPeersDialog(),
    demo: () => callApi("POST", "/mesh/demo"),
  };

  const root = $("empty");
  // Here they scroll and mark text, and don't move the map.
  for (const name of ["wheel", "pointerdown", "dblclick"])
    root.addEventListener(name, (/** @type {Event} */ e) => e.stopPropagation());
  /** @type {(()=>void)|null} */
  let update = null;
  let chosen = "";
  /** Show one way closely. @param {(deps:WelcomeDeps)=>{title:string, nodes:Node[], update?:()=>void}} make */
  const go = (make) => {
    const { title, nodes, update: follow } = make({ store, view, openLocal: act.openLocal });
    update = follow ?? (() => {});
    const back = h("button", { class: "back", onclick: drawWays }, icon("back"), "Other ways");
    root.replaceChildren(back, h("h2", { text: title, tabindex: "-1" }), ...nodes);
    (root.querySelector(".field input") ?? root.querySelector("h2")).focus();
    root.onkeydown = (/** @type {KeyboardEvent} */ e) => {
      if (e.key !== "Escape") return;
      e.stopPropagation();
      drawWays();
    };
  };
  function drawWays() {
    const isBack = Boolean(root.querySelector(".back"));
    const offersStarter = hasStarter();
    update = () => void (hasStarter() !== offersStarter && drawWays());
    root.onkeydown = null;
    const page = fromTemplate("welcome-ways");
    const [title, list, problem, again] = pick(page, "h2 ul .message .inline");
    if (view.is_over) setText(title, "No backend yet");
    if (!offersStarter) list.firstElementChild.remove();
    for (const el of list.querySelectorAll("button"))
      el.onclick = () => busy(el, problem, async () => void (await ways[(chosen = el.value)]()));
    again.onclick = act.refresh;
    root.replaceChildren(...page.children);
    if (isBack) root.querySelector(`[value="${chosen}"]`)?.focus();
  }

  function draw() {
    const isEmpty = emptyReason(store.state) === "none";
    if (!isEmpty) update = root.onkeydown = null;
    else if (update) update();
    else drawWays();
    if (step() === "waiting" && successes() > answered) {
      answered = Infinity;
      void keep({ done: "question" });
    }
    drawBar();
  }
  store.subscribe((s) => [s.mesh, s.shown, s.local, s.filters, s.moment], draw);
  draw();
}

/** A first model for this machine, and how far it has come. @param {WelcomeDeps} deps */
function starter({ store, openLocal }) {
  const offers = starterOffers(store, true);
  const root = fromTemplate("welcome-starter");
  const [lacking, place, more] = pick(root, ".no-runner .own-models .inline");
  place.append(offers.el);
  more.onclick = openLocal;
  const update = () => {
    lacking.hidden = store.state.local?.can_start ?? true;
    offers.update();
  };
  update();
  return { title: "A starter model", nodes: [...root.children], update };
}
