/** The panel of this machine's own models. */
import { copyText, h, fromTemplate, setText, statusBadge, withCode, pick } from "../chrome/dom.js";
import { LOCAL_ID, freeText, isInMemory, memoryText } from "../core/local_models.js";
import { downloadBox, downloadList, starterOffers } from "./downloads.js";
import { localModel } from "./local_model.js";
import { fitMark, item, setWhy, updateRows } from "./parts.js";
import { displayName, formatBytes, formatCount, joined, plural } from "../core/format.js";

/** Rows of models that are made at first. */
const ROWS_MOST = 60;
const LISTS = /** @type {const} */ (["using", "failed", "resting"]);

/** @param {LocalModel} model @returns {typeof LISTS[number]} */
const listOf = ({ state }) =>
  state === "on-disk" ? "resting" : state === "failed" || state === "missing" ? "failed" : "using";

/** @param {PanelContext} context @returns {PanelSheet} */
export function localSheet(context) {
  const { store } = context;
  const root = fromTemplate("local-sheet");
  const [state, reason, bar, numbers, devices, more, runners, stores, rejected] = pick(
    root,
    ".state .reason .memory-bar .numbers .devices .all .runners .stores .rejected",
  );
  const lists = LISTS.map((name) => ({ name, el: root.querySelector(`.${name}`) }));
  const downloads = downloadList(store);
  const starters = starterOffers(store, false);
  const [downloadsHere, startersHere] = pick(root, ".downloads-here .starters-here");
  downloadsHere.append(downloads.el);
  root.querySelector(".box-here").append(downloadBox());
  startersHere.append(starters.el);
  /** @type {Map<string, ReturnType<typeof localModel>>} */
  const rows = new Map();
  let shows = ROWS_MOST;
  let signature = "";
  more.onclick = () => {
    shows = Infinity;
    update();
  };
  void context.loadLocal();

  /** @param {LocalView} local */
  const updateModels = (local) => {
    const all = [...local.models.values()].filter((m) => !m.hidden);
    all.sort((a, b) => a.id.localeCompare(b.id, "en"));
    const focused = /** @type {HTMLElement|null} */ (document.activeElement);
    const hadFocus = lists.some(({ el }) => el.contains(focused));
    let made = 0;
    for (const { name, el } of lists) {
      const models = all.filter((m) => listOf(m) === name);
      el.hidden = el.previousElementSibling.hidden = !models.length;
      setText(el.previousElementSibling.querySelector("span"), formatCount(models.length));
      updateRows(el, rows, models.slice(0, Math.max(0, shows - made)), (m) => localModel(context, m.id));
      made += models.length;
    }
    more.hidden = made <= shows;
    setText(more, `Show all ${formatCount(made)}`);
    // A row that moved to another list takes its focus along.
    if (hadFocus && document.activeElement !== focused && focused?.isConnected)
      focused.focus({ preventScroll: true });
  };

  /** @param {LocalView} local */
  const updateMemory = ({ memory, models, devices: cards }) => {
    const { models_bytes: used, budget_bytes: budget, total_bytes: total, available_bytes: free } = memory;
    const loaded = [...models.values()].filter(isInMemory);
    bar.ariaLabel = `Models take ${memoryText(memory)}`;
    bar.replaceChildren(
      ...loaded.map((m) => {
        const part = h("i", { title: `${displayName(m.id)}: ${formatBytes(m.need_bytes)}` });
        part.dataset.engine = m.state;
        part.style.width = `${(100 * m.need_bytes) / Math.max(budget, used, 1)}%`;
        return part;
      }),
    );
    numbers.replaceChildren(
      h("b", { text: memoryText(memory) }),
      " for models",
      h("small", {
        text: `${freeText(memory)} free for more · ${formatBytes(free)} of the machine’s ${formatBytes(total)} available`,
      }),
    );
    devices.replaceChildren(
      ...cards.map((d) =>
        item(d.name, [`${formatBytes(d.free_bytes)} of ${formatBytes(d.total_bytes)} free`]),
      ),
    );
  };

  /** @param {LocalView} local */
  const updateRest = (local) => {
    const now = JSON.stringify([local.runners, local.stores, local.rejected]);
    if (signature === (signature = now)) return;
    runners.replaceChildren(...local.runners.map(runnerRow));
    stores.replaceChildren(
      ...local.stores.map((s) => item(s.label, [joined(plural(s.models, "model"), s.note)])),
    );
    const { length } = local.rejected;
    rejected.hidden = !length;
    setText(rejected.querySelector("summary"), `${plural(length, "file")} not usable`);
    const label = (/** @type {string} */ store) =>
      local.stores.find((s) => s.store === store)?.label ?? store;
    rejected
      .querySelector("ul")
      .replaceChildren(
        ...local.rejected.slice(0, 200).map((f) => item(f.name, [`${f.why} (${label(f.store)})`])),
      );
  };

  function update() {
    const { local, mesh } = store.state;
    const backend = mesh?.backends.get(LOCAL_ID);
    const health = backend?.health;
    const status = !backend?.enabled ? "disabled" : (health?.state ?? "unknown");
    if (state.dataset.status !== status)
      state.replaceChildren(statusBadge(/** @type {Status} */ (state.dataset.status = status)));
    setWhy(reason, ["healthy", "disabled"].includes(status) ? null : health, status === "unhealthy");
    if (!local) return;
    updateMemory(local);
    updateModels(local);
    downloadsHere.hidden = !downloads.update();
    starters.update();
    startersHere.hidden = !local.starters.some((s) => !s.is_here && s.fits !== "never");
    updateRest(local);
  }

  return { title: () => "This machine", kind: "Its own models", body: [...root.children], update };
}

/** @param {RunnerView} runner */
function runnerRow({ label, version, is_usable, why_not, fix }) {
  if (is_usable) return item(label, [fitMark("now", version || "ready")]);
  const row = item(label, [fitMark("never", ""), ...withCode(`${why_not} ${fix}`)]);
  const command = /`([^`]+)`/.exec(fix)?.[1];
  if (!command) return row;
  const copy = h("button", { "aria-label": `Copy the command for ${displayName(label)}` }, "Copy");
  copy.onclick = () => copyText(command, copy);
  row.append(copy);
  return row;
}
