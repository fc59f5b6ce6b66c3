"use strict";
// One image, large: all columns side by side, enlarged and moved together, one point marked in all of them.

const zoom = document.getElementById("zoom");
const zoomTiles = document.getElementById("zoom-tiles");
const zoomPointer = document.getElementById("zoom-pointer");
const MOST = 16; // times
const look = { factor: 1, x: 0.5, y: 0.5, point: { x: 0.5, y: 0.5 }, record: null, number: 0 };

async function openZoom(row) {
  if (!state.shown.length) return;
  moveTo(row, state.column);
  const number = state.shown[state.row];
  const record = await load(number);
  if (!record || number !== state.shown[state.row]) return; // cannot be read, or gone on meanwhile
  Object.assign(look, { record, number });
  const opened = !zoom.open;
  if (opened) {
    Object.assign(look, { factor: 1, x: 0.5, y: 0.5, point: { x: 0.5, y: 0.5 } });
    zoom.showModal();
    zoomTiles.focus();
  }
  drawZoom();
  const key = state.columns[state.column]?.key;
  if (opened) [...zoomTiles.children].find((figure) => figure.dataset.key === key)?.scrollIntoView({ block: "nearest" });
}

/** Width at which all columns fit into the window, if they are not made smaller than 220 pixels; all of a narrow one. */
function zoomWidth(count) {
  const room = zoomTiles.getBoundingClientRect(), ratio = look.record.size[0] / look.record.size[1];
  if (narrow()) return Math.floor(room.width - 24);
  let best = Math.min(room.width - 16, 220);
  for (let across = 1; across <= count; across++) {
    const width = (room.width - 12) / across - 12, down = Math.ceil(count / across);
    const height = (room.height - 8) / down - 48 - 8;
    best = Math.max(best, Math.min(width, height / ratio));
  }
  return Math.floor(best);
}

function drawZoom() {
  const { record, number } = look, row = gallery.told.rows[number];
  document.getElementById("zoom-title").textContent = row.id;
  const labels = row.labels.map((label) => nameOf(label, gallery.told)).join(", ") || "no labels";
  document.getElementById("zoom-labels").textContent = `${labels} · ${state.row + 1} of ${state.shown.length}`;
  const columns = state.columns.filter((column) => contentOf(column, record, number).kind !== "nothing");
  zoomTiles.replaceChildren();
  const width = zoomWidth(columns.length), height = Math.round((width * record.size[0]) / record.size[1]);
  for (const column of columns) {
    const figure = make("figure");
    figure.dataset.key = column.key;
    const tile = make("div");
    const content = drawTile(tile, column, record, number, width, height, true);
    tile.setAttribute("role", "img");
    tile.setAttribute("aria-label", describe(column, content, number));
    const caption = make("figcaption");
    const title = make("b", "", `${column.title} ${column.name}`.trim());
    caption.append(title, captionOf(column, content, number, record, (label) => chooseHeat(number, column, label)));
    const each = Object.entries(content.cell?.iou || {}).map(([label, iou]) => `${nameOf(Number(label), gallery.told)} ${percent(iou)}`);
    if (each.length) caption.title = `IoU: ${each.join(", ")}`;
    caption.append(make("span", "each", each.join(" · ")));
    figure.append(tile, caption);
    figure.style.width = `${width}px`;
    zoomTiles.append(figure);
  }
  lookAgain();
}

/** Enlarge and move all pictures, and mark the point. */
function lookAgain() {
  look.factor = Math.max(1, Math.min(MOST, look.factor));
  const half = 0.5 / look.factor; // the middle stays so far inside that nothing beyond the picture shows
  look.x = Math.max(half, Math.min(1 - half, look.x));
  look.y = Math.max(half, Math.min(1 - half, look.y));
  const style = zoomTiles.style;
  style.setProperty("--factor", look.factor);
  style.setProperty("--shift-x", `${(0.5 - look.x) * look.factor * 100}%`);
  style.setProperty("--shift-y", `${(0.5 - look.y) * look.factor * 100}%`);
  const on = ({ x, y }) => [(x - look.x) * look.factor + 0.5, (y - look.y) * look.factor + 0.5];
  zoomTiles.classList.toggle("enlarged", look.factor > 1);
  const [x, y] = on(look.point);
  style.setProperty("--x", `${100 * x}%`);
  style.setProperty("--y", `${100 * y}%`);
  zoomTiles.classList.toggle("pointed", x >= 0 && y >= 0 && x <= 1 && y <= 1);
  document.getElementById("zoom-factor").textContent = `${Math.round(100 * look.factor)} %`;
  tell(zoomPointer, look.record, look.number, look.point, state.columns[state.column]);
}

/** Enlarge, keeping a point of the picture where it is. */
function enlarge(times, point = { x: look.x, y: look.y }) {
  const factor = Math.max(1, Math.min(MOST, look.factor * times));
  const share = look.factor / factor;
  look.x = point.x + (look.x - point.x) * share;
  look.y = point.y + (look.y - point.y) * share;
  look.factor = factor;
  lookAgain();
}

/** The point of the picture that an event of the pointer is at, also where the picture is enlarged. */
function pointOf(event, frame) {
  const place = frame && placeIn(frame, event);
  return place && { x: look.x + (place.x - 0.5) / look.factor, y: look.y + (place.y - 0.5) / look.factor };
}

const keep = (value) => Math.max(0, Math.min(0.9999, value));
const steps = (event) => (event.shiftKey ? 10 : 1);
function movePoint(x, y) {
  const [height, width] = look.record.size;
  look.point = { x: keep(look.point.x + x / width), y: keep(look.point.y + y / height) };
  const half = 0.5 / look.factor; // the point stays in view
  look.x = Math.max(look.point.x - half, Math.min(look.point.x + half, look.x));
  look.y = Math.max(look.point.y - half, Math.min(look.point.y + half, look.y));
  lookAgain();
}

const ZOOM_KEYS = {
  "+": () => enlarge(1.5, look.point),
  "=": () => enlarge(1.5, look.point),
  "-": () => enlarge(1 / 1.5, look.point),
  0: () => enlarge(1 / MOST),
  ArrowLeft: (event) => movePoint(-steps(event), 0),
  ArrowRight: (event) => movePoint(steps(event), 0),
  ArrowUp: (event) => movePoint(0, -steps(event)),
  ArrowDown: (event) => movePoint(0, steps(event)),
  PageDown: () => openZoom(state.row + 1),
  PageUp: () => openZoom(state.row - 1),
  n: () => openZoom(state.row + 1),
  b: () => openZoom(state.row - 1),
};

zoom.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !ZOOM_KEYS[event.key]) return;
  event.preventDefault();
  ZOOM_KEYS[event.key](event);
});

zoomTiles.addEventListener("wheel", (event) => {
  const frame = event.target.closest(".frame");
  if (!frame) return;
  event.preventDefault();
  enlarge(Math.exp(-event.deltaY / 400), pointOf(event, frame));
}, { passive: false });

let dragged = null;
zoomTiles.addEventListener("pointerdown", (event) => {
  const frame = event.target.closest(".frame");
  if (!frame || event.button) return;
  dragged = { frame, x: event.clientX, y: event.clientY };
  zoomTiles.setPointerCapture(event.pointerId);
});
zoomTiles.addEventListener("pointermove", (event) => {
  if (dragged && look.factor > 1) {
    const box = dragged.frame.getBoundingClientRect();
    look.x -= (event.clientX - dragged.x) / box.width / look.factor;
    look.y -= (event.clientY - dragged.y) / box.height / look.factor;
    Object.assign(dragged, { x: event.clientX, y: event.clientY });
    return lookAgain();
  }
  const figure = event.target.closest("figure"), point = pointOf(event, event.target.closest(".frame"));
  if (!point) return;
  look.point = { x: keep(point.x), y: keep(point.y) };
  state.column = Math.max(0, state.columns.findIndex(({ key }) => key === figure.dataset.key));
  lookAgain();
});
for (const name of ["pointerup", "pointercancel"]) zoomTiles.addEventListener(name, () => (dragged = null));

zoom.addEventListener("close", () => {
  mark();
  scroller.focus({ preventScroll: true });
});
zoom.addEventListener("click", (event) => event.target === zoom && zoom.close());
for (const [id, act] of Object.entries({
  "zoom-in": () => enlarge(1.5),
  "zoom-out": () => enlarge(1 / 1.5),
  "zoom-previous": () => openZoom(state.row - 1),
  "zoom-next": () => openZoom(state.row + 1),
  "zoom-close": () => zoom.close(),
})) document.getElementById(id).addEventListener("click", act);
