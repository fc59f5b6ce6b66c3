"use strict";
// The controls, the legend, the keys of the whole page, and the start.

const control = (id) => document.getElementById(id);
const LOOKS = new Set(["overlay", "errors", "safe"]); // they change pictures, not which rows there are

/** Change choices, and show what follows from them. */
function set(change) {
  const stay = state.shown[state.row];
  Object.assign(state, change);
  writeAddress();
  fillControls();
  if (Object.keys(change).every((key) => LOOKS.has(key))) {
    redraw();
    if (zoom.open) drawZoom();
    return;
  }
  rebuild();
  fillControls();
  const place = "sort" in change ? 0 : Math.max(0, state.shown.indexOf(stay)); // a new order is looked at from its beginning
  scroller.scrollTop = place * rowHeight();
  moveTo(place, state.column);
}

function option(value, text) {
  const element = make("option", "", text);
  element.value = value;
  return element;
}

function fillControls() {
  for (const id of ["split", "class", "labels", "sort"]) control(id).value = state[id];
  if (control("find").value !== state.find) control("find").value = state.find;
  control("size").value = state.size;
  for (const id of LOOKS) control(id).setAttribute("aria-pressed", state[id]);
  control("errors").disabled = !gallery.columns.some(({ stage }) => stage === "errors");
  const list = control("column-list");
  list.replaceChildren();
  for (const column of state.available || []) {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.checked = !state.hide.includes(column.key);
    box.addEventListener("change", () => {
      const hide = state.hide.filter((key) => key !== column.key);
      set({ hide: box.checked ? hide : [...hide, column.key] });
      [...list.querySelectorAll("label")].find((it) => it.dataset.key === column.key)?.firstChild.focus();
    });
    label.dataset.key = column.key;
    label.append(box, make("span", "", `${column.title} ${column.name}`.trim()), make("small", "", column.systems.join(", ")));
    list.append(label);
  }
}

function firstControls() {
  const { splits, classes } = gallery.told;
  splits.forEach((name, place) => control("split").append(option(place, name)));
  if (splits.length > 1) control("split").append(option("", "all"));
  control("class").append(option("", "any"), ...classes.map((name, place) => option(place + 1, name)));
  control("sort").append(option("", "order of the data set"));
  for (const column of gallery.columns) {
    const name = `${column.title} ${column.name}`.trim();
    control("sort").append(...ordersOf(column).map((order) => option(`${order} ${column.key}`, `${name}, ${ORDERS[order]} first`)));
  }
  for (const id of ["split", "class", "labels", "sort"]) control(id).addEventListener("change", () => set({ [id]: control(id).value }));
  control("find").addEventListener("input", () => set({ find: control("find").value }));
  control("size").addEventListener("input", () => set({ size: Number(control("size").value) }));
  for (const id of LOOKS) control(id).addEventListener("click", () => set({ [id]: !state[id] }));
  control("reset").addEventListener("click", () => set({ class: "", labels: "", find: "" }));
  control("help-button").addEventListener("click", () => control("help").showModal());
  control("filters-button").addEventListener("click", () => {
    const open = document.body.classList.toggle("filtering");
    control("filters-button").setAttribute("aria-expanded", open);
    show();
  });
}

function swatch(colour, pattern) {
  const canvas = make("canvas", "swatch");
  canvas.width = canvas.height = 16;
  const context = canvas.getContext("2d");
  for (let y = 0; y < 16; y++) {
    for (let x = 0; x < 16; x++) {
      const dark = pattern && PATTERNS[pattern](x, y) ? 0.35 : 1;
      context.fillStyle = `rgb(${colour.map((value) => value * dark).join(",")})`;
      context.fillRect(x, y, 1, 1);
    }
  }
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function drawLegend() {
  const legend = control("legend");
  legend.replaceChildren();
  const errors = state.errors || state.columns.some(({ stage }) => stage === "errors");
  if (!state.errors) {
    for (const label of [...gallery.told.classes.map((_, place) => place + 1), VOID]) {
      const [red, green, blue, pattern] = colourOf(label, gallery.told, state.safe);
      const entry = make(label === VOID ? "span" : "button", "entry");
      if (label !== VOID) {
        entry.type = "button";
        entry.title = "Only images with this class";
        entry.setAttribute("aria-pressed", state.class === String(label));
        entry.addEventListener("click", () => set({ class: state.class === String(label) ? "" : String(label) }));
      }
      entry.append(swatch([red, green, blue], pattern), make("span", "", nameOf(label, gallery.told)));
      legend.append(entry);
    }
  }
  if (state.columns.some(({ stage }) => stage === "saliency" || stage === "cams")) {
    const scale = make("canvas", "swatch scale");
    drawHeat(scale, { size: [1, 256], values: Uint8Array.from({ length: 256 }, (_, i) => i) }, gallery.told);
    const entry = make("span", "entry group");
    entry.append("one map: 0", scale, "1 (its maximum)");
    legend.append(entry);
  }
  if (errors) {
    legend.append(make("span", "entry group", "Errors:"));
    for (const { name, colour } of ERRORS) {
      const entry = make("span", "entry");
      entry.append(swatch(colour, 0), make("span", "", name));
      legend.append(entry);
    }
  }
}

const HELP = [
  ["arrows, Page, Home, End", "move in the table"],
  ["Enter, or a click", "zoom: all columns of one image, enlarged together"],
  ["c", "next heat map of the active picture: all classes together, then each"],
  ["o", "maps over the photograph, or alone"],
  ["e", "label maps, or their errors against the truth"],
  ["p", "colours of PASCAL VOC, or colours and patterns that any colour vision tells apart"],
  ["[ and ]", "smaller and larger pictures"],
  ["/", "find an id"],
  ["when zoomed: wheel, + and -, 0", "enlarge, reduce, all of it"],
  ["when zoomed: arrows (with Shift: 10 pixels)", "move the mark whose classes are told below; drag to move the picture"],
  ["when zoomed: n and b, Page", "next and previous image"],
  ["Esc", "close"],
  ["?", "this list"],
];

const KEYS = {
  o: () => set({ overlay: !state.overlay }),
  e: () => !control("errors").disabled && set({ errors: !state.errors }),
  p: () => set({ safe: !state.safe }),
  "[": () => set({ size: Math.max(96, state.size - 36) }),
  "]": () => set({ size: Math.min(420, state.size + 36) }),
  "/": () => {
    document.body.classList.add("filtering");
    control("find").focus();
  },
  "?": () => control("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input[type=search], select, input[type=text]");
  if (typing || event.ctrlKey || event.altKey || event.metaKey || control("help").open || !KEYS[event.key]) return;
  if (zoom.open && ["/", "[", "]"].includes(event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
});

window.addEventListener("load", () => {
  if (!gallery.told) control("count").textContent = "files/data.js cannot be read: the folder files belongs beside index.html";
});

// The list of columns closes as a menu does.
document.addEventListener("click", (event) => event.target.closest("#columns") || control("columns").removeAttribute("open"));
control("columns").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  control("columns").removeAttribute("open");
  control("columns").firstElementChild.focus();
});

/** Called when data.js has told what there is. */
function begin() {
  for (const row of gallery.told.rows) row.has = [...row.has].map((it) => it === "1");
  gallery.columns = allColumns(gallery.told);
  for (const [keys, what] of HELP) control("keys").append(make("dt", "", keys), make("dd", "", what));
  readAddress();
  if (state.split !== "" && !gallery.told.splits[Number(state.split)]) state.split = DEFAULTS.split;
  firstControls();
  rebuild();
  fillControls();
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    const other = narrow() !== width < 720;
    width = window.innerWidth;
    if (other) rebuild();
    else show();
    if (zoom.open) drawZoom();
  });
  scroller.focus({ preventScroll: true });
}
