/** A model's Markdown as elements. Nothing in it is ever read as HTML; every text is set as text. */
import { copyText, h } from "../chrome/dom.js";

/** Characters that are laid out; what follows is shown as it is, to the second limit. */
const LAID_OUT_MAX = 60_000;
export const SHOWN_MAX = 400_000;
const INLINE =
  /`([^`\n]{1,500})`|\*\*(\S(?:[^*\n]{0,498}\S)?)\*\*|\*(\S(?:[^*\n]{0,498}\S)?)\*|(?<!\w)_(\S(?:[^_\n]{0,498}\S)?)_(?!\w)|\[([^\]\n]{1,500})\]\(([^\s()]{1,2000})\)|(https?:\/\/[^\s<>"'`)\]*]{1,2000}[^\s<>"'`)\]*.,;:!?])/g;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]{0,40})/;
const ITEM = /^(\s*)([-*+]|(\d{1,9})[.)])\s+(.*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;

/** @param {string} source @returns {Node[]} */
function inline(source) {
  /** @type {Node[]} */
  const out = [];
  let at = 0;
  for (const found of source.matchAll(INLINE)) {
    const [all, code, bold, italic, also, label, target, bare] = found;
    if (found.index > at) out.push(new Text(source.slice(at, found.index)));
    at = found.index + all.length;
    const lean = italic ?? also;
    if (code !== undefined) out.push(h("code", { text: code }));
    else if (bold !== undefined) out.push(h("strong", {}, ...inline(bold)));
    else if (lean !== undefined) out.push(h("em", {}, ...inline(lean)));
    else out.push(...link(all, label ?? bare, target ?? bare));
  }
  if (at < source.length) out.push(new Text(source.slice(at)));
  return out;
}

/** A link that says where it leads; anything but the web stays text. @param {string} source @param {string} label @param {string} target @returns {Node[]} */
function link(source, label, target) {
  /** @type {URL} */
  let url;
  try {
    url = new URL(target);
  } catch {
    return [new Text(source)];
  }
  if (!/^https?:$/.test(url.protocol) || url.username || url.password) return [new Text(source)];
  const how = { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" };
  return [h("a", how, label), new Text(label === target ? "" : ` (${url.host})`)];
}

/** @param {string[]} lines @returns {HTMLElement} */
function list(lines) {
  /** @type {{indent:number, el:HTMLElement}[]} */
  const open = [];
  const root = h("div");
  /** @type {HTMLElement|null} */
  let item = null;
  for (const line of lines) {
    const [, space, , number, text] = ITEM.exec(line) ?? [];
    if (space === undefined) {
      item?.append(" ", ...inline(line.trim()));
      continue;
    }
    while (open.length && space.length < open[open.length - 1].indent) open.pop();
    const last = open[open.length - 1];
    if (!last || (space.length > last.indent + 1 && open.length < 6)) {
      const el = number ? h("ol", { start: number }) : h("ul");
      (last ? item : root)?.append(el);
      open.push({ indent: space.length, el });
    }
    item = h("li", {}, ...inline(text));
    open[open.length - 1].el.append(item);
  }
  return root;
}

/** @param {string} language @param {string} text */
function codeBlock(language, text) {
  const copy = h("button", { class: "copy" }, "Copy");
  copy.onclick = () => copyText(text, copy);
  return h(
    "figure",
    {},
    h("figcaption", {}, h("span", { text: language || "code" }), copy),
    h("pre", { tabindex: "0" }, h("code", { text })),
  );
}

/** The pieces of a text that stand for themselves. @param {string} text @returns {{source:string, make:()=>HTMLElement}[]} */
export function blocksOf(text) {
  const lines = text.slice(0, LAID_OUT_MAX).split("\n");
  /** @type {{source:string, make:()=>HTMLElement}[]} */
  const blocks = [];
  let i = 0;
  /** Takes lines for as long as they go on. @param {string} kind @param {(line:string)=>boolean} goesOn @param {(lines:string[])=>HTMLElement} make */
  const take = (kind, goesOn, make) => {
    const from = i++;
    while (i < lines.length && goesOn(lines[i])) i++;
    const taken = lines.slice(from, i);
    blocks.push({ source: `${kind}${taken.join("\n")}`, make: () => make(taken) });
  };
  const isPlain = (/** @type {string} */ line) =>
    line.trim() !== "" && ![FENCE, ITEM, HEADING, RULE, /^[>|]/].some((form) => form.test(line));
  const never = () => false;
  while (i < lines.length) {
    const line = lines[i];
    const [, fence, language] = FENCE.exec(line) ?? [];
    const [, marks, title] = HEADING.exec(line) ?? [];
    if (fence) {
      const goesOn = (/** @type {string} */ l) =>
        !l.trim().startsWith(fence) || l.trim().replaceAll(fence[0], "") !== "";
      take("`", goesOn, (taken) => codeBlock(language, taken.slice(1).join("\n")));
      i++;
    } else if (!line.trim()) i++;
    else if (marks) {
      const words = title.replace(/\s#+\s*$/, "");
      take("#", never, () => h("h3", {}, ...inline(words)));
    } else if (RULE.test(line)) take("-", never, () => h("hr"));
    else if (ITEM.test(line)) take("*", (l) => ITEM.test(l) || /^\s{2,}\S/.test(l) || isPlain(l), list);
    else if (line[0] === "|")
      take(
        "|",
        (l) => l[0] === "|",
        (taken) => codeBlock("table", taken.join("\n")),
      );
    else if (line[0] === ">")
      take(
        ">",
        (l) => l[0] === ">",
        (taken) => h("blockquote", {}, ...inline(taken.map((l) => l.replace(/^>\s?/, "")).join("\n"))),
      );
    else take("p", isPlain, (taken) => h("p", {}, ...inline(taken.join("\n"))));
  }
  const rest = text.slice(LAID_OUT_MAX, SHOWN_MAX);
  if (rest) blocks.push({ source: `.${rest.length}`, make: () => h("pre", { tabindex: "0", text: rest }) });
  if (text.length > SHOWN_MAX) {
    const words = `${Math.round((text.length - SHOWN_MAX) / 1000)} kB more. “Copy answer” takes all of it.`;
    blocks.push({ source: words, make: () => h("p", { class: "quiet", text: words }) });
  }
  return blocks;
}

/** Shows a growing text: what has not changed stays as it is, with what a person selected in it. @param {HTMLElement} root */
export function markdownView(root) {
  /** @type {string[]} */
  let shown = [];
  return (/** @type {string} */ text) => {
    const blocks = blocksOf(text);
    const now = blocks.map((b) => b.source);
    let same = 0;
    while (same < now.length && now[same] === shown[same]) same++;
    while (root.children.length > same) root.lastElementChild?.remove();
    root.append(...blocks.slice(same).map((b) => b.make()));
    shown = now;
  };
}
