/** The map, brought up to date at most once a frame. */
import { Cards, levelOf } from "./cards.js";
import { dpr, penOf } from "./canvas.js";
import { fit, frame, hubsAt, reveal, same, tether, zoom } from "./camera.js";
import { backendOf } from "./selection.js";
import { branch, hubPath, points, trunk } from "./paths.js";
import { drawEdges } from "./edges.js";
import { Heads } from "./lane_headers.js";
import { layOut } from "./layout.js";
import { listen } from "./input.js";
import { Particles, lifeOf, way } from "./particles.js";
import { PALETTES } from "./colours.js";

const GLIDE_MS = 240;

export class Stage {
  /**
   * @param {{root:HTMLElement, edges:HTMLCanvasElement, particles:HTMLCanvasElement, world:HTMLElement, heads:HTMLElement}} parts
   * @param {{rate:(backend:string)=>number, moved:()=>void, cleared:()=>void}} hooks
   */
  constructor(parts, hooks) {
    this.parts = parts;
    this.hooks = hooks;
    this.view = { w: 0, h: 0 };
    this.camera = { x: 0, y: 0, k: 1 };
    /** A pan or zoom ends it. */
    this.auto = true;
    this.still = false;
    this.palette = PALETTES.dark;
    /** @type {Layout} */
    this.layout = layOut([], { w: 1000, h: 600 });
    /** @type {Picture|null} */
    this.picture = null;
    this.laidOut = this.drawn = "";
    this.frame = 0;
    this.glide = 0;
    /** @type {Map<string, Float32Array>} */
    this.ways = new Map();
    this.cards = new Cards(parts.world);
    this.heads = new Heads(parts.heads);
    this.particles = new Particles(parts.particles, () => this.camera);
    listen(parts.root, {
      pan: (dx, dy) => this.look({ ...this.camera, x: this.camera.x + dx, y: this.camera.y + dy }),
      zoom: (factor, x, y) => this.look(zoom(this.camera, factor, x, y, this.least())),
      dive: (x, y) => this.dive(x, y),
      clear: hooks.cleared,
    });
  }

  least() {
    return fit(this.layout, this.view).k * 0.7;
  }

  /** @param {Theme} name */
  paint(name) {
    this.palette = PALETTES[name];
    this.particles.paint(this.palette);
    this.drawn = "";
    this.draw();
  }

  /** @param {number} w @param {number} h @param {boolean} again */
  resize(w, h, again) {
    if (w === this.view.w && h === this.view.h) return;
    this.view = { w, h };
    penOf(this.parts.edges, w, h);
    penOf(this.parts.particles, w, h);
    this.particles.paint(this.palette);
    if (again) this.laidOut = "";
    this.draw();
  }

  /** Every name readable? @param {number} w @param {number} h */
  suits(w, h) {
    return (
      this.layout.style === "wide" &&
      layOut([...(this.picture?.backends.values() ?? [])], { w, h }).style === "wide"
    );
  }

  /** @param {Picture} picture */
  show(picture) {
    this.picture = picture;
    this.draw();
  }

  draw() {
    if (!this.frame && this.view.w) this.frame = requestAnimationFrame(() => this.render());
  }

  render() {
    this.frame = 0;
    const { picture } = this;
    if (!picture) return;
    if (this.laidOut !== picture.topology) {
      this.laidOut = picture.topology;
      this.layout = layOut([...picture.backends.values()], this.view);
      this.ways.clear();
      this.particles.clear();
      if (this.auto) this.camera = fit(this.layout, this.view);
    }
    const { layout, camera, view } = this;
    /** @type {Scene} */
    const scene = {
      layout,
      camera,
      view,
      dpr: dpr(),
      palette: this.palette,
      level: levelOf(layout, camera.k),
      shown: picture.backends,
      hubs: hubsAt(layout, camera.k),
      lit: picture.lit,
      found: picture.found,
      hot: picture.hot,
      hotBoxes: new Set(),
      cards: new Set(),
      still: this.still,
      rate: this.hooks.rate,
    };
    for (const key of picture.hot) scene.hotBoxes.add(backendOf(key));
    scene.cards = this.cards.choose(scene);
    this.parts.world.style.transform = `translate(${camera.x}px,${camera.y}px) scale(${camera.k})`;
    this.cards.sync(scene, picture.hub, picture.selected);
    this.heads.sync(layout, camera, picture.backends, view);
    // Drawn anew only when it would look different: counters tick often.
    const drawn = [picture.sig, camera.x, camera.y, camera.k, view.w, view.h, this.laidOut].join();
    const pen = this.parts.edges.getContext("2d");
    if (pen && drawn !== this.drawn) drawEdges(pen, scene);
    this.drawn = drawn;
    this.hooks.moved();
  }

  /** @param {Camera} camera @param {boolean} [auto] */
  look(camera, auto = false) {
    cancelAnimationFrame(this.glide);
    const zoomed = camera.k !== this.camera.k;
    this.camera = tether(camera, this.layout, this.view);
    this.auto = auto;
    // Stacked hubs change their size in the world with the scale.
    if (zoomed && this.layout.hub !== 1) this.ways.clear();
    this.draw();
  }

  /** @param {Camera} to @param {boolean} [auto] */
  glideTo(to, auto = false) {
    cancelAnimationFrame(this.glide);
    const from = this.camera;
    if (this.still || same(from, to)) return this.look(to, auto);
    const start = performance.now();
    const step = (/** @type {number} */ now) => {
      const t = Math.min(1, Math.max(0, (now - start) / GLIDE_MS));
      const e = 1 - (1 - t) ** 3;
      const k = from.k * (to.k / from.k) ** e;
      const mix = from.k === to.k ? e : (k - from.k) / (to.k - from.k);
      this.look({ k, x: from.x + (to.x - from.x) * mix, y: from.y + (to.y - from.y) * mix }, auto);
      if (t < 1) this.glide = requestAnimationFrame(step);
    };
    this.glide = requestAnimationFrame(step);
  }

  fit() {
    this.glideTo(fit(this.layout, this.view), true);
  }

  /** @param {number} factor */
  zoom(factor) {
    this.glideTo(zoom(this.camera, factor, this.view.w / 2, this.view.h / 2, this.least()));
  }

  /** @param {number} x @param {number} y */
  dive(x, y) {
    const wx = (x - this.camera.x) / this.camera.k;
    const wy = (y - this.camera.y) / this.camera.k;
    const lane = this.layout.lanes.find((l) => wx >= l.x && wx <= l.x + l.w && wy >= l.y && wy <= l.y + l.h);
    const to = lane && frame(lane, this.view, 1.6);
    if (to && !same(to, this.camera)) this.glideTo(to);
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
    const whole = box && "cell" in box ? box.cell : rect;
    let near =
      close && key.length > 1 && levelOf(this.layout, this.camera.k) !== "near"
        ? frame(whole, this.view, 1.1, 60)
        : this.camera;
    // Step back for a cell that is a little too wide.
    const back = Math.max(0.78, (this.view.w - 34) / (whole.w * near.k));
    if (back < 1 && whole.w * near.k * back <= this.view.w - 32)
      near = zoom(near, back, 0, this.view.h / 2, 0.01);
    const fits = whole.w * near.k < this.view.w - 32 && whole.h * near.k < this.view.h - 32;
    const to = reveal(near, fits ? whole : rect, this.view);
    if (!same(to, this.camera)) this.glideTo(to, false);
  }

  /** Where a sheet hides least. @param {string} key @param {number} w @param {number} h */
  freeSpot(key, w, h) {
    const {
      layout,
      camera: { k, x, y },
      picture,
      view,
    } = this;
    const onScreen = (/** @type {Rect} */ r) => ({ x: r.x * k + x, y: r.y * k + y, w: r.w * k, h: r.h * k });
    const at = onScreen(this.rectOf(key) ?? layout.router);
    const own = picture?.waysOf(key);
    const cards = ["u", "r", ...layout.byKey.keys()].map((id) => ({
      ...onScreen(/** @type {Rect} */ (this.rectOf(id))),
      dear: id === key || own?.has(id) || picture?.lit?.has(id) ? 30 : 1,
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
        if (dx > 0 && dy > 0) cost += dx * dy * c.dear;
      }
      return { ...spot, cost };
    });
    return costs.reduce((best, spot) => (spot.cost < best.cost ? spot : best));
  }

  /** @param {RouteTraffic} route @param {number} windowMs over which they are spread */
  fly(route, windowMs) {
    if (this.still || !this.view.w) return;
    const way_ = this.wayOf(route.backend, route.model);
    if (!way_) return;
    const life = lifeOf(this.picture?.backends.get(route.backend)?.latency ?? null);
    const now = performance.now();
    const send = (/** @type {number} */ n, /** @type {boolean} */ back, /** @type {boolean} */ failed) => {
      for (let i = 0; i < Math.min(n, 24); i += 1)
        this.particles.fly(way_, { back, failed, delay: (i * windowMs) / Math.max(1, n), life, now });
    };
    send(route.started, false, false);
    send(route.ok, true, false);
    send(route.failed, true, true);
  }

  /** @param {string} backend @param {string} model */
  wayOf(backend, model) {
    const key = `m:${backend}\n${model}`;
    const known = this.ways.get(key);
    if (known) return known;
    const box = /** @type {Box|undefined} */ (this.layout.byKey.get(`b:${backend}`));
    const chip = /** @type {Chip|undefined} */ (this.layout.byKey.get(key));
    const lane = this.layout.lanes.find((l) => l.ring === box?.ring);
    if (!box || !lane) return null;
    const { user, router } = hubsAt(this.layout, this.camera.k);
    const made = way([
      ...points(hubPath(user, router), 4),
      ...points(trunk(router, box, lane.x), 26),
      ...(chip ? points(branch(box, chip), 10) : []),
    ]);
    this.ways.set(key, made);
    return made;
  }
}
