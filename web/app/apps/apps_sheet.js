/** “Use it in your apps”: a text for each client app, and whether its first request has come. */
import { callApi, errorText } from "../core/api.js";
import { copyText, fromTemplate, h, loadStyle, pick, setText } from "../chrome/dom.js";
import { openDialog } from "../dialogs/backend_dialog.js";

const HIDDEN = "•".repeat(12);
/** The app that was looked at last. */
let chosen = "claude";
/** Whose calls were noticed while the page is open. @type {Set<string>} */
const called = new Set();
const styled = loadStyle("apps");

/** @param {string} [wanted] */
export async function showApps(wanted = "") {
  /** @type {AppList} */
  let list = { key: "", model: "", why: "", models: [], apps: [] };
  const root = fromTemplate("apps-sheet");
  const [model, names, why, tabs, pane] = pick(root, "#app-model datalist small .app-tabs .app-pane");
  const [place, text, row, waiting, launch, note, fits] = pane.children;
  const [copy, copyKey, show, docs] = row.children;
  let isShown = false;

  const app = () => list.apps.find((one) => one.id === chosen) ?? list.apps[0];
  const draw = () => {
    const one = app();
    if (!one) return;
    for (const tab of tabs.children) {
      const isChosen = tab.value === one.id;
      tab.ariaSelected = isChosen;
      tab.tabIndex = isChosen ? 0 : -1;
      tab.classList.toggle("called", called.has(tab.value));
    }
    pane.setAttribute("aria-labelledby", `app-${one.id}`);
    setText(fits, `Works with ${one.fits}`);
    setText(place, one.place);
    setText(text, isShown ? one.text : one.text.replaceAll(list.key, HIDDEN));
    show.hidden = !one.text.includes(list.key);
    setText(show, isShown ? "Hide the key" : "Show the key");
    docs.href = one.docs;
    launch.replaceChildren(...(one.launch ? ["Or in a terminal: ", h("code", { text: one.launch })] : []));
    setText(note, `${one.note} ${one.unconfirmed && `Not confirmed: ${one.unconfirmed}`}`.trim());
    const who = one.shared_client ? `${one.shared_client}, which ${one.name} uses,` : one.name;
    const has = called.has(one.id);
    waiting.classList.toggle("called", has);
    setText(waiting, has ? `✓ ${who} called.` : waiting.dataset[one.is_recognised ? "seen" : "unseen"]);
  };
  const fill = () => {
    names.replaceChildren(...list.models.map((name) => h("option", { value: name })));
    tabs.replaceChildren(
      ...list.apps.map((one) =>
        h("button", {
          role: "tab",
          id: `app-${one.id}`,
          value: one.id,
          "aria-controls": "app-pane",
          text: one.name,
          onclick: () => choose(one.id),
        }),
      ),
    );
  };
  const load = async () => {
    try {
      list = await callApi("GET", `/mesh/apps?model=${encodeURIComponent(model.value.trim())}`);
      setText(why, list.why);
      model.placeholder = list.model ? `the best: ${list.model}` : "";
      if (!tabs.childElementCount) fill();
      for (const one of list.apps) if (one.called_s !== null) called.add(one.id);
    } catch (error) {
      setText(why, errorText(error));
    }
    draw();
  };
  /** @param {string} id @param {boolean} [focus] */
  const choose = (id, focus) => {
    chosen = id;
    isShown = false;
    draw();
    const tab = /** @type {HTMLElement|null} */ (tabs.querySelector('[aria-selected="true"]'));
    if (focus) tab?.focus();
    tab?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  /** @param {KeyboardEvent} e */
  const move = (e) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    choose(list.apps.at((list.apps.indexOf(app()) + step) % list.apps.length)?.id ?? chosen, true);
  };

  tabs.onkeydown = move;
  model.onchange = () => void load();
  show.onclick = () => ((isShown = !isShown), draw());
  copy.onclick = () => copyText(app().text, copy);
  copyKey.onclick = () => copyText(list.key, copyKey);
  model.value = wanted;
  // A dialog without its style would jump.
  await Promise.all([styled, load()]);
  openDialog([root], "Use it in your apps");
  choose(chosen, true);

  /** @param {any} event */
  const onCall = ({ detail }) => {
    if (!pane.isConnected) return removeEventListener("meshlight-apps", onCall);
    for (const id of detail) called.add(id);
    draw();
  };
  addEventListener("meshlight-apps", onCall);
}
