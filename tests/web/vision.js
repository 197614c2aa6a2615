/** How colours status to people with deuteranopia and protanopia (Machado et al. 2009, severity 1), and how far apart they lie in OKLab. */

const SEE = {
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
};
const LMS = [
  [0.4122214708, 0.5363325363, 0.0514459929],
  [0.2119034982, 0.6806995451, 0.1073969566],
  [0.0883024619, 0.2817188376, 0.6299787005],
];
const LAB = [
  [0.2104542553, 0.793617785, -0.0040720468],
  [1.9779984951, -2.428592205, 0.4505937099],
  [0.0259040371, 0.7827717662, -0.808675766],
];

/** @param {number[][]} m @param {number[]} v */
const times = (m, v) => m.map((row) => row.reduce((sum, x, i) => sum + x * v[i], 0));
/** @param {string} hex */
const linear = (hex) =>
  [1, 3, 5]
    .map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));

/** @param {string} a @param {string} b @param {"deuteranopia"|"protanopia"} eye */
export function distance(a, b, eye) {
  const lab = (/** @type {string} */ hex) =>
    times(
      LAB,
      times(
        LMS,
        times(SEE[eye], linear(hex)).map((c) => Math.min(1, Math.max(0, c))),
      ).map(Math.cbrt),
    ).map((x) => x * 100);
  const [p, q] = [lab(a), lab(b)];
  return Math.hypot(...p.map((x, i) => x - q[i]));
}

/** WCAG contrast. @param {string} a @param {string} b */
export function contrast(a, b) {
  const light = (/** @type {string} */ hex) =>
    linear(hex).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}
