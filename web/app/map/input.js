/** Drag pans, wheel and pinch zoom, a double click zooms into a lane. */

const SLACK = 4;

/** @param {HTMLElement} element @param {MapGestures} gestures */
export function listen(element, gestures) {
  /** @type {Map<number, {x:number, y:number}>} */
  const down = new Map();
  let dragged = false;
  let moved = 0;

  const at = (/** @type {MouseEvent} */ e) => {
    const box = element.getBoundingClientRect();
    return { x: e.clientX - box.left, y: e.clientY - box.top };
  };

  element.addEventListener(
    "wheel",
    (e) => {
      e.preventDefault();
      const unit = e.deltaMode === 1 ? 20 : e.deltaMode === 2 ? 300 : 1;
      const { x, y } = at(e);
      if (!e.ctrlKey && (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY))) {
        gestures.pan(-(e.deltaX || e.deltaY) * unit, 0);
        return;
      }
      gestures.zoom(Math.exp(-e.deltaY * unit * (e.ctrlKey ? 0.01 : 0.0016)), x, y);
    },
    { passive: false },
  );

  element.onpointerdown = (e) => {
    if (e.button > 1) return;
    if (!down.size) {
      dragged = false;
      moved = 0;
    }
    down.set(e.pointerId, at(e));
  };

  element.onpointermove = (e) => {
    const before = down.get(e.pointerId);
    if (!before) return;
    const here = at(e);
    moved += Math.abs(here.x - before.x) + Math.abs(here.y - before.y);
    if (!dragged && moved > SLACK) {
      dragged = true;
      element.setPointerCapture(e.pointerId);
      element.classList.add("dragging");
    }
    if (!dragged) return void down.set(e.pointerId, before);
    if (down.size === 2) {
      const [other] = [...down].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
      const was = Math.hypot(before.x - other.x, before.y - other.y);
      const is = Math.hypot(here.x - other.x, here.y - other.y);
      gestures.zoom(is / Math.max(1, was), (here.x + other.x) / 2, (here.y + other.y) / 2);
      gestures.pan((here.x - before.x) / 2, (here.y - before.y) / 2);
    } else gestures.pan(here.x - before.x, here.y - before.y);
    down.set(e.pointerId, here);
  };

  const up = (/** @type {PointerEvent} */ e) => {
    down.delete(e.pointerId);
    if (!down.size) element.classList.remove("dragging");
  };
  element.onpointerup = up;
  element.onpointercancel = up;

  // A drag from a card is no click on it; a click beside all cards lets the choice go.
  element.addEventListener(
    "click",
    (e) => {
      // A press of a key clicks without a pointer.
      if (dragged && e.detail) {
        e.stopPropagation();
        e.preventDefault();
      } else if (!(e.target instanceof Element && e.target.closest("button"))) gestures.clear();
    },
    { capture: true },
  );

  element.ondblclick = (e) => {
    if (e.target instanceof Element && e.target.closest("button")) return;
    const { x, y } = at(e);
    gestures.zoomToLane(x, y);
  };
}
