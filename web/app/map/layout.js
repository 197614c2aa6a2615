/**
 * Where everything stands: a pure function of who is there and how large the window is, so a tick moves nothing.
 * `wide`: one backend a line, its models to its right, every name readable. `dense`: models below their backend,
 * many such cells a row. Edges run in gutters that no card enters: below each row of models, above each row of cells.
 */
import {
  CARD_PAD_EMS,
  CHIP_GAP,
  CHIP_PAD,
  EDGE,
  SIZES,
  placeChips,
  textWidthEms,
  finishLayout,
  nameFontPx,
  packModels,
  columnSpan,
} from "./sizes.js";
import { denseLayout } from "./dense_layout.js";
import { RING_ORDER } from "./status_styles.js";

const UNIT_MIN = 112;
const UNIT_MAX = 164;
const [FLOW_MAX, FLOW_MIN] = [280, 186];
const WIDE_MIN = 0.8;

/** @param {PlacedBackend[]} placed @param {Size} view the free room on screen */
export function computeLayout(placed, view) {
  const groups = RING_ORDER.map((ring) => ({ ring, members: placed.filter((p) => p.ring === ring) })).filter(
    (group) => group.members.length,
  );
  return wideLayout(groups, view) ?? denseLayout(groups, view);
}

/** @param {LaneGroup[]} groups @param {Size} view @returns {Layout|null} null when it would be too small to read */
function wideLayout(groups, view) {
  const count = groups.reduce((n, g) => n + g.members.length, 0);
  if (count * 34 > view.h * 1.15) return null;
  /** @type {WidePlan|null} */
  let best = null;
  /** With some names shortened. @type {WidePlan|null} */
  let cutting = null;
  for (const s of SIZES) {
    const left = EDGE + s.user.w + s.step + s.router.w + s.fan;
    const free = view.w - left - s.reach - EDGE;
    const card = Math.max(s.card.w, Math.min(widestName(groups, s), s.card.w * 1.4, free - UNIT_MIN));
    const room = free - card;
    if (room < UNIT_MIN) continue;
    for (let cols = 1; cols <= 8; cols += 1) {
      const unit = Math.min(UNIT_MAX, (room + CHIP_GAP) / cols - CHIP_GAP);
      // Where columns grow too narrow, names follow each other, each as wide as it is.
      const flow = unit < UNIT_MIN;
      if (flow && s.chip.h > 18) break;
      for (const most of flow ? [FLOW_MAX, FLOW_MIN] : [Infinity]) {
        const plan = widePlan(
          groups,
          s,
          flow ? room + CHIP_GAP : cols,
          flow ? 1 - CHIP_GAP : unit,
          left,
          card,
          most,
        );
        if (!best || plan.h < best.h - 1) best = plan;
        if (plan.h <= view.h && !plan.truncates) return placeWidePlan(groups, view, plan);
        if (plan.h <= view.h) cutting ??= plan;
      }
      if (flow) break;
    }
  }
  if (cutting) return placeWidePlan(groups, view, cutting);
  return best && view.h / best.h >= WIDE_MIN ? placeWidePlan(groups, view, best) : null;
}

/** @param {LaneGroup[]} groups @param {Sizes} s */
function widestName(groups, s) {
  const px = nameFontPx(s.card.h);
  return Math.max(...groups.flatMap((g) => g.members.map((m) => (textWidthEms(m.name) + CARD_PAD_EMS) * px)));
}

/** @param {LaneGroup[]} groups @param {Sizes} sizes @param {number} cols @param {number} unit @param {number} left @param {number} card @param {number} most @returns {WidePlan} */
function widePlan(groups, sizes, cols, unit, left, card, most) {
  const wanted = (/** @type {string} */ model) =>
    unit < 1
      ? Math.ceil(textWidthEms(model) * sizes.chip.font) + CHIP_PAD + 3 + CHIP_GAP
      : columnSpan(model, unit, sizes.chip.font);
  const span = (/** @type {string} */ model) => (unit < 1 ? Math.min(most, wanted(model)) : wanted(model));
  const packed = groups.flatMap((g) => g.members.map((m) => packModels(m.models, Math.floor(cols), span)));
  const h =
    packed.reduce((sum, p) => sum + Math.max(sizes.card.h, p.rows * sizes.chip.pitch) + sizes.gap, 0) +
    groups.length * (sizes.head + sizes.laneGap) +
    EDGE / 2;
  const truncates = groups.some((g) =>
    g.members.some((m) => m.models.some((model) => wanted(model) > Math.min(cols, most))),
  );
  return { sizes, packed, unit, h, left, card, truncates };
}

/** @param {LaneGroup[]} groups @param {Size} view @param {WidePlan} plan */
function placeWidePlan(groups, view, { sizes, packed, unit, h, left, card }) {
  const fit = Math.min(1, view.h / h);
  const w = view.w / fit;
  const world = Math.max(view.h / fit, h);
  const cells = packed.length;
  const spare = Math.max(0, world - h);
  const more = Math.min(22, spare / Math.max(1, cells - groups.length));
  const widest = Math.max(
    0,
    ...packed.flatMap((p) => p.models.map((m) => (m.col + m.span) * (unit + CHIP_GAP))),
  );
  const slack = Math.max(0, w - (left + card + sizes.reach + widest + EDGE));
  const cardX = left + Math.min(slack * 0.4, 130);
  const cardW = card + Math.min(slack * 0.2, 64);
  const chipX = cardX + cardW + sizes.reach + Math.min(slack * 0.15, 40);
  let y = EDGE / 4 + (spare - more * (cells - groups.length)) / 2 + sizes.laneGap / 2;
  /** @type {Layout["lanes"]} */
  const lanes = [];
  /** @type {Layout["boxes"]} */
  const boxes = [];
  let n = 0;
  for (const group of groups) {
    const top = y;
    y += sizes.head;
    for (const member of group.members) {
      const p = packed[n++];
      const cellH = Math.max(sizes.card.h, p.rows * sizes.chip.pitch);
      const chipY = y + (cellH - p.rows * sizes.chip.pitch) / 2;
      boxes.push({
        key: `b:${member.id}`,
        id: member.id,
        ring: group.ring,
        rail: null,
        x: cardX,
        y: y + (cellH - sizes.card.h) / 2,
        w: cardW,
        h: sizes.card.h,
        cell: { x: cardX, y, w: chipX + widest - CHIP_GAP - cardX, h: cellH },
        chips: placeChips(member.id, p, unit, sizes, chipX, chipY),
      });
      y += cellH + sizes.gap + more;
    }
    y -= more;
    lanes.push({
      ring: group.ring,
      x: cardX - 10,
      y: top,
      w: w - EDGE / 2 - cardX + 10,
      h: y - top,
      backends: group.members.map((m) => m.id),
    });
    y += sizes.laneGap;
  }
  const hubX = EDGE + Math.min(slack * 0.1, 30);
  return finishLayout("wide", sizes, { w, h: world, fit }, lanes, boxes, hubX, 1, Math.min(slack * 0.1, 30));
}
