/** Try: ask a model from the page. Nothing of it is stored: the conversation is in this drawer's memory alone. */
import { $, copyText, fromTemplate, h, pick, setText } from "../chrome/dom.js";
import { ApiError, errorText, onLocked, refusalOf } from "../core/api.js";
import { displayName } from "../core/format.js";
import { routeKey } from "../core/mesh.js";
import { Answer } from "./answer.js";
import { modelChooser } from "./chooser.js";
import { answerTurn } from "./conversation.js";
import { imageTray } from "./images.js";
import { recipeOf } from "./recipes.js";

/** @param {PanelContext} context */
export function tryDrawer({ store, select }) {
  const root = fromTemplate("try-template");
  const [renew, , ...copies] = root.querySelectorAll("button:not(.add, .send)");
  const [log, empty, form, question, send, message, details, system, temperature, tokens] = pick(
    root,
    ".log .lead form #try-question .send .message details #try-system #try-temperature #try-tokens",
  );
  $("panel").after(root);
  const say = (/** @type {string} */ text) => setText(message, text);
  const chooser = modelChooser(root, store, ({ backend, model }) => {
    say("");
    if (backend) highlight(routeKey(backend, model));
  });
  const refusal = () => {
    const { model = "", sees } = chooser.current() ?? {};
    return sees ? "" : `${displayName(model)} does not say that it reads images: choose another model.`;
  };
  const images = imageTray(root, refusal, say);
  /** The turns before, as they are sent. @type {Record<string, any>[]} */
  let turns = [];
  /** @type {Record<string, any>|null} */
  let lastBody = null;
  /** @type {AbortController|null} */
  let running = null;
  /** @type {any} */
  let opener;
  let highlighted = "";
  /** @type {string|null} */
  let before = null;

  /** @param {string} key */
  const highlight = (key) => select((highlighted = key));
  const nameOf = (/** @type {string} */ id) => displayName(store.state.mesh?.backends.get(id)?.name ?? id);

  /** The question as a turn. @param {string} text */
  function turnOf(text) {
    const pictures = images.urls().map((url) => ({ type: "image_url", image_url: { url } }));
    return { role: "user", content: pictures.length ? [{ type: "text", text }, ...pictures] : text };
  }
  /** @param {Record<string, any>} turn */
  const bodyOf = (turn) => ({
    model: chooser.current()?.id ?? "",
    messages: [...(system.value.trim() ? [{ role: "system", content: system.value }] : []), ...turns, turn],
    ...(temperature.value && { temperature: temperature.valueAsNumber }),
    ...(tokens.value && { max_tokens: tokens.valueAsNumber }),
    stream: true,
    stream_options: { include_usage: true },
  });
  /** As high as its text, within bounds. */
  const fit = () => (question.rows = Math.min(8, Math.max(2, question.value.split("\n").length)));
  /** @param {AbortController|null} now */
  function setRunning(now) {
    running = now;
    setText(send, now ? "Stop" : "Send");
    send.classList.toggle("primary", !now);
  }

  /** Read an answer to its end; what else there is to say of it. @param {Response} response @param {Answer} answer @param {()=>void} changed */
  async function read(response, answer, changed) {
    if (!response.ok) throw refusalOf(response.status, await response.json().catch(() => null));
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    const decoder = new TextDecoder();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    for (let part; !(part = await reader.read()).done; changed()) {
      const text = decoder.decode(part.value, { stream: true });
      if (isStream) answer.feed(text);
      else answer.line += text;
      if (!answer.isTooLong) continue;
      void reader.cancel();
      return "Stopped: it is too long to be kept here.";
    }
    if (!isStream) answer.take(answer.line);
    if (answer.error) throw new ApiError(0, answer.error, "", "");
    if (!answer.isComplete) throw new ApiError(0, "The answer broke off before its end.", "", "");
    return answer.finish === "length" ? "Cut off: it has as many tokens as are allowed." : "";
  }

  async function ask() {
    const text = question.value.trim();
    const chosen = chooser.current();
    if (running || !(text || images.urls().length)) return;
    if (!chosen) return say("Choose a model first.");
    for (const input of [temperature, tokens])
      if (!input.checkValidity()) return ((details.open = true), input.reportValidity());
    say("");
    const turn = turnOf(text);
    const pictures = images.urls().map((src) => h("img", { src, alt: "" }));
    const controller = new AbortController();
    const answer = new Answer(() => performance.now());
    lastBody = bodyOf(turn);
    setRunning(controller);
    empty.remove();
    log.append(h("div", { class: "turn question" }, h("p", { text }), ...pictures));
    const shown = answerTurn(log, answer, chosen.model, nameOf);
    question.value = "";
    images.clear();
    fit();
    let headers;
    let error = "";
    let note = "";
    try {
      const response = await fetch("/mesh/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(lastBody),
        signal: controller.signal,
      });
      headers = response.headers;
      const backend = headers.get("x-meshlight-backend");
      if (backend && running === controller)
        highlight(routeKey(backend, headers.get("x-meshlight-model") ?? chosen.model));
      note = await read(response, answer, shown.changed);
    } catch (failure) {
      if (controller.signal.aborted) note = "Stopped.";
      else if (failure instanceof ApiError) error = errorText(failure);
      else error = "The connection to the Meshlight service was lost. Is it running?";
      if (failure instanceof ApiError && failure.status === 401) onLocked.locked();
    }
    answer.end();
    shown.end(headers, error, note || (answer.text || error ? "" : "The answer is empty."));
    if (running !== controller) return; // There is a new conversation.
    setRunning(null);
    if (answer.text) turns = [...turns, turn, { role: "assistant", content: answer.text }];
    // Nothing came of it: the question can be sent again.
    else question.value ||= text;
    fit();
  }

  function close() {
    root.hidden = true;
    document.body.classList.remove("with-try");
  }

  question.oninput = fit;
  details.ontoggle = () => (log.scrollTop = log.scrollHeight);
  question.onkeydown = (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    void ask();
  };
  form.onsubmit = (/** @type {Event} */ e) => {
    e.preventDefault();
    if (running) running.abort();
    else void ask();
  };
  renew.onclick = () => {
    running?.abort();
    setRunning(null);
    lastBody = null;
    turns = [];
    log.replaceChildren(empty);
    images.clear();
    say("");
    question.focus();
  };
  for (const button of copies)
    button.onclick = () => {
      const text = question.value.trim();
      const body = (!text && lastBody) || bodyOf(turnOf(text || "Say hello."));
      copyText(recipeOf(button.value, body), button);
    };
  /** What was selected before comes back, and the focus to where it was. */
  const leave = () => {
    close();
    if (store.state.selection.key === highlighted) select(before);
    (opener?.checkVisibility() ? opener : $("try")).focus();
  };
  root.querySelector(".tool").onclick = leave;
  root.onkeydown = (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== "Escape") return;
    e.stopPropagation();
    leave();
  };
  store.subscribe(
    (s) => s.selection,
    ({ key }) => {
      if (root.hidden || !key || key === highlighted) return;
      // Who takes a model from the map wants to ask it; anything else has its own sheet.
      if (!key.startsWith("m:")) return close();
      highlighted = key;
      chooser.pick(key.slice(2).replace("\n", "/"));
    },
  );

  return {
    /** @param {string} [model] an id, perhaps with its backend's before it @param {string} [firstQuestion] is sent at once */
    open(model, firstQuestion) {
      if (root.hidden) {
        opener = document.activeElement === document.body ? $("try") : document.activeElement;
        before = store.state.selection.key;
      }
      root.hidden = false;
      document.body.classList.add("with-try");
      chooser.pick(model);
      question.focus();
      if (!firstQuestion) return;
      question.value = firstQuestion;
      void ask();
    },
  };
}
