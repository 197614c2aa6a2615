/** The map, brought up to date at most once a frame. */
import { Cards, detailLevel } from "./cards.js";
import { pixelRatio, sizedContext } from "./canvas.js";
import { fitCamera, frameRect, hubsAt, revealRect, isSameCamera, clampCamera, zoomCamera } from "./camera.js";
import { LOCAL_ID } from "../core/local_models.js";
import { backendOf } from "./selection.js";
import { modelEdge, routerEdge, samplePath, backendEdge } from "./paths.js";
import { drawEdges } from "./edges.js";
import { LaneHeaders } from "./lane_headers.js";
import { computeLayout } from "./layout.js";
import { listen } from "./input.js";
import { Particles, flightDuration, measurePath } from "./particles.js";
import { readPalette } from "./colours.js";

const ANIMATION_MS = 240;

export class MapView {
  /**
   * @param {{root:HTMLElement, edges:HTMLCanvasElement, particles:HTMLCanvasElement, world:HTMLElement, headers:HTMLElement}} elements
   * @param {{moved:()=>void, cleared:()=>void}} hooks
   */
  constructor(elements, hooks) {
    this.elements = elements;
    this.hooks = hooks;
    this.view = { w: 0, h: 0 };
    this.camera = { x: 0, y: 0, k: 1 };
    /** A pan or zoom ends it. */
    this.autoFit = true;
    this.autoFitBefore = true;
    this.reducedMotion = false;
    this.palette = /** @type {Palette} */ (/** @type {unknown} */ (null));
    /** @type {Layout} */
    this.layout = computeLayout([], { w: 1000, h: 600 });
    /** @type {MapModel|null} */
    this.model = null;
    this.laidOutTopology = this.drawnSignature = "";
    this.frame = 0;
    this.animationFrame = 0;
    /** @type {Map<string, Float32Array>} */
    this.flightPaths = new Map();
    this.cards = new Cards(elements.world);
    this.laneHeaders = new LaneHeaders(elements.headers);
    this.particles = new Particles(elements.particles, () => this.camera);
    listen(elements.root, {
      pan: (dx, dy) => this.moveCamera({ ...this.camera, x: this.camera.x + dx, y: this.camera.y + dy }),
      zoom: (factor, x, y) => this.moveCamera(zoomCamera(this.camera, factor, x, y, this.minScale())),
      zoomToLane: (x, y) => this.zoomToLane(x, y),
      clear: hooks.cleared,
    });
  }

  minScale() {
    return fitCamera(this.layout, this.view).k * 0.7;
  }

  /** @param {Theme} name */
  setTheme(name) {
    this.palette = readPalette(name);
    this.particles.setPalette(this.palette);
    this.redraw();
  }

  /** Take the element's size; beside the panel it is laid out anew if every name stays readable. */
  measure() {
    const { clientWidth: w, clientHeight: h } = this.elements.root;
    // A hidden map has no size: it keeps its layout and camera until it is shown again.
    if (!w || !h || (w === this.view.w && h === this.view.h)) return;
    const relayout = !this.model?.selected || this.fitsWide(w, h);
    this.view = { w, h };
    sizedContext(this.elements.edges, w, h);
    sizedContext(this.elements.particles, w, h);
    this.particles.setPalette(this.palette);
    if (relayout) this.laidOutTopology = "";
    this.draw();
  }

  /** Every name readable? @param {number} w @param {number} h */
  fitsWide(w, h) {
    return computeLayout(this.placed(), { w, h }).style === "wide";
  }

  /** Who is laid out; those of this machine's models that are folded have no place. @returns {PlacedBackend[]} */
  placed() {
    const { backends, placed } = this.model ?? {};
    return [...(backends?.values() ?? [])].map((b) =>
      b.id === LOCAL_ID && placed ? { ...b, models: placed } : b,
    );
  }

  /** @param {MapModel} model */
  show(model) {
    const before = this.model;
    const drawnFields = /** @type {const} */ ([
      "backends",
      "selected",
      "matches",
      "active",
      "unused",
      "rates",
      "queues",
    ]);
    // The canvas is drawn anew only when it would look different: counters tick often.
    if (!before || drawnFields.some((field) => before[field] !== model[field])) this.drawnSignature = "";
    // Far away, the canvas alone shows what this machine's models do.
    if (model.local !== before?.local && detailLevel(this.layout, this.camera.k) !== "near")
      this.drawnSignature = "";
    this.model = model;
    this.draw();
  }

  /** Lay out anew, and show everything. */
  tidy() {
    this.laidOutTopology = "";
    this.autoFit = true;
    this.draw();
  }

  /** @param {string|null} key @param {string|null} before @param {boolean} center */
  select(key, before, center) {
    if (key && !before) this.autoFitBefore = this.autoFit;
    this.measure();
    // Once the narrower map is laid out.
    const later = (/** @type {()=>void} */ run) => requestAnimationFrame(() => requestAnimationFrame(run));
    if (key) {
      this.cards.makeTabStop(key, false);
      later(() => this.reveal(key, center));
    } else if (before) {
      this.autoFit ||= this.autoFitBefore;
      this.focus(before);
      later(() => this.autoFitBefore && this.fit());
    }
  }

  /** Make a card what Tab comes to; with the focus where nothing has it, for the next key. @param {string} key @param {boolean} [isWanted] */
  focus(key, isWanted = document.activeElement === document.body) {
    if (this.elements.root.hidden || this.cards.makeTabStop(key, isWanted)) return;
    // One out of view is made when the map is drawn.
    this.render();
    this.cards.makeTabStop(key, isWanted);
  }

  /** Draw the canvas anew, too. */
  redraw() {
    this.drawnSignature = "";
    this.draw();
  }

  draw() {
    if (!this.frame && this.view.w) this.frame = requestAnimationFrame(() => this.render());
  }

  render() {
    this.frame = 0;
    const { model } = this;
    if (!model) return;
    if (this.laidOutTopology !== model.topology) {
      this.laidOutTopology = model.topology;
      const { style } = this.layout;
      this.layout = computeLayout(this.placed(), this.view);
      this.flightPaths.clear();
      this.particles.clear();
      // Where all has moved, what was in view is no longer there.
      if (this.autoFit || style !== this.layout.style) this.camera = fitCamera(this.layout, this.view);
    }
    const { layout, camera, view } = this;
    /** @type {Scene} */
    const scene = {
      layout,
      camera,
      view,
      pixelRatio: pixelRatio(),
      palette: this.palette,
      level: detailLevel(layout, camera.k),
      shown: model.backends,
      unused: model.unused,
      local: model.local,
      hubs: hubsAt(layout, camera.k),
      highlighted: model.highlighted,
      matches: model.matches,
      active: model.active,
      activeBackends: new Set(),
      cards: new Set(),
      reducedMotion: this.reducedMotion,
      rates: model.rates,
      queues: model.queues,
      mesh: model.mesh,
    };
    for (const key of model.active) scene.activeBackends.add(backendOf(key));
    scene.cards = this.cards.chooseKeys(scene);
    this.elements.world.style.transform = `translate(${camera.x}px,${camera.y}px) scale(${camera.k})`;
    this.cards.update(scene, model.hub, model.selected);
    this.laneHeaders.update(layout, camera, model.backends, view);
    const drawn = [camera.x, camera.y, camera.k, view.w, view.h, this.laidOutTopology].join();
    const pen = this.elements.edges.getContext("2d");
    if (pen && drawn !== this.drawnSignature) drawEdges(pen, scene);
    this.drawnSignature = drawn;
    this.hooks.moved();
  }

  /** @param {Camera} camera @param {boolean} [auto] */
  moveCamera(camera, auto = false) {
    cancelAnimationFrame(this.animationFrame);
    const zoomed = camera.k !== this.camera.k;
    this.camera = clampCamera(camera, this.layout, this.view);
    this.autoFit = auto;
    // Hubs of the dense layout change their size in the world with the scale.
    if (zoomed && this.layout.hub !== 1) this.flightPaths.clear();
    this.draw();
  }

  /** @param {Camera} to @param {boolean} [auto] */
  animateTo(to, auto = false) {
    cancelAnimationFrame(this.animationFrame);
    const from = this.camera;
    if (this.reducedMotion || isSameCamera(from, to)) return this.moveCamera(to, auto);
    const start = performance.now();
    const step = (/** @type {number} */ now) => {
      const t = Math.min(1, Math.max(0, (now - start) / ANIMATION_MS));
      const e = 1 - (1 - t) ** 3;
      const k = from.k * (to.k / from.k) ** e;
      const mix = from.k === to.k ? e : (k - from.k) / (to.k - from.k);
      this.moveCamera({ k, x: from.x + (to.x - from.x) * mix, y: from.y + (to.y - from.y) * mix }, auto);
      if (t < 1) this.animationFrame = requestAnimationFrame(step);
    };
    this.animationFrame = requestAnimationFrame(step);
  }

  fit() {
    this.animateTo(fitCamera(this.layout, this.view), true);
  }

  /** @param {number} factor */
  zoom(factor) {
    this.animateTo(zoomCamera(this.camera, factor, this.view.w / 2, this.view.h / 2, this.minScale()));
  }

  /** @param {number} x @param {number} y */
  zoomToLane(x, y) {
    const wx = (x - this.camera.x) / this.camera.k;
    const wy = (y - this.camera.y) / this.camera.k;
    const lane = this.layout.lanes.find((l) => wx >= l.x && wx <= l.x + l.w && wy >= l.y && wy <= l.y + l.h);
    const to = lane && frameRect(lane, this.view, 1.6);
    if (to && !isSameCamera(to, this.camera)) this.animateTo(to);
    else this.fit();
  }

  /** @param {string} key */
  rectOf(key) {
    const hubs = hubsAt(this.layout, this.camera.k);
    return key === "u" ? hubs.user : key === "r" ? hubs.router : (this.layout.byKey.get(key) ?? null);
  }

  /** @param {string} key @param {boolean} [close] */
  reveal(key, close = false) {
    const rect = this.rectOf(key);
    if (!rect) return;
    const box = this.layout.byKey.get(`b:${key.length > 1 ? backendOf(key) : ""}`);
    const cell = box && "cell" in box ? box.cell : rect;
    let near =
      close && key.length > 1 && detailLevel(this.layout, this.camera.k) !== "near"
        ? frameRect(cell, this.view, 1.1, 60)
        : this.camera;
    // Step back for a cell that is a little too wide.
    const isResponse = Math.max(0.78, (this.view.w - 34) / (cell.w * near.k));
    if (isResponse < 1 && cell.w * near.k * isResponse <= this.view.w - 32)
      near = zoomCamera(near, isResponse, 0, this.view.h / 2, 0.01);
    const fits = cell.w * near.k < this.view.w - 32 && cell.h * near.k < this.view.h - 32;
    const to = revealRect(near, fits ? cell : rect, this.view);
    if (!isSameCamera(to, this.camera)) this.animateTo(to, false);
  }

  /** Where a sheet hides least. @param {string} key @param {number} w @param {number} h */
  leastCoveringSpot(key, w, h) {
    const {
      layout,
      camera: { k, x, y },
      model,
      view,
    } = this;
    const onScreen = (/** @type {Rect} */ r) => ({ x: r.x * k + x, y: r.y * k + y, w: r.w * k, h: r.h * k });
    const at = onScreen(this.rectOf(key) ?? layout.router);
    const ownPath = model?.pathOf(key);
    const cards = ["u", "r", ...layout.byKey.keys()].map((id) => ({
      ...onScreen(/** @type {Rect} */ (this.rectOf(id))),
      weight: id === key || ownPath?.has(id) || model?.highlighted?.has(id) ? 30 : 1,
    }));
    const [before, router] = [at.x - w - 14, cards[1]];
    const spots = [
      [before, at.y + 14],
      [before, at.y + at.h - h - 14],
      [before, router.y + router.h + 14],
      [before, router.y - h - 14],
      [at.x, at.y + at.h + 8],
      [at.x, at.y - h - 8],
      [at.x + at.w + 12, at.y],
    ];
    const costs = spots.map(([sx, sy], i) => {
      const spot = {
        x: Math.round(Math.max(8, Math.min(view.w - w - 8, sx))),
        y: Math.round(Math.max(4, Math.min(view.h - h - 4, sy))),
      };
      let cost = 40 * i;
      for (const c of cards) {
        const [dx, dy] = [
          Math.min(spot.x + w, c.x + c.w) - Math.max(spot.x, c.x),
          Math.min(spot.y + h, c.y + c.h) - Math.max(spot.y, c.y),
        ];
        if (dx > 0 && dy > 0) cost += dx * dy * c.weight;
      }
      return { ...spot, cost };
    });
    return costs.reduce((best, spot) => (spot.cost < best.cost ? spot : best));
  }

  /** @param {RouteTraffic} route @param {number} windowMs over which they are spread */
  showTraffic(route, windowMs) {
    if (this.reducedMotion || !this.view.w) return;
    const path = this.flightPath(route.backend, route.model);
    if (!path) return;
    const durationMs = flightDuration(this.model?.backends.get(route.backend)?.latency ?? null);
    const now = performance.now();
    const send = (
      /** @type {number} */ n,
      /** @type {boolean} */ isResponse,
      /** @type {boolean} */ isFailure,
    ) => {
      for (let i = 0; i < Math.min(n, 24); i += 1)
        this.particles.add(path, {
          isResponse,
          isFailure,
          delay: (i * windowMs) / Math.max(1, n),
          durationMs,
          now,
        });
    };
    send(route.started, false, false);
    send(route.ok, true, false);
    send(route.failed, true, true);
  }

  /** @param {string} backend @param {string} model */
  flightPath(backend, model) {
    const key = `m:${backend}\n${model}`;
    const known = this.flightPaths.get(key);
    if (known) return known;
    const box = /** @type {Box|undefined} */ (this.layout.byKey.get(`b:${backend}`));
    const chip = /** @type {Chip|undefined} */ (this.layout.byKey.get(key));
    const lane = this.layout.lanes.find((l) => l.ring === box?.ring);
    if (!box || !lane) return null;
    const { user, router } = hubsAt(this.layout, this.camera.k);
    const path = measurePath([
      ...samplePath(routerEdge(user, router), 4),
      ...samplePath(backendEdge(router, box, lane.x), 26),
      ...(chip ? samplePath(modelEdge(box, chip), 10) : []),
    ]);
    this.flightPaths.set(key, path);
    return path;
  }
}
