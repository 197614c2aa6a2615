/** Elements and what they say; text is always set as text. */
import { glyphOf } from "../map/status_styles.js";

/** @template {keyof HTMLElementTagNameMap} T @param {T} tag @param {Record<string, any>} [props] @param {...(Node|string|null|undefined|false)} children @returns {HTMLElementTagNameMap[T]} */
export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag);
  if (tag === "button") el.setAttribute("type", "button");
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "text") el.textContent = value;
    else if (name === "value") /** @type {any} */ (el).value = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child) el.append(child);
  return el;
}

/** @param {string} id @returns {any} the */
export const $ = (id) => document.getElementById(id);

/** @param {string} id of a template @returns {any} its element, made anew */
export const fromTemplate = (id) => drawIcons($(id).content.firstElementChild.cloneNode(true));

/** Draw what is marked as a drawing. @template {ParentNode} T @param {T} root */
export function drawIcons(root) {
  for (const place of root.querySelectorAll("[data-icon]"))
    place.replaceWith(icon(/** @type {HTMLElement} */ (place).dataset.icon ?? ""));
  return root;
}

/** Load a style that is not needed at first; done when it counts, or can't be had. @param {string} name */
export const loadStyle = (name) =>
  new Promise((done) =>
    document.head.append(
      h("link", { rel: "stylesheet", href: `/styles/${name}.css`, onload: done, onerror: done }),
    ),
  );

/** @param {string} page without its scheme @param {string} [text] */
export const outsideLink = (page, text = page) =>
  h("a", { href: `https://${page}`, target: "_blank", rel: "noreferrer", text });

/** Show what the engine of one of this machine's models does, if it is one. @param {HTMLElement} el @param {LocalModel} [model] */
export function markEngine(el, model) {
  if (!model) return void delete el.dataset.engine;
  el.dataset.engine = model.state;
  el.classList.toggle("blind", model.state === "loading" && model.progress === null);
  el.style.setProperty("--part", String(model.progress ?? 0.25));
}

/** The first elements of these selectors, which have no spaces. @param {any} root @param {string} selectors @returns {any[]} */
export const pick = (root, selectors) => selectors.split(" ").map((where) => root.querySelector(where));

/** So that nothing is spoken or selected anew. @param {HTMLElement} el @param {string} text */
export const setText = (el, text) => void (el.textContent !== text && (el.textContent = text));

/** A text whose `code` between backticks is set as code. @param {string} text @returns {(Node|string)[]} */
export const withCode = (text) =>
  text.split(/`([^`]+)`/).map((part, i) => (i % 2 ? h("code", { text: part }) : part));

/** As setText, with code between backticks. @param {HTMLElement} el @param {string} text */
export function setTextWithCode(el, text) {
  if (el.dataset.text === text) return;
  el.dataset.text = text;
  el.replaceChildren(...withCode(text));
}

/** @param {any} root @param {Record<string, string>} texts by selector */
export const setTexts = (root, texts) =>
  Object.entries(texts).forEach(([where, text]) => setText(root.querySelector(where), text));

/** @param {Event} event */
export const keyOfEvent = ({ target }) =>
  (target instanceof Element
    ? /** @type {HTMLElement|null} */ (target.closest("[data-key]"))?.dataset.key
    : undefined) ?? null;

/** A drawing of index.html, in the colour of the text beside it. @param {string} name */
export const icon = (name) => ($("icons").content.querySelector(`.i-${name}`) ?? h("i")).cloneNode(true);

/** @param {StatusLabel} status */
export const statusGlyph = (status) =>
  h("span", { class: "glyph", "aria-hidden": "true", text: glyphOf(status) });

/** @param {StatusLabel} status */
export const statusBadge = (status) =>
  h("span", { class: "badge", "data-status": status }, statusGlyph(status), status);

/** The old way: windows that are no browser close the new one. @param {string} text @param {HTMLElement} button */
export function copyText(text, button) {
  const area = h("textarea", { class: "offscreen", value: text });
  (button.closest("dialog") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  button.focus();
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1500);
}

const ANNOUNCE_PAUSE_MS = 3000;
/** @type {string[]} */
let pendingMessages = [];
let timer = 0;
let lastAnnouncedAt = -ANNOUNCE_PAUSE_MS;

/** @param {string} text */
export function announce(text) {
  pendingMessages.push(text.replaceAll("`", ""));
  if (timer) return;
  timer = window.setTimeout(
    () => {
      timer = 0;
      lastAnnouncedAt = performance.now();
      const text_ = pendingMessages.slice(-4).join(" ");
      const more = pendingMessages.length - 4;
      pendingMessages = [];
      $("live").textContent = more > 0 ? `${text_} And ${more} more changes.` : text_;
    },
    Math.max(60, lastAnnouncedAt + ANNOUNCE_PAUSE_MS - performance.now()),
  );
}
