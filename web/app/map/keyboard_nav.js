/** Sideways along the topology, up and down among equals. */

/** @param {Layout} layout @param {string} key @param {"ArrowLeft"|"ArrowRight"|"ArrowUp"|"ArrowDown"|"Home"|"End"} arrow @param {string|null} last */
export function nextKey(layout, key, arrow, last = null) {
  const { boxes } = layout;
  if (arrow === "Home") return "u";
  if (arrow === "End") return boxes.length ? boxes[boxes.length - 1].key : "r";
  if (key === "u") return arrow === "ArrowRight" ? "r" : null;
  if (key === "r") {
    if (arrow === "ArrowLeft") return "u";
    const back = last && layout.byKey.has(last) ? last : null;
    return boxes.length ? (back ?? nearest(boxes, layout.router).key) : null;
  }
  const here = layout.byKey.get(key);
  if (!here) return "r";
  if ("chips" in here) {
    if (arrow === "ArrowLeft") return "r";
    if (arrow === "ArrowRight") return here.chips[0]?.key ?? null;
    const i = boxes.indexOf(here) + (arrow === "ArrowDown" ? 1 : -1);
    return boxes[i]?.key ?? null;
  }
  const box = /** @type {Box} */ (layout.byKey.get(`b:${here.backend}`));
  const i = box.chips.indexOf(here);
  if (arrow === "ArrowLeft") return box.chips[i - 1]?.y === here.y ? box.chips[i - 1].key : box.key;
  if (arrow === "ArrowRight") return box.chips[i + 1]?.y === here.y ? box.chips[i + 1].key : null;
  const down = arrow === "ArrowDown";
  const row = box.chips.filter((c) => (down ? c.y > here.y : c.y < here.y));
  if (row.length) {
    const y = down ? Math.min(...row.map((c) => c.y)) : Math.max(...row.map((c) => c.y));
    return nearest(
      row.filter((c) => c.y === y),
      here,
    ).key;
  }
  const next = boxes[boxes.indexOf(box) + (down ? 1 : -1)];
  if (!next) return null;
  if (!next.chips.length) return next.key;
  const edge = down ? next.chips[0].y : next.chips[next.chips.length - 1].y;
  return nearest(
    next.chips.filter((c) => c.y === edge),
    here,
  ).key;
}

/** @template {Rect & {key:string}} T @param {T[]} list @param {Rect} to @returns {T} */
function nearest(list, to) {
  const far = (/** @type {T} */ r) =>
    Math.hypot(r.x + r.w / 2 - to.x - to.w / 2, r.y + r.h / 2 - to.y - to.h / 2);
  return list.reduce((best, r) => (far(r) < far(best) ? r : best));
}
