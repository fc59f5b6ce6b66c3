"use strict";
// The rows in view: only they are in the page; others come as one scrolls, from memory or from their file.

const scroller = document.getElementById("scroller");
const heads = document.getElementById("heads");
const rowsBox = document.getElementById("rows");
const drawn = new Map(); // by place in the order: { element, number, cells, record, stamp }
const AHEAD = 4; // rows that are made before they come into view
let stamp = 0; // of what decides how pictures look

const narrow = () => window.innerWidth < 720;
const tileHeight = () => Math.round(state.size * gallery.told.aspect);
const headWidth = () => (narrow() ? 0 : 190);
const rowHeight = () => tileHeight() + 34 + (narrow() ? 24 : 0);
const columnWidth = () => state.size + 10;

/** Rows, columns or their order are others: begin anew. */
function rebuild() {
  choose(gallery.told);
  state.row = Math.max(0, Math.min(state.row, state.shown.length - 1));
  state.column = Math.max(0, Math.min(state.column, state.columns.length - 1));
  for (const { element } of drawn.values()) element.remove();
  drawn.clear();
  drawHeads();
  const root = document.documentElement.style;
  root.setProperty("--tile", `${state.size}px`);
  root.setProperty("--tile-height", `${tileHeight()}px`);
  root.setProperty("--row", `${rowHeight()}px`);
  root.setProperty("--head", `${headWidth()}px`);
  const width = headWidth() + state.columns.length * columnWidth() + 10;
  heads.style.width = rowsBox.style.width = `${width}px`;
  rowsBox.style.height = `${state.shown.length * rowHeight()}px`;
  scroller.setAttribute("aria-rowcount", state.shown.length + 1);
  scroller.setAttribute("aria-colcount", state.columns.length + 1);
  document.getElementById("empty").hidden = state.shown.length > 0;
  document.getElementById("count").textContent = `${state.shown.length} of ${gallery.told.rows.length} images`;
  redraw();
}

/** How pictures look has changed: draw those in view again. */
function redraw() {
  stamp++;
  document.body.classList.toggle("alone", !state.overlay);
  drawLegend();
  show();
}

function drawHeads() {
  heads.replaceChildren();
  const corner = make("div", "head corner", narrow() ? "" : "id, labels, split");
  corner.setAttribute("role", "columnheader");
  heads.append(corner);
  state.columns.forEach((column, place) => {
    const head = make("div", `head ${column.stage}`);
    head.setAttribute("role", "columnheader");
    head.setAttribute("aria-colindex", place + 2);
    const mean = column.scored ? meanOf(column, gallery.told) : null;
    const orders = ordersOf(column);
    const title = make(orders.length ? "button" : "div", "title");
    title.append(make("b", "", column.title), make("span", "", column.name));
    const by = orders.find((order) => state.sort === `${order} ${column.key}`) || "";
    if (orders.length) {
      title.type = "button";
      title.append(make("em", "", `${mean === null ? "" : `mean ${percent(mean)}`}${by ? ` ${by === "worst" ? "▲" : "▼"} ${by} first` : ""}`));
      title.title = `Sort: ${orders.map((order) => `${ORDERS[order]} first`).join(", ")}, order of the data set`;
      const next = orders[orders.indexOf(by) + 1];
      title.addEventListener("click", () => set({ sort: next ? `${next} ${column.key}` : "" }));
    }
    head.setAttribute("aria-sort", by === "worst" ? "ascending" : by ? "descending" : "none");
    head.append(title);
    heads.append(head);
  });
}

function newRow(place) {
  const number = state.shown[place], row = gallery.told.rows[number];
  const element = make("div", "row");
  element.setAttribute("role", "row");
  element.setAttribute("aria-rowindex", place + 2);
  element.style.setProperty("--preview", `url(data:image/webp;base64,${row.preview})`); // base64 has no character to escape
  element.style.transform = `translateY(${place * rowHeight()}px)`;
  const head = make("div", "about");
  head.setAttribute("role", "rowheader");
  const said = make("div", "said");
  said.append(make("b", "", row.id));
  said.append(make("span", "labels", row.labels.map((label) => nameOf(label, gallery.told)).join(", ") || "no labels"));
  said.append(make("span", "splits", row.splits.map((split) => gallery.told.splits[split]).join(", ")));
  head.append(said);
  head.title = row.id;
  element.append(head);
  const cells = state.columns.map((column, at) => {
    const cell = make("div", `cell ${column.stage}`);
    cell.id = `cell-${place}-${at}`;
    cell.setAttribute("role", "gridcell");
    cell.setAttribute("aria-colindex", at + 2);
    cell.dataset.place = place;
    cell.dataset.at = at;
    const there = column.place < 0 || row.has[column.place];
    cell.append(make("div", `tile ${there ? "waiting" : "nothing"}`), scoreOf(column, row));
    element.append(cell);
    return cell;
  });
  const after = [...drawn.keys()].filter((other) => other > place);
  rowsBox.insertBefore(element, after.length ? drawn.get(Math.min(...after)).element : null); // in the order that is seen
  const entry = { element, number, cells, record: null, stamps: cells.map(() => 0), words: [] };
  drawn.set(place, entry);
}

const AT_ONCE = 6; // files of rows that are read side by side
let reading = 0;

/** Read the files of the rows that are there, first where the scroll goes; rows that have gone by are not read. */
function read() {
  const middle = (scroller.scrollTop + leadOf(scroller.scrollTop) / 2 + scroller.clientHeight / 2) / rowHeight() - 0.5;
  const waiting = [...drawn.entries()].filter(([, entry]) => !entry.asked);
  waiting.sort(([a], [b]) => Math.abs(a - middle) - Math.abs(b - middle));
  for (const [place, entry] of waiting) {
    if (reading >= AT_ONCE) return;
    entry.asked = true;
    reading++;
    load(entry.number).then((record) => {
      reading--;
      entry.record = record;
      if (!record) for (const cell of entry.cells) cell.firstChild.replaceWith(make("div", "tile broken", "cannot be read"));
      if (drawn.get(place) === entry) plan();
      read();
    });
  }
}

const LEAD = 0.6; // seconds that rows are made and read before they are scrolled to
const motion = { top: 0, time: 0, lead: 0 };

/** Pixels that a scroll in progress goes in `LEAD` seconds, at most two windows; a jump is no scroll. */
function leadOf(top) {
  const now = performance.now(), most = 2 * scroller.clientHeight, moved = top - motion.top;
  if (moved || now - motion.time > 200) {
    const speed = Math.abs(moved) > most ? 0 : (1000 * moved) / Math.max(8, now - motion.time);
    Object.assign(motion, { top, time: now, lead: Math.max(-most, Math.min(most, LEAD * speed)) });
  }
  return motion.lead;
}

/** Make the rows in view and near it, remove the others, and draw what is in view. */
function show() {
  const height = rowHeight(), top = scroller.scrollTop, lead = leadOf(top);
  const first = Math.max(0, Math.floor((top + Math.min(0, lead)) / height) - AHEAD);
  const last = Math.min(state.shown.length - 1, Math.ceil((top + Math.max(0, lead) + scroller.clientHeight) / height) + AHEAD);
  for (const [place, { element }] of drawn) {
    if (place < first || place > last) {
      element.remove();
      drawn.delete(place);
    }
  }
  for (let place = first; place <= last; place++) if (!drawn.has(place)) newRow(place);
  mark();
  read();
  plan();
}

let planned = false;
function plan() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    drawSome();
  });
}

/** Draw pictures for a part of a frame, those in view first, and go on in the next. */
function drawSome() {
  const until = performance.now() + 10;
  const height = rowHeight(), top = scroller.scrollTop, bottom = top + scroller.clientHeight;
  const left = scroller.scrollLeft - columnWidth(), right = scroller.scrollLeft + scroller.clientWidth + columnWidth();
  const jobs = [];
  for (const [place, entry] of drawn) {
    if (!entry.record) continue;
    const away = Math.max(0, place * height - bottom, top - (place + 1) * height);
    entry.cells.forEach((cell, at) => {
      const x = headWidth() + at * columnWidth();
      if (entry.stamps[at] !== stamp && x < right && x + columnWidth() > left) jobs.push([away, place, at]);
    });
  }
  jobs.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
  for (const [, place, at] of jobs) {
    drawCell(drawn.get(place), at);
    if (performance.now() > until) return plan();
  }
  later();
}

/** Say in words what pictures show, for those who listen: it takes longer than drawing and waits until there is time. */
let speaking = false;
function later() {
  if (speaking) return;
  speaking = true;
  const idle = window.requestIdleCallback || ((call) => setTimeout(() => call({ timeRemaining: () => 8 }), 50));
  idle((deadline) => {
    speaking = false;
    for (const { words } of drawn.values()) {
      for (const at of Object.keys(words)) {
        if (deadline.timeRemaining() < 2) return later();
        words[at]();
        delete words[at];
      }
    }
  });
}

function drawCell(entry, at) {
  const { record, number, cells } = entry, column = state.columns[at], cell = cells[at];
  const content = drawTile(cell.firstChild, column, record, number, state.size, tileHeight());
  entry.words[at] = () => cell.setAttribute("aria-label", describe(column, content, number));
  cell.lastChild.replaceWith(captionOf(column, content, number, record, (label) => chooseHeat(number, column, label)));
  entry.stamps[at] = stamp;
}

function chooseHeat(number, column, label) {
  state.heat.set(`${number} ${column.key}`, label);
  for (const entry of drawn.values()) if (entry.number === number) entry.stamps.fill(0);
  plan();
  if (!zoom.open) return;
  drawZoom();
  zoomTiles.focus();
}

/** The next heat map of the active cell: all together, then each class. */
function nextHeat(number, column) {
  const soft = column.stage === "cams" ? gallery.records.get(number)?.cells[column.place]?.soft : null;
  if (!soft?.length) return;
  const shown = heatOf(number, column, { soft });
  const next = soft[soft.indexOf(shown) + 1];
  chooseHeat(number, column, next ? next.label : null);
}

// The active cell

function mark() {
  for (const element of rowsBox.querySelectorAll(".active")) element.classList.remove("active");
  const cell = drawn.get(state.row)?.cells[state.column];
  cell?.classList.add("active");
  if (cell) scroller.setAttribute("aria-activedescendant", cell.id);
  else scroller.removeAttribute("aria-activedescendant");
}

function moveTo(row, column) {
  if (!state.shown.length) return;
  state.row = Math.max(0, Math.min(state.shown.length - 1, row));
  state.column = Math.max(0, Math.min(state.columns.length - 1, column));
  const top = state.row * rowHeight(), room = scroller.clientHeight - heads.offsetHeight;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  if (top + rowHeight() > scroller.scrollTop + room) scroller.scrollTop = top + rowHeight() - room;
  const left = state.column * columnWidth(), wide = scroller.clientWidth - headWidth();
  if (left < scroller.scrollLeft) scroller.scrollLeft = left;
  if (left + columnWidth() > scroller.scrollLeft + wide) scroller.scrollLeft = left + columnWidth() - wide;
  show();
}

const pageOf = () => Math.max(1, Math.floor((scroller.clientHeight - heads.offsetHeight) / rowHeight()));
const MOVES = {
  ArrowDown: () => moveTo(state.row + 1, state.column),
  ArrowUp: () => moveTo(state.row - 1, state.column),
  ArrowRight: () => moveTo(state.row, state.column + 1),
  ArrowLeft: () => moveTo(state.row, state.column - 1),
  PageDown: () => moveTo(state.row + pageOf(), state.column),
  PageUp: () => moveTo(state.row - pageOf(), state.column),
  Home: (event) => moveTo(event.ctrlKey ? 0 : state.row, 0),
  End: (event) => moveTo(event.ctrlKey ? state.shown.length - 1 : state.row, state.columns.length - 1),
  Enter: () => openZoom(state.row),
  c: () => state.columns[state.column] && nextHeat(state.shown[state.row], state.columns[state.column]),
};

scroller.addEventListener("keydown", (event) => {
  if (event.target !== scroller || event.altKey || event.metaKey || !MOVES[event.key]) return;
  event.preventDefault();
  MOVES[event.key](event);
});

scroller.addEventListener("scroll", show, { passive: true });

const cellUnder = (event) => event.target.closest?.(".cell");

rowsBox.addEventListener("click", (event) => {
  const cell = cellUnder(event);
  if (!cell) return;
  moveTo(Number(cell.dataset.place), Number(cell.dataset.at));
  scroller.focus({ preventScroll: true });
  if (event.target.closest(".frame")) openZoom(state.row);
});

// The class under the pointer, with a mark at the same place of all pictures of the row

const pointer = document.getElementById("pointer");
let pointed = null;

rowsBox.addEventListener("pointermove", (event) => {
  const cell = cellUnder(event), frame = event.target.closest?.(".frame");
  const entry = cell && drawn.get(Number(cell.dataset.place));
  const point = frame && entry?.record ? placeIn(frame, event) : null;
  if (pointed && pointed !== entry) pointed.element.classList.remove("pointed");
  pointed = point ? entry : null;
  if (!point) return entry?.element.classList.remove("pointed");
  entry.element.classList.add("pointed");
  entry.element.style.setProperty("--x", `${100 * point.x}%`);
  entry.element.style.setProperty("--y", `${100 * point.y}%`);
  const column = state.columns[Number(cell.dataset.at)];
  tell(pointer, entry.record, entry.number, point, column);
});

rowsBox.addEventListener("pointerleave", () => {
  pointed?.element.classList.remove("pointed");
  pointed = null;
});

/** Write what all columns have at a point; the one pointed at comes first. */
function tell(element, record, number, point, first) {
  element.replaceChildren(make("b", "", gallery.told.rows[number].id), make("span", "", pixelOf(record, point)));
  for (const column of [first, ...state.columns.filter((column) => column !== first)]) {
    const said = readAt(column, record, number, point);
    if (!said) continue;
    const part = make("span", column === first ? "first" : "");
    part.append(make("i", "", `${column.title} ${column.name}`.trim()), make("strong", "", said));
    element.append(part);
  }
}
