/** A backend's address as a link and a QR code for another machine; its key never goes along. */
import { copyText, setTexts, fromTemplate } from "../chrome/dom.js";

const LOOPBACK = /^https?:\/\/(localhost|127\.|\[::1\])/i;

/** @param {DeepLink} backend @returns {Node[]} */
export function shareContent({ kind, url = "", name, access_key }) {
  if (LOOPBACK.test(url)) return [fromTemplate("shared-here")];
  const params = Object.entries({ kind, url, name, access_key }).flatMap(([key, value]) =>
    value ? [[key, value]] : [],
  );
  return [fromTemplate("shared-there"), linkWithQr(`meshlight://add?${new URLSearchParams(params)}`)];
}

/** @param {string} link @returns {Node} */
export function linkWithQr(link) {
  const el = fromTemplate("linked");
  const [code, fallback] = el.children;
  code.onerror = () => ((code.hidden = true), (fallback.hidden = false));
  code.src = `/mesh/qr?text=${encodeURIComponent(link)}`;
  setTexts(el, { ".link-text": link });
  const button = el.querySelector("button");
  button.onclick = () => copyText(link, button);
  return el;
}
