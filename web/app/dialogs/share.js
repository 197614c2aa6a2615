/** A backend's address as a link and a QR code for another machine; its key never goes along. */
import { copy, fill, made } from "../chrome/dom.js";

const HERE = /^https?:\/\/(localhost|127\.|\[::1\])/i;

/** @param {Link} backend @returns {Node[]} */
export function sharing({ kind, url = "", name, access_key }) {
  if (HERE.test(url)) return [made("shared-here")];
  const said = Object.entries({ kind, url, name, access_key }).flatMap(([key, value]) =>
    value ? [[key, value]] : [],
  );
  return [made("shared-there"), linked(`meshlight://add?${new URLSearchParams(said)}`)];
}

/** @param {string} link @returns {Node} */
export function linked(link) {
  const el = made("linked");
  const [code, none] = el.children;
  code.onerror = () => ((code.hidden = true), (none.hidden = false));
  code.src = `/mesh/qr?text=${encodeURIComponent(link)}`;
  fill(el, { ".link-text": link });
  const button = el.querySelector("button");
  button.onclick = () => copy(link, button);
  return el;
}
