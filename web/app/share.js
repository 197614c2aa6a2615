/** A backend's address as a link and a QR code for another machine; its key never goes along. */
import { copy, h } from "./dom.js";

const HERE = /^https?:\/\/(localhost|127\.|\[::1\])/i;

/** @param {Link} backend */
export function sharing({ kind, url = "", name, access_key }) {
  if (HERE.test(url)) return [h("p", { text: "This address leads to this machine only. Share the one by which other machines reach it, such as http://192.168.1.20:8000." })];
  const said = Object.entries({ kind, url, name, access_key }).flatMap(([key, value]) => (value ? [[key, value]] : []));
  return [h("p", { text: "Another Meshlight opens this link with its dialog filled in. The key is not in it." }), ...linked(`meshlight://add?${new URLSearchParams(said)}`)];
}

/** A link to show and to copy. @param {string} link */
export function linked(link) {
  const button = h("button", { onclick: () => copy(link, button) }, "Copy link");
  const code = h("img", {
    class: "qr", src: `/mesh/qr?text=${encodeURIComponent(link)}`, alt: "QR code of the link below",
    onerror: () => code.replaceWith(h("p", { text: "No QR code can be made of this link." })),
  });
  return [code, h("p", { class: "link-text", text: link }), button];
}
