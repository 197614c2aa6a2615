/**
 * The colours of the canvases, at least 12 apart in OKLab for deuteranopes and protanopes (tests/web/colours.test.js).
 * A canvas can't wait for styles/tokens.css, which repeats them.
 */

const dark = {
  statuses: {
    healthy: "#3ae3c0",
    warming: "#ffd94a",
    unhealthy: "#e64022",
    unknown: "#d2ae44",
    disabled: "#5f7086",
  },
  page: "#0c1118",
  lane: "#10161f",
  laneLine: "#1b2431",
  line: "#2a3646",
  ink: "#e9eef6",
  muted: "#8d9ab0",
  accent: "#7aa2ff",
  quietModelAlpha: 0.42,
};

/** @type {Record<"dark"|"light"|"contrast"|"forced", Palette>} */
export const PALETTES = {
  dark,
  light: {
    statuses: {
      healthy: "#0a766f",
      warming: "#cf8d12",
      unhealthy: "#78110a",
      unknown: "#8d5500",
      disabled: "#8391a8",
    },
    page: "#f5f7fb",
    lane: "#fbfcfe",
    laneLine: "#e2e8f1",
    line: "#ccd5e3",
    ink: "#131a26",
    muted: "#55627a",
    accent: "#2f5fd0",
    quietModelAlpha: 0.5,
  },
  contrast: {
    statuses: { ...dark.statuses, disabled: "#66778d" },
    page: "#000000",
    lane: "#000000",
    laneLine: "#8a97ab",
    line: "#8a97ab",
    ink: "#ffffff",
    muted: "#d5dce8",
    accent: "#9dbbff",
    quietModelAlpha: 0.75,
  },
  // The system's colours: shape, dash and word tell the statuses apart.
  forced: {
    statuses: {
      healthy: "CanvasText",
      warming: "CanvasText",
      unhealthy: "CanvasText",
      unknown: "CanvasText",
      disabled: "GrayText",
    },
    page: "Canvas",
    lane: "Canvas",
    laneLine: "GrayText",
    line: "GrayText",
    ink: "CanvasText",
    muted: "CanvasText",
    accent: "Highlight",
    quietModelAlpha: 0.6,
  },
};
