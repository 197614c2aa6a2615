/** Many backends: cells of one height; of several heights, the one at which all fit at the largest scale. */
import {
  CARD_PAD_EMS,
  CHIP_GAP,
  EDGE,
  SIZES,
  placeChips,
  finishLayout,
  nameFontPx,
  packModels,
  columnSpan,
  textWidthEms,
} from "./sizes.js";

const S = SIZES[2];
/** In a narrow window you stand above the router instead of beside it. */
export const NARROW = 560;
const NARROW_HUBS = { user: { w: 100, h: 54 }, router: { w: 100, h: 124 } };
const UNIT = 118;
const INDENT = 12;
const ROWS = [2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 28, 36];
/** On screen. */
const NAME_H = 12.5;
const NAME_W = 84;

/** @param {LaneGroup[]} groups @param {Size} view */
export function denseLayout(groups, view) {
  /** @type {Map<string, number>} */
  const spans = new Map();
  for (const g of groups)
    for (const m of g.members)
      for (const model of m.models)
        if (!spans.has(model)) spans.set(model, columnSpan(model, UNIT, S.chip.font));
  const span = (/** @type {string} */ model) => /** @type {number} */ (spans.get(model));
  /** @type {DensePlan|null} */
  let best = null;
  for (const rows of ROWS) {
    const lanes = groups.map((g) => g.members.map((member) => cellOf(member, rows, span)));
    const mean = average(lanes.flat().map((cell) => cell.w));
    for (const named of [true, false]) {
      const found = largestFit(lanes, rows, named, view);
      // With readable names, even a smaller scale is better.
      const score = found.fit * (named ? Math.min(1.5, (1.5 * mean * found.fit) / NAME_W) : 0.8);
      if (!best || score > best.score) best = { ...found, score, rows, named };
    }
  }
  return placeDensePlan(groups, view, /** @type {DensePlan} */ (best));
}

/** @param {number[]} values */
const average = (values) => values.reduce((a, b) => a + b, 0) / Math.max(1, values.length);

/** @param {PlacedBackend} member @param {number} rows @param {(model:string)=>number} span @returns {Cell} */
function cellOf(member, rows, span) {
  const total = member.models.reduce((sum, m) => sum + span(m), 0);
  let cols = Math.max(1, Math.ceil(total / rows));
  let packed = packModels(member.models, cols, span);
  while (packed.rows > rows && cols < total) packed = packModels(member.models, (cols += 1), span);
  return { member, packed, w: INDENT + Math.max(1, packed.cols) * (UNIT + CHIP_GAP) - CHIP_GAP };
}

/** @param {number} fit @param {boolean} named @param {Size} view @returns {Scale} */
function scaleAt(fit, named, view) {
  const hub = 1 / Math.min(1, fit);
  const hubs = view.w < NARROW ? EDGE + NARROW_HUBS.router.w + 24 : EDGE + S.user.w + 18 + S.router.w + 50;
  const left = hubs * hub;
  return {
    hub,
    left,
    gutter: Math.max(12, 6 * hub),
    gapX: Math.max(14, 4.5 * hub),
    cardH: Math.max(S.card.h, named ? NAME_H * hub : 4 * hub),
    head: 19 * hub,
    laneGap: 7 * hub,
    laneW: view.w / fit - left - EDGE * hub,
  };
}

/** @param {Cell[][]} lanes @param {number} rows @param {boolean} named @param {Size} view */
function largestFit(lanes, rows, named, view) {
  let [low, high] = [0.01, 1];
  let rowsByLane = /** @type {Cell[][][]} */ ([]);
  for (let i = 0; i < 12; i += 1) {
    const fit = i === 0 ? 1 : (low + high) / 2;
    const scale = scaleAt(fit, named, view);
    const tried = lanes.map((lane) => wrap(lane, scale));
    const room = lanes.every((lane) => lane.every((cell) => cell.w <= scale.laneW));
    if (room && denseHeight(tried, rows, scale) * fit <= view.h) {
      low = fit;
      rowsByLane = tried;
      if (i === 0) break;
    } else high = fit;
  }
  return {
    fit: low,
    rowsByLane: rowsByLane.length ? rowsByLane : lanes.map((lane) => wrap(lane, scaleAt(low, named, view))),
  };
}

/** @param {Cell[]} lane @param {Scale} scale */
function wrap(lane, { laneW, gapX }) {
  /** @type {Cell[][]} */
  const rows = [];
  let room = -1;
  for (const cell of lane) {
    if (room < cell.w) {
      rows.push([]);
      room = laneW;
    }
    rows[rows.length - 1].push(cell);
    room -= cell.w + gapX;
  }
  return rows;
}

/** @param {number} rows @param {Scale} scale */
const rowHeight = (rows, scale) => scale.cardH + 6 + rows * S.chip.pitch + 4;

/** @param {Cell[]} row */
const tallest = (row) => Math.max(1, ...row.map((cell) => cell.packed.rows));

/** @param {Cell[][][]} lines @param {number} rows @param {Scale} scale */
function denseHeight(lines, rows, scale) {
  let h = EDGE;
  for (const lane of lines) {
    h += scale.head + scale.laneGap;
    for (const row of lane) h += rowHeight(Math.min(rows, tallest(row)), scale) + scale.gutter;
  }
  return h;
}

/** @param {LaneGroup[]} groups @param {Size} view @param {DensePlan} plan */
function placeDensePlan(groups, view, { fit, rowsByLane, rows, named }) {
  const scale = scaleAt(fit, named, view);
  const { hub, left, gutter, gapX } = scale;
  const [w, h] = [view.w / fit, Math.max(view.h / fit, denseHeight(rowsByLane, rows, scale))];
  const lineCount = rowsByLane.reduce((n, lane) => n + lane.length, 0);
  const spare = Math.max(0, h - denseHeight(rowsByLane, rows, scale));
  const more = Math.min(14 * hub, spare / Math.max(1, lineCount));
  let y = EDGE / 2 + (spare - more * lineCount) / 2;
  /** @type {Lane[]} */
  const lanes = [];
  /** @type {Box[]} */
  const boxes = [];
  groups.forEach((group, g) => {
    const top = y;
    y += scale.head;
    for (const row of rowsByLane[g]) {
      y += gutter;
      const rowH = rowHeight(tallest(row), scale);
      let x = left;
      let spareW = scale.laneW - row.reduce((sum, cell) => sum + cell.w + gapX, -gapX);
      for (const { member, packed, w: least } of row) {
        // What is left of a row goes to names that would be cut.
        const wanted = (textWidthEms(member.name) + CARD_PAD_EMS) * nameFontPx(scale.cardH);
        const cellW = least + Math.max(0, Math.min(spareW, wanted - least));
        spareW -= cellW - least;
        boxes.push({
          key: `b:${member.id}`,
          id: member.id,
          ring: group.ring,
          rail: y - gutter / 2,
          x,
          y,
          w: cellW,
          h: scale.cardH,
          cell: { x, y, w: cellW, h: rowH },
          chips: placeChips(member.id, packed, UNIT, S, x + INDENT, y + scale.cardH + 6),
        });
        x += cellW + gapX;
      }
      y += rowH + more;
    }
    lanes.push({
      ring: group.ring,
      x: left - 6 * hub,
      y: top,
      w: scale.laneW + 10 * hub,
      h: y - top - more + 4,
      backends: group.members.map((m) => m.id),
    });
    y += scale.laneGap;
  });
  const sizes = view.w < NARROW ? { ...S, ...NARROW_HUBS } : S;
  return finishLayout(
    "dense",
    sizes,
    { w, h, fit },
    lanes,
    boxes,
    EDGE * hub,
    hub,
    view.w < NARROW ? null : 0,
  );
}
