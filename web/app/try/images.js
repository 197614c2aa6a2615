/** The images that go with a question: picked, pasted or dropped. */
import { h, icon, pick } from "../chrome/dom.js";

/** What a request may weigh is 64 MB, and a third is added on the way. */
const ALL_MAX = 40_000_000;

/** @param {HTMLElement} drawer @param {()=>string} refusal why none may be added now @param {(text:string)=>void} say */
export function imageTray(drawer, refusal, say) {
  const [el, button, file] = pick(drawer, ".images .add .file");
  /** @type {string[]} */
  let urls = [];
  const draw = () =>
    el.replaceChildren(
      ...urls.map((src, i) => {
        const remove = () => (urls.splice(i, 1), draw(), button.focus());
        const name = `image ${i + 1}`;
        const title = `Remove ${name}`;
        const button = h(
          "button",
          { class: "tool", title, "aria-label": title, onclick: remove },
          icon("close"),
        );
        return h("span", {}, h("img", { src, alt: name }), button);
      }),
    );
  /** @param {Iterable<File>|undefined} files */
  async function add(files) {
    const chosen = [...(files ?? [])];
    const why = chosen.length && refusal();
    if (why) return say(why);
    for (const one of chosen) {
      if (!file.accept.split(",").includes(one.type)) say(`${one.name} is no PNG, JPEG, WebP or GIF.`);
      else if (urls.join("").length + one.size > ALL_MAX)
        say(`With ${one.name} it is too much for one request.`);
      else
        urls.push(
          await new Promise((done) => {
            const reader = new FileReader();
            reader.onload = () => done(String(reader.result));
            reader.onerror = () => say(`${one.name} can’t be read.`);
            reader.readAsDataURL(one);
          }),
        );
    }
    draw();
  }
  button.onclick = () => (refusal() ? say(refusal()) : file.click());
  file.onchange = () => add(file.files).then(() => (file.value = ""));
  drawer.onpaste = (e) => void add(e.clipboardData?.files);
  drawer.ondragover = (e) => e.preventDefault();
  drawer.ondrop = (e) => (e.preventDefault(), void add(e.dataTransfer?.files));
  return { urls: () => urls, clear: () => ((urls = []), draw()) };
}
