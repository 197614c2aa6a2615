/**
 * Where everything stands: a pure function of who is there and how large the window is, so a tick moves nothing.
 * `wide`: one backend a line, its models to its right, every name readable. `stacked`: models below their backend,
 * many such cells a row. Edges run in gutters that no card enters: below each row of models, above each row of cells.
 */
import {
  CARD_PAD_EMS,
  CHIP_GAP,
  CHIP_PAD,
  EDGE,
  SIZES,
  chips,
  ems,
  finish,
  namePx,
  pack,
  spanOf,
} from "./sizes.js";
import { stacked } from "./dense_layout.js";
import { RING_ORDER } from "./status_styles.js";

const UNIT_MIN = 112;
const UNIT_MAX = 164;
const [FLOW_MAX, FLOW_MIN] = [280, 186];
const WIDE_MIN = 0.8;

/** @param {Placed[]} placed @param {Size} view the free room on screen */
export function layOut(placed, view) {
  const groups = RING_ORDER.map((ring) => ({ ring, members: placed.filter((p) => p.ring === ring) })).filter(
    (group) => group.members.length,
  );
  return wide(groups, view) ?? stacked(groups, view);
}

/** @param {Group[]} groups @param {Size} view @returns {Layout|null} null when it would be too small to read */
function wide(groups, view) {
  const count = groups.reduce((n, g) => n + g.members.length, 0);
  if (count * 34 > view.h * 1.15) return null;
  /** @type {Plan|null} */
  let best = null;
  /** With some names shortened. @type {Plan|null} */
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
        const plan = planOf(
          groups,
          s,
          flow ? room + CHIP_GAP : cols,
          flow ? 1 - CHIP_GAP : unit,
          left,
          card,
          most,
        );
        if (!best || plan.h < best.h - 1) best = plan;
        if (plan.h <= view.h && !plan.cut) return placeWide(groups, view, plan);
        if (plan.h <= view.h) cutting ??= plan;
      }
      if (flow) break;
    }
  }
  if (cutting) return placeWide(groups, view, cutting);
  return best && view.h / best.h >= WIDE_MIN ? placeWide(groups, view, best) : null;
}

/** @param {Group[]} groups @param {Sizes} s */
function widestName(groups, s) {
  const px = namePx(s.card.h);
  return Math.max(...groups.flatMap((g) => g.members.map((m) => (ems(m.name) + CARD_PAD_EMS) * px)));
}

/** @param {Group[]} groups @param {Sizes} s @param {number} cols @param {number} unit @param {number} left @param {number} card @param {number} most @returns {Plan} */
function planOf(groups, s, cols, unit, left, card, most) {
  const wanted = (/** @type {string} */ model) =>
    unit < 1
      ? Math.ceil(ems(model) * s.chip.font) + CHIP_PAD + 3 + CHIP_GAP
      : spanOf(model, unit, s.chip.font);
  const span = (/** @type {string} */ model) => (unit < 1 ? Math.min(most, wanted(model)) : wanted(model));
  const packs = groups.flatMap((g) => g.members.map((m) => pack(m.models, Math.floor(cols), span)));
  const h =
    packs.reduce((sum, p) => sum + Math.max(s.card.h, p.rows * s.chip.pitch) + s.gap, 0) +
    groups.length * (s.head + s.laneGap) +
    EDGE / 2;
  const cut = groups.some((g) =>
    g.members.some((m) => m.models.some((model) => wanted(model) > Math.min(cols, most))),
  );
  return { s, packs, unit, h, left, card, cut };
}

/** @param {Group[]} groups @param {Size} view @param {Plan} plan */
function placeWide(groups, view, { s, packs, unit, h, left, card }) {
  const fit = Math.min(1, view.h / h);
  const w = view.w / fit;
  const world = Math.max(view.h / fit, h);
  const cells = packs.length;
  const spare = Math.max(0, world - h);
  const more = Math.min(22, spare / Math.max(1, cells - groups.length));
  const widest = Math.max(
    0,
    ...packs.flatMap((p) => p.models.map((m) => (m.col + m.span) * (unit + CHIP_GAP))),
  );
  const slack = Math.max(0, w - (left + card + s.reach + widest + EDGE));
  const cardX = left + Math.min(slack * 0.4, 130);
  const cardW = card + Math.min(slack * 0.2, 64);
  const chipX = cardX + cardW + s.reach + Math.min(slack * 0.15, 40);
  let y = EDGE / 4 + (spare - more * (cells - groups.length)) / 2 + s.laneGap / 2;
  /** @type {Layout["lanes"]} */
  const lanes = [];
  /** @type {Layout["boxes"]} */
  const boxes = [];
  let n = 0;
  for (const group of groups) {
    const top = y;
    y += s.head;
    for (const member of group.members) {
      const p = packs[n++];
      const cellH = Math.max(s.card.h, p.rows * s.chip.pitch);
      const chipY = y + (cellH - p.rows * s.chip.pitch) / 2;
      boxes.push({
        key: `b:${member.id}`,
        id: member.id,
        ring: group.ring,
        rail: null,
        x: cardX,
        y: y + (cellH - s.card.h) / 2,
        w: cardW,
        h: s.card.h,
        cell: { x: cardX, y, w: chipX + widest - CHIP_GAP - cardX, h: cellH },
        chips: chips(member.id, p, unit, s, chipX, chipY),
      });
      y += cellH + s.gap + more;
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
    y += s.laneGap;
  }
  const hubX = EDGE + Math.min(slack * 0.1, 30);
  return finish("wide", s, { w, h: world, fit }, lanes, boxes, hubX, 1, Math.min(slack * 0.1, 30));
}
