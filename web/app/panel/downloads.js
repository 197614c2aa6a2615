/** Models on their way here, and getting others: starters, and what a repository of the hub offers. */
import { callApi } from "../core/api.js";
import { h, fromTemplate, setText, setTextWithCode, pick } from "../chrome/dom.js";
import { fitText } from "../core/local_models.js";
import { busy, fitMark, focusNear, item, setWhy, updateRows } from "./parts.js";
import { displayName, formatBytes, formatDuration, joined, plural } from "../core/format.js";

/** @type {Record<DownloadView["state"], string>} */
const STATES = {
  queued: "waits for its turn",
  running: "",
  paused: "paused",
  checking: "checking the files",
  done: "is here",
  failed: "failed",
};

/** @param {DownloadView} download */
function progressText({ state, done_bytes: done, total_bytes: total, bytes_per_s: rate }) {
  const isDone = state === "done";
  const speed = state === "running" ? rate : 0;
  return joined(
    STATES[state],
    total && !isDone && `${Math.floor((100 * done) / total)} %`,
    total && !isDone ? `${formatBytes(done)} of ${formatBytes(total)}` : done && formatBytes(done),
    speed && `${formatBytes(speed)}/s`,
    speed && total > done && `${formatDuration((total - done) / speed)} left`,
  );
}

/** A list that follows the downloads. @param {Store<AppState>} store @param {(download:DownloadView)=>boolean} [isShown] */
export function downloadList(store, isShown = () => true) {
  const el = h("ul", { class: "downloads" });
  /** @type {Map<string, ListRow<DownloadView>>} */
  const rows = new Map();
  const update = () => {
    const { downloads = [], starters = [] } = store.state.local ?? {};
    const all = downloads.filter(isShown);
    updateRows(el, rows, all, (download) => downloadRow(download, starters));
    el.hidden = !all.length;
    return all.length > 0;
  };
  return { el, update };
}

/** @param {DownloadView} download @param {StarterView[]} starters @returns {ListRow<DownloadView>} */
function downloadRow({ id, name }, starters) {
  const el = fromTemplate("download");
  const [text, bar, message, reason] = pick(el, "small progress .message .reason");
  const buttons = el.querySelectorAll("button");
  const [pause, resume, cancel] = buttons;
  const path = `/mesh/models/downloads/${encodeURIComponent(id)}`;
  const shownName = displayName(starters.find((s) => s.name === name)?.label ?? name);
  setText(el.querySelector("b"), shownName);
  bar.ariaLabel = `${shownName}, downloaded`;
  pause.onclick = () => busy(pause, message, () => callApi("POST", `${path}/pause`));
  resume.onclick = () => busy(resume, message, () => callApi("POST", `${path}/resume`));
  cancel.onclick = () => busy(cancel, message, () => callApi("DELETE", path));
  return {
    el,
    update(now) {
      const { state, total_bytes: total } = now;
      const isOver = state === "done" || state === "failed";
      setText(text, progressText(now));
      el.dataset.state = state;
      bar.hidden = isOver;
      if (total) bar.value = now.done_bytes / total;
      else bar.removeAttribute("value");
      const hadFocus = document.activeElement;
      pause.hidden = state !== "running" && state !== "queued";
      resume.hidden = state !== "paused" && state !== "failed";
      setText(resume, state === "failed" ? "Try again" : "Resume");
      setText(cancel, isOver ? "Dismiss" : "Cancel");
      for (const button of buttons) button.ariaLabel = `${button.textContent} ${shownName}`;
      // The button that was pressed may be the one that goes.
      for (const button of buttons) if (button === hadFocus) focusNear(button);
      setWhy(reason, now.reason, state === "failed");
    },
  };
}

/** The models that are offered to begin with; where there are none yet, the smallest as the page's button, with the downloads. @param {Store<AppState>} store @param {boolean} isFirst */
export function starterOffers(store, isFirst) {
  const message = h("p", { class: "message", role: "status" });
  const offers = h("ul", { class: "items" });
  const names = () => new Set(store.state.local?.starters.map((s) => s.name));
  const downloads = downloadList(store, (d) => names().has(d.name));
  let signature = "";
  const update = () => {
    const { starters = [], downloads: running = [] } = store.state.local ?? {};
    // Those that can't run here are not offered.
    const open = starters.filter(
      (s) => !s.is_here && s.fits !== "never" && !running.some((d) => d.name === s.name),
    );
    if (isFirst) downloads.update();
    const now = JSON.stringify([open, running.length > 0]);
    if (signature === (signature = now)) return;
    const hadFocus = offers.contains(document.activeElement);
    offers.replaceChildren(
      ...open.map((starter, i) => offer(starter, isFirst && i === 0 && !running.length)),
    );
    if (hadFocus) el.querySelector("button")?.focus();
  };
  /** @param {StarterView} starter @param {boolean} isMain */
  const offer = ({ name, label, size_bytes, licence, good_for, fits }, isMain) => {
    const title = `${displayName(label)}, ${formatBytes(size_bytes)}`;
    const button = h("button", {
      class: isMain ? "primary" : "",
      "aria-label": isMain ? null : `Get ${title}`,
    });
    button.textContent = isMain ? `Get a starter model (${title})` : "Get";
    button.onclick = () => busy(button, message, () => callApi("POST", "/mesh/models/pull", { name }));
    const print = joined(displayName(`${licence} · ${good_for}`), fits !== "now" && fitText(fits));
    const el = item(title, [print], !isMain && button);
    if (isMain) el.querySelector("b")?.replaceWith(button);
    return el;
  };
  const el = h("div", {}, isFirst && downloads.el, offers, message);
  return { el, update };
}

/** What a repository of the hub offers, and getting one of its models. */
export function downloadBox() {
  const el = fromTemplate("download-box");
  const [input, find, note, message] = pick(el, "input button .note .message");
  const files = el.querySelector("ul");

  el.onsubmit = (/** @type {Event} */ e) => {
    e.preventDefault();
    // What stands behind the colon chooses among the files.
    const [name, quant = ""] = input.value.trim().split(/:(?=[^/]*$)/);
    files.replaceChildren();
    setTextWithCode(note, "");
    void busy(find, message, async () => {
      const found = await callApi("GET", `/mesh/models/repository?name=${encodeURIComponent(name)}`);
      setTextWithCode(note, found.note);
      const some = found.files.filter((/** @type {RepositoryFile} */ f) =>
        f.quantization.toLowerCase().startsWith(quant.toLowerCase()),
      );
      const shown = some.length ? some : found.files;
      files.replaceChildren(...shown.map(fileRow));
      return (some === shown ? "" : `No ${displayName(quant)}. `) + plural(shown.length, "model file");
    });
  };

  /** @param {RepositoryFile} file */
  const fileRow = ({ name, quantization, size_bytes, parts, fits, short_bytes, sees_images, is_here }) => {
    const label = displayName(quantization || name);
    const button = h("button", { "aria-label": `Get ${label}` }, "Get");
    button.onclick = () =>
      busy(button, message, async () => {
        await callApi("POST", "/mesh/models/pull", { name });
        return `${label} is on its way: see Downloads.`;
      });
    const about = joined(
      formatBytes(size_bytes),
      parts > 1 && plural(parts, "part"),
      sees_images && "reads images",
      " ",
    );
    return item(
      label,
      [about, fitMark(fits, fitText(fits, short_bytes))],
      is_here ? h("span", { class: "quiet", text: "is here" }) : button,
    );
  };
  return el;
}
