/** The settings: each is saved by the service as soon as it is changed here. The sheet's words are in index.html. */
import { callApi, errorText } from "../core/api.js";
import { $, copyText, fromTemplate, h, pick, setText, setTextWithCode } from "../chrome/dom.js";
import { plural } from "../core/format.js";
import { openDialog } from "../dialogs/backend_dialog.js";

/** @typedef {Record<string, any>} Answer */

const HIDDEN = "••••••••";

/** What draws the controls from the settings. @type {((settings: Answer)=>void)[]} */
let draws = [];
/** @type {HTMLElement} */
let sheet;

/** @param {string} method @param {string} [path] @param {Answer} [body] @returns {Promise<any>} */
const call = (method, path = "", body) => callApi(method, `/mesh/settings${path}`, body);

/** Draw what has an address of its own, when it is there. @param {string} path @param {(answer: Answer)=>void} draw */
const drawFrom = (path, draw) => draws.push(() => void callApi("GET", path).then(draw, () => {}));

/** @param {Store<AppState>} store @param {HeaderActions["changeSettings"]} changeLook @param {string} [section] */
export async function showSettings(store, changeLook, section) {
  draws = [];
  sheet = fromTemplate("settings-sheet");
  for (const input of sheet.querySelectorAll("input")) if (input.dataset.path) bindSwitch(input);
  bindName();
  bindLogin();
  bindKeys();
  bindStorage();
  bindFolders();
  const [clear, theme] = pick(sheet, "#s-clear #s-theme");
  clear.onclick = () => attempt(clear, async () => (await callApi("DELETE", "/mesh/history"), "Cleared."));
  theme.value = store.state.settings.theme;
  theme.onchange = () => changeLook({ theme: theme.value });
  bindUpdates();
  bindAbout();
  openDialog([sheet], "Settings");
  document.addEventListener("meshlight-settings", load);
  $("dialog").addEventListener("close", () => document.removeEventListener("meshlight-settings", load), {
    once: true,
  });
  // At once: the next key is meant for it.
  const at = section && $(`s-${section}`);
  const first = at?.nextElementSibling.querySelector("input, button") ?? $("s-name");
  first.focus();
  await load();
  if (document.activeElement === first) at?.scrollIntoView();
}

const load = () =>
  attempt(/** @type {HTMLElement} */ (sheet.firstElementChild), async () => show(await call("GET")));

/** @param {Answer} answer */
const show = (answer) => draws.forEach((draw) => draw(answer));

/** Save a change; what was typed stays when it is refused. @param {HTMLElement} at @param {Answer} change */
const save = (at, change) => attempt(at, async () => show(await call("PATCH", "", change)));

/** Act, and say in the field what came of it: why not, or the text that was returned. @param {HTMLElement} at @param {()=>Promise<unknown>} act @returns {Promise<boolean>} whether it worked */
async function attempt(at, act) {
  const field = at.closest(".field") ?? sheet;
  let said = field.querySelector(".said");
  if (!said) field.append((said = h("p", { class: "said", role: "status" })));
  const say = (/** @type {unknown} */ text, /** @type {boolean} */ bad) => {
    said.classList.toggle("error", bad);
    setTextWithCode(/** @type {HTMLElement} */ (said), typeof text === "string" ? text : "");
  };
  try {
    say(await act(), false);
    return true;
  } catch (error) {
    say(errorText(error), true);
    if (at.matches("[type=checkbox], [type=radio]")) void load();
    return false;
  }
}

/** A switch of one setting; its values may be other ones than true and false. @param {HTMLInputElement} input */
function bindSwitch(input) {
  const path = (input.dataset.path ?? "").split(".");
  const { on } = input.dataset;
  input.onchange = () => {
    const value = on ? (input.checked ? on : null) : input.checked;
    void save(
      input,
      path.reduceRight((/** @type {any} */ inner, key) => ({ [key]: inner }), value),
    );
  };
  draws.push((settings) => {
    const value = path.reduce((/** @type {any} */ from, key) => from?.[key], settings);
    input.checked = on ? value === on || value === "machine" : value;
  });
}

function bindName() {
  const [input] = pick(sheet, "#s-name");
  let drawn = "";
  input.onchange = () => void save(input, { name: (drawn = input.value).trim() });
  draws.push(({ name }) => {
    // What is being typed stays.
    if (input.value === drawn) input.value = drawn = name;
  });
}

function bindLogin() {
  const [input, hint] = pick(sheet, "#s-login #s-login-h");
  const draw = (/** @type {Answer} */ login) => {
    input.checked = login.on;
    input.disabled = !login.can;
    setText(hint, login.text);
  };
  input.onchange = () =>
    attempt(input, async () => draw(await call("PATCH", "/login", { on: input.checked })));
  drawFrom("/mesh/settings/login", draw);
}

function bindKeys() {
  const [shown, toggle, copy, replace, question, keep, yes, fixed, list, form, made] = pick(
    sheet,
    "#s-local .show .copy .replace .problem .keep .danger .fixed #s-app-keys #s-app-key .made",
  );
  const local = async (/** @type {string} */ path = "") =>
    (await callApi("POST", `/mesh/keys/local${path}`)).key;
  const draw = (/** @type {string} */ text) => {
    setText(shown, text);
    toggle.ariaPressed = text !== HIDDEN;
  };
  const ask = (/** @type {boolean} */ on) => {
    question.hidden = !on;
    (on ? keep : replace).focus();
  };
  toggle.onclick = () =>
    attempt(toggle, async () => draw(shown.textContent === HIDDEN ? await local() : HIDDEN));
  copy.onclick = () => attempt(copy, async () => copyText(await local(), copy));
  replace.onclick = () => ask(true);
  keep.onclick = () => ask(false);
  yes.onclick = () =>
    attempt(yes, async () => {
      draw(await local("/replace"));
      ask(false);
      return "This is the new key. Give it to the programs that had the old one.";
    });
  form.onsubmit = (/** @type {Event} */ e) => {
    e.preventDefault();
    const [name] = pick(form, "input");
    void attempt(form, async () => {
      const { key } = await callApi("POST", "/mesh/keys", { name: name.value });
      name.value = "";
      made.hidden = false;
      const [code, button] = pick(made, "code button");
      setText(code, key);
      button.onclick = () => copyText(key, button);
      button.focus();
    });
  };
  drawFrom("/mesh/keys", ({ keys, fixed_by }) => {
    replace.disabled = Boolean(fixed_by);
    setText(fixed, fixed_by && `It comes from ${fixed_by}, so it is replaced there.`);
    drawList(
      list,
      keys,
      (key) => key.name,
      ({ id }) => attempt(list, () => callApi("DELETE", `/mesh/keys/${id}`)),
    );
  });
}

/** Draw a list whose lines can be removed, unless it is the same. @param {HTMLElement} list @param {any[]} things @param {(thing: any)=>string} textOf @param {(thing: any)=>unknown} remove */
function drawList(list, things, textOf, remove) {
  const now = JSON.stringify(things);
  if (list.dataset.now === now) return;
  list.dataset.now = now;
  const line = (/** @type {any} */ thing) => {
    const text = textOf(thing);
    const button = h("button", { "aria-label": `Remove ${text}`, onclick: () => remove(thing) }, "Remove");
    return h("li", {}, h("span", { text, dir: "auto" }), button);
  };
  list.replaceChildren(...things.map(line));
}

function bindStorage() {
  const [field, hint] = pick(sheet, "fieldset #s-storage-h");
  const inputs = [...field.querySelectorAll("input")];
  for (const input of inputs) input.onchange = () => save(input, { key_storage: input.value });
  drawFrom("/mesh/settings/keyring", ({ is_file, text, fix, file }) => {
    for (const input of inputs) input.checked = (input.value === "file") === is_file;
    setTextWithCode(hint, is_file ? `${text} ${file}` : `${text} ${fix}`.trim());
  });
}

function bindFolders() {
  const [list, form] = pick(sheet, "#s-folders #s-folder");
  /** @type {string[]} */
  let folders = [];
  const change = (/** @type {string[]} */ to) => save(list, { local: { folders: to } });
  form.onsubmit = async (/** @type {Event} */ e) => {
    e.preventDefault();
    const [input] = pick(form, "input");
    if (await change([...folders, input.value.trim()])) input.value = "";
  };
  draws.push(({ local }) => {
    folders = local.folders;
    drawList(list, folders, String, (gone) => change(folders.filter((one) => one !== gone)));
  });
}

function bindUpdates() {
  const [input, hint] = pick(sheet, "#s-check #s-check-h");
  draws.push(({ can_check_updates: can, check_updates: on, update }) => {
    input.disabled = !can && !on;
    setText(hint, update ? `Version ${update.version} is out.` : hint.dataset[can ? "can" : "not"]);
  });
}

function bindAbout() {
  const [row, text, list] = pick(sheet, "details #s-version .licences");
  const line = (/** @type {Answer} */ { name, version, licence }) =>
    h("li", {}, h("span", { text: `${name} ${version}` }), h("small", { text: licence }));
  row.ontoggle = () =>
    list.children.length ||
    attempt(row, async () => {
      const { version, python, licence, packages } = await call("GET", "/about");
      setText(
        text,
        `Meshlight ${version}, ${licence}, on Python ${python} with ${plural(packages.length, "package")}:`,
      );
      list.replaceChildren(...packages.map(line));
    });
}
