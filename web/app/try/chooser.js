/** The field that chooses a model: a list to search in, with the state beside each entry. */
import { h, pick, setText, statusGlyph } from "../chrome/dom.js";
import { displayName, formatCount } from "../core/format.js";
import { choiceGroups, findChoices } from "./choices.js";

/** @param {HTMLElement} drawer @param {Store<AppState>} store @param {(choice:TryChoice)=>void} chosen */
export function modelChooser(drawer, store, chosen) {
  const [input, state, list] = pick(drawer, "#try-model #try-state #try-models");
  /** @type {TryChoice|undefined} */
  let current;
  /** @type {HTMLElement[]} */
  let rows = [];
  let active = -1;
  const groups = () => (store.state.mesh ? choiceGroups(store.state.mesh, store.state.local) : []);
  /** The entry of an id; an alias has none, nor has what is gone. @param {string} id @returns {TryChoice} */
  const byId = (id) =>
    groups()
      .flatMap((g) => g.choices)
      .find((c) => c.id === id) ?? {
      id,
      model: id,
      backend: "",
      word: "not listed",
      status: "unknown",
      rank: 9,
    };
  const backendName = (/** @type {string} */ id) =>
    displayName(store.state.mesh?.backends.get(id)?.name ?? id);

  /** @param {TryChoice} choice */
  function row(choice) {
    const el = h(
      "div",
      {
        role: "option",
        id: `try-${rows.length}`,
        "aria-selected": String(choice.id === current?.id),
        "data-status": choice.status,
        onpointerdown: (/** @type {Event} */ e) => e.preventDefault(),
        onclick: () => choose(choice),
      },
      h("span", { class: "what", text: displayName(choice.model) }),
      statusGlyph(choice.status),
      h("small", { text: choice.word }),
    );
    rows.push(el);
    return el;
  }
  function draw(query = "") {
    const { groups: found, more } = findChoices(groups(), query);
    rows = [];
    list.replaceChildren(
      ...found.map(({ label, choices }) =>
        h(
          "div",
          { role: "group", "aria-label": label },
          h("p", { class: "eyebrow", "aria-hidden": "true", text: label }),
          ...choices.map(row),
        ),
      ),
      more
        ? `${formatCount(more)} more: search for them.`
        : found.length
          ? ""
          : "No model is called that. Enter asks for it all the same, as an alias.",
    );
    point(query ? 0 : rows.findIndex((r) => r.ariaSelected === "true"));
  }
  /** @param {number} index */
  function point(index) {
    rows[active]?.classList.remove("active");
    active = index;
    rows[active]?.classList.add("active");
    rows[active]?.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", rows[active]?.id ?? "");
  }
  /** @param {boolean} isOpen */
  function show(isOpen) {
    if (list.hidden === !isOpen) return;
    list.hidden = !isOpen;
    input.ariaExpanded = isOpen;
    active = -1;
    if (isOpen) draw();
    else update();
  }
  function update() {
    if (!current) return;
    current = byId(current.id);
    state.dataset.status = current.status;
    setText(state, current.word);
    const name = displayName(current.model);
    if (list.hidden) input.value = current.backend ? `${name} on ${backendName(current.backend)}` : name;
  }
  /** @param {TryChoice} choice */
  function choose(choice) {
    current = choice;
    show(false);
    update();
    chosen(choice);
  }
  input.onfocus = () => input.select();
  input.onclick = () => show(true);
  input.oninput = () => (show(true), draw(input.value));
  input.onblur = () => show(false);
  input.onkeydown = (/** @type {KeyboardEvent} */ e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step && list.hidden) show(true);
    else if (step) point(Math.max(0, Math.min(rows.length - 1, active + step)));
    else if (e.key === "Enter") {
      if (rows[active]) rows[active].click();
      else if (!list.hidden && input.value.trim()) choose(byId(input.value.trim()));
    } else if (e.key === "Escape" && !list.hidden) {
      e.stopPropagation();
      show(false);
      input.select();
    } else return;
    e.preventDefault();
  };
  store.subscribe((s) => [s.mesh?.backends, s.local], update);
  return {
    current: () => current,
    /** Choose by id; without one, what is best if nothing is chosen yet. @param {string} [id] */
    pick(id) {
      const choice = id ? byId(id) : (current ?? groups()[0]?.choices[0]);
      if (choice) choose(choice);
    },
  };
}
