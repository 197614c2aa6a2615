/** Puts theme, view and legend on the page. */
import { $ } from "./dom.js";
import { drawLegend } from "./legend.js";
import { paletteName, writeHash } from "./settings.js";

/** What the system may wish anew. */
export const WISHES = ["(prefers-color-scheme: light)", "(prefers-contrast: more)", "(forced-colors: active)", "(prefers-reduced-motion: reduce)"];

/** @param {App} app */
export function dress(app) {
  const { settings, stage } = app;
  app.theme = paletteName(settings.theme);
  document.documentElement.dataset.theme = app.theme;
  const table = settings.view === "table";
  $("stage").hidden = table;
  $("table").hidden = !table;
  writeHash({ view: table ? "table" : null });
  stage.still = matchMedia(WISHES[3]).matches;
  if (stage.still || table) stage.particles.clear();
  stage.paint(app.theme);
  drawLegend(app.theme, settings.legend, () => app.set({ legend: !settings.legend }));
  if (!table) app.measure();
}
