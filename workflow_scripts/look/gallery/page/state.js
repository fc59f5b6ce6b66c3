"use strict";
// What is shown: the data, the choices of the person who looks, and the rows that follow from them.

const gallery = {
  records: new Map(), // by number of the row, decoded; the oldest are forgotten
  waiting: new Map(), // by number of the row: functions that wait for it
  /** Called by data.js. */
  data(data) {
    gallery.told = data;
    begin();
  },
  /** Called by rows/{number}.js. */
  row(number, record) {
    decode(record).then(
      (decoded) => {
        remember(number, decoded);
        answer(number, decoded);
      },
      () => answer(number, null),
    );
  },
};

const MEMORY = 192e6; // bytes of decoded rows that are kept
const DEFAULTS = {
  split: "0", class: "", labels: "", find: "", sort: "", overlay: true, errors: false, safe: false, size: 180, hide: [],
};
const state = { ...DEFAULTS, shown: [], columns: [], row: 0, column: 0, heat: new Map() };
let kept = 0;

function answer(number, record) {
  const waiting = gallery.waiting.get(number) || [];
  gallery.waiting.delete(number);
  for (const resolve of waiting) resolve(record);
}

function remember(number, record) {
  gallery.records.set(number, record);
  kept += record.bytes;
  for (const [oldest, old] of gallery.records) {
    if (kept <= MEMORY || oldest === number) break;
    gallery.records.delete(oldest);
    URL.revokeObjectURL(old.url);
    old.bitmap.close();
    kept -= old.bytes;
  }
}

/** The maps of a row, from memory or from its file; null where the file is missing or damaged. */
function load(number) {
  const known = gallery.records.get(number);
  if (known) {
    gallery.records.delete(number); // the most recently used is last
    gallery.records.set(number, known);
    return Promise.resolve(known);
  }
  return new Promise((resolve) => {
    if (gallery.waiting.has(number)) return gallery.waiting.get(number).push(resolve);
    gallery.waiting.set(number, [resolve]);
    const script = document.createElement("script");
    script.src = `files/rows/${number}.js?${document.documentElement.dataset.version}`;
    script.onload = () => script.remove();
    script.onerror = () => {
      script.remove();
      answer(number, null);
    };
    document.head.append(script);
  });
}

const STAGES = { saliency: "saliency", cams: "heat maps", masks: "mask", predictions: "prediction", truth: "truth" };

/** Columns in their order: the photograph, the artifacts, the truth, and the errors of one of them. */
function allColumns(data) {
  const columns = data.columns.map((column, place) => ({
    ...column,
    place,
    key: column.stage === "truth" ? "truth" : `${column.stage}:${column.name}`,
    title: column.refined ? (column.stage === "masks" ? "refined mask" : "prediction, CRF") : STAGES[column.stage],
    scored: column.stage !== "truth" && data.rows.some((row) => row.iou[place] !== null),
    doubted: data.rows.some((row) => typeof row.doubt[place] === "number"),
  }));
  const photograph = { key: "image", stage: "image", title: "image", name: "", systems: [], place: -1 };
  const errors = { key: "errors", stage: "errors", title: "errors", name: "", systems: [], place: -2 };
  const truth = columns.some((column) => column.stage === "truth");
  return [photograph, ...columns, ...(truth ? [errors] : [])];
}

const nameOf = (label, data) => (label === VOID ? "void" : label === 0 ? "background" : data.classes[label - 1]);

/** Rows after the filters, in the order asked for; those without a score are last. */
function choose(data) {
  const wanted = state.find.toLowerCase();
  const numbers = [];
  data.rows.forEach((row, number) => {
    const count = Math.min(3, row.labels.length);
    if (state.split !== "" && !row.splits.includes(Number(state.split))) return;
    if (state.class !== "" && !row.labels.includes(Number(state.class))) return;
    if (state.labels !== "" && count !== Number(state.labels)) return;
    if (wanted && !row.id.toLowerCase().includes(wanted)) return;
    numbers.push(number);
  });
  const present = new Set();
  for (const number of numbers) data.rows[number].has.forEach((there, place) => there && present.add(place));
  state.available = gallery.columns.filter(({ stage, place }) => {
    if (stage === "errors") return [...present].some((it) => data.columns[it].schema !== "saliency" && data.columns[it].stage !== "truth");
    return stage === "image" || present.has(place);
  });
  const column = sortedBy();
  if (column) {
    const sign = state.sort.startsWith("worst ") ? 1 : -1;
    const values = state.sort.startsWith("doubtful ") ? "doubt" : "iou";
    const value = (number) => data.rows[number][values][column.place];
    const by = (a, b) => (value(a) === null) - (value(b) === null) || sign * (value(a) - value(b)) || a - b;
    numbers.sort(by);
  }
  state.shown = numbers;
  state.columns = state.available.filter(({ key }) => !state.hide.includes(key));
}

const ORDERS = { worst: "worst", best: "best", doubtful: "most doubtful" }; // by IoU, or without a truth

/** The orders that a column has values for. */
const ordersOf = (column) => [...(column.scored ? ["worst", "best"] : []), ...(column.doubted ? ["doubtful"] : [])];

/** The column that rows are sorted by, if it has values to sort by. */
function sortedBy() {
  const [order, ...key] = state.sort.split(" ");
  return state.available.find((column) => column.key === key.join(" ") && ordersOf(column).includes(order));
}

/** The column whose errors the last column shows: the one sorted by, else the last with a label map in the row. */
function judged(record) {
  const maps = gallery.columns.filter(({ place, stage }) => place >= 0 && stage !== "truth" && record.cells[place]?.label);
  const sorted = sortedBy();
  return maps.find((column) => column === sorted) || maps[maps.length - 1];
}

/** Mean of the scores shown, or null. */
function meanOf(column, data) {
  const values = state.shown.map((number) => data.rows[number].iou[column.place]).filter((value) => value !== null);
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

const percent = (value) => (value === null || value === undefined ? "" : (100 * value).toFixed(1));

// The choices stand in the address, so that a view can be kept and sent.

function readAddress() {
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (!(key in DEFAULTS)) continue;
    const kind = typeof DEFAULTS[key];
    state[key] = key === "hide" ? value.split("|") : kind === "boolean" ? value === "1" : kind === "number" ? Number(value) || DEFAULTS[key] : value;
  }
}

function writeAddress() {
  const said = new URLSearchParams();
  for (const [key, usual] of Object.entries(DEFAULTS)) {
    const value = state[key];
    if (key === "hide" ? value.length : value !== usual) said.set(key, key === "hide" ? value.join("|") : typeof value === "boolean" ? Number(value) : value);
  }
  history.replaceState(null, "", `#${said}`);
}
