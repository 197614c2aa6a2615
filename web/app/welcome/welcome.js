/** The first run: ways to a first backend where there is none, then a bar with the next step. The service keeps how far it came. */
import { $, h, icon, iconButton } from "../chrome/dom.js";
import { openTry } from "../chrome/try.js";
import { callApi } from "../core/api.js";
import { displayName, plural } from "../core/format.js";
import { openApps } from "../apps/open_apps.js";
import { addServer } from "../dialogs/backend_dialog.js";
import { openPeersDialog } from "../dialogs/peers.js";
import { emptyReason } from "../map/empty_state.js";
import { busy } from "../panel/parts.js";
import { cloudKey, outsideLink } from "./cloud_key.js";
import { starter } from "./starter.js";

const PATH = "/mesh/welcome";
const LOGIN = "/mesh/settings/login";

/** @param {Store<AppState>} store @param {{refresh:()=>void, openLocal:()=>void}} act */
export async function startWelcome(store, act) {
  const styles = h("link", { rel: "stylesheet", href: "/styles/welcome.css" });
  const styled = new Promise((done) => (styles.onload = styles.onerror = done));
  document.head.append(styles);
  /** @type {WelcomeView} */
  let view = await callApi("GET", PATH);
  /** @type {LoginView|null} */
  const login = view.login_asked ? null : await callApi("GET", LOGIN);
  await styled;
  const bar = h("section", { id: "welcome-bar", "aria-label": "Welcome", hidden: true });
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

  /** What is to be done next; nothing once all is done or skipped. @returns {""|"question"|"apps"|"login"} */
  const step = () => {
    if (view.is_over || !good().length) return "";
    if (!view.done.includes("question")) return "question";
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

  /** @param {string} title @param {string} text @param {...HTMLButtonElement} buttons */
  const line = (title, text, ...buttons) =>
    h("div", {}, h("p", {}, h("b", { text: title }), ` ${text}`), h("div", { class: "row" }, ...buttons));
  const message = h("p", { class: "message", role: "status" });
  /** @param {string} text @param {()=>unknown} press @param {boolean} [isMain] */
  const button = (text, press, isMain = true) => {
    const el = h("button", { class: isMain ? "primary" : "" }, text);
    el.onclick = () => void busy(el, message, async () => void (await press()));
    return el;
  };

  /** @type {Record<string, ()=>HTMLElement>} */
  const lines = {
    question: () =>
      answered < Infinity
        ? line("Waiting for your first answer.", "It flies along the map.")
        : line(found(), "Ask it something, and see the answer come.", button("Try it", ask)),
    apps: () =>
      line(
        view.done.includes("question") ? "It answers." : found(),
        "Now let your apps use it: one address and one key for all of them.",
        button("Use it in your apps", async () => (openApps(), keep({ done: "apps" }))),
        button("Not now", () => keep({ done: "apps" }), false),
      ),
    login: () =>
      line(
        "Start Meshlight at login?",
        "So that your apps always find it. This is asked only once.",
        button(
          "Yes",
          async () => (await callApi("PATCH", LOGIN, { on: true }), keep({ done: "login" })),
          false,
        ),
        button("Not now", () => keep({ done: "login" }), false),
      ),
  };
  const ask = () => {
    answered = successes();
    void openTry();
    drawBar(true);
  };

  let shown = "";
  const drawBar = (isAnew = false) => {
    const demo = backends().some(isDemo);
    const now = step();
    const parts = [demo, now, now && found()].join("|");
    if (parts === shown && !isAnew) return;
    shown = parts;
    const hadFocus = bar.contains(document.activeElement);
    bar.hidden = !demo && !now;
    bar.replaceChildren(
      ...(demo
        ? [
            line(
              "This is a demo.",
              "Backends called “Demo …” are simulated, their answers are scripted.",
              end(),
            ),
          ]
        : []),
      ...(now ? [lines[now]()] : []),
      message,
    );
    if (now && now !== "login")
      bar
        .querySelector("div:last-of-type > .row")
        ?.append(iconButton("close", "Skip the rest of Welcome", () => void keep({ is_over: true })));
    if (hadFocus) bar.querySelector("button")?.focus();
  };
  const end = () => button("End the demo", () => callApi("DELETE", "/mesh/demo"), false);

  /** Ways to a first backend: key, icon, title, what it is, what a press does. */
  const ways = () => {
    const { local } = store.state;
    // Until it is known, it is offered: the others must not move below a pointer.
    const first = !local || (local.enabled && local.starters.some((s) => s.fits !== "never"));
    return /** @type {[string, string, string, ()=>unknown][]} */ ([
      ...(first
        ? [
            [
              "local",
              "Get a starter model",
              "It runs on this machine, and nothing leaves it.",
              () => go(starter),
            ],
          ]
        : []),
      ["openai", "I have a cloud key", "Anthropic, OpenAI, Gemini, Groq, OpenRouter …", () => go(cloudKey)],
      ["openai-compatible", "A server elsewhere", "vLLM, llama-server, a router: by its address.", addServer],
      [
        "peer",
        "Another machine with Meshlight",
        "Pair with it, and use its models.",
        () => openPeersDialog(),
      ],
      ["router", "Just show me", "A demo: simulated backends, gone with one click.", demo],
    ]);
  };
  const demo = () => callApi("POST", "/mesh/demo");

  const root = $("empty");
  // Here they scroll and mark text, and don't move the map.
  for (const name of ["wheel", "pointerdown", "dblclick"])
    root.addEventListener(name, (/** @type {Event} */ e) => e.stopPropagation());
  /** @type {(()=>void)|null} */
  let update = null;
  let chosen = 0;
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
  let offered = "";
  function drawWays() {
    const isBack = Boolean(root.querySelector(".back"));
    const all = ways();
    offered = all.join();
    update = () => void (ways().join() !== offered && drawWays());
    root.onkeydown = null;
    const problem = h("p", { class: "message", role: "status" });
    root.replaceChildren(
      h("h2", { text: view.is_over ? "No backend yet" : "Welcome to Meshlight" }),
      h("p", { text: "Choose a first backend: a server or account that answers." }),
      h(
        "ul",
        { class: "ways" },
        ...all.map(([image, title, text, press], i) => {
          const el = h(
            "button",
            {},
            icon(image),
            h("span", {}, h("b", { text: title }), h("small", { text })),
          );
          el.onclick = () => ((chosen = i), void busy(el, problem, async () => void (await press())));
          return h("li", {}, el);
        }),
      ),
      problem,
      h(
        "p",
        { class: "quiet" },
        "Engines appear here by themselves when they run, such as ",
        outsideLink("ollama.com/download", "Ollama"),
        ", ",
        outsideLink("lmstudio.ai/download", "LM Studio"),
        " and ",
        outsideLink("github.com/ggml-org/llama.cpp", "llama.cpp"),
        ". ",
        h("button", { class: "inline", onclick: act.refresh }, "Check again"),
      ),
    );
    if (isBack) root.querySelectorAll("button")[chosen]?.focus();
  }

  function draw() {
    const isEmpty = emptyReason(store.state) === "none";
    if (!isEmpty) update = root.onkeydown = null;
    else if (update) update();
    else drawWays();
    if (step() === "question" && successes() > answered) {
      answered = Infinity;
      void keep({ done: "question" });
    }
    drawBar();
  }
  store.subscribe((s) => [s.mesh, s.shown, s.local, s.filters, s.moment], draw);
  draw();
}
