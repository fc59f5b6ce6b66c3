"use strict";
// One picture: a column's maps over the photograph, what is written below it, and what is at a point of it.

const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};

/** The soft map of a cell that is asked for: by a choice for this cell, else of the class filtered by, else all together. */
function heatOf(number, column, cell) {
  const chosen = state.heat.get(`${number} ${column.key}`);
  const wanted = chosen !== undefined ? chosen : state.class === "" ? null : Number(state.class);
  return cell.soft.find(({ label }) => label === wanted) || null;
}

/** Whether a column's picture shows errors, and of which column. */
function errorsOf(column, record) {
  if (column.stage === "errors") return judged(record);
  return state.errors && column.stage !== "truth" && column.stage !== "saliency" && column.place >= 0 ? column : null;
}

const truthOf = (record) => {
  const place = gallery.told.columns.findIndex(({ stage }) => stage === "truth");
  return place < 0 ? null : record.cells[place];
};

/** What a picture shows: nothing, the photograph alone, one soft map, several, a label map, or errors. */
function contentOf(column, record, number) {
  if (column.stage === "image") return { kind: "photo" };
  const truth = truthOf(record);
  const judgedColumn = errorsOf(column, record);
  if (judgedColumn) {
    const cell = record.cells[judgedColumn.place];
    return cell?.label && truth ? { kind: "errors", label: cell.label, truth: truth.label, of: judgedColumn, cell } : { kind: "nothing" };
  }
  const cell = record.cells[column.place];
  if (!cell) return { kind: "nothing" };
  if (column.stage === "saliency") return { kind: "heat", map: cell.soft[0], cell };
  if (column.stage === "cams") {
    const map = heatOf(number, column, cell);
    return map ? { kind: "heat", map, cell } : { kind: "classes", maps: cell.soft, cell };
  }
  return { kind: "labels", label: cell.label, cell };
}

const OPACITY = 0.68; // of a map over the photograph, which is grey then, so that every colour is the map's

/** The photograph of a row in grey, of a canvas's size; kept for the other columns. */
function greyOf(record, width, height) {
  if (record.grey?.width !== width || record.grey.height !== height) {
    record.grey = Object.assign(make("canvas"), { width, height });
    const context = record.grey.getContext("2d");
    context.filter = "grayscale(1)";
    context.drawImage(record.bitmap, 0, 0, width, height);
  }
  return record.grey;
}

const scratch = make("canvas"); // a map before it is laid over the photograph

/** A map and the photograph below it as one canvas, which scrolls faster than two. */
function flattened(canvas, kind, record, width, height) {
  const whole = Object.assign(make("canvas"), { width, height }), context = whole.getContext("2d");
  if (kind === "photo") context.drawImage(record.bitmap, 0, 0, width, height);
  else if (state.overlay) {
    context.drawImage(greyOf(record, width, height), 0, 0);
    context.globalAlpha = kind === "classes" ? 1 : OPACITY; // the opacity of these is their score
  }
  context.imageSmoothingQuality = "high";
  if (canvas) context.drawImage(canvas, 0, 0, width, height);
  return whole;
}

/** Fill a picture (`.tile`) of this width and height in CSS pixels; with `layers`, map and photograph can be enlarged each in its way. */
function drawTile(tile, column, record, number, width, height, layers = false) {
  const content = contentOf(column, record, number);
  tile.replaceChildren();
  tile.className = `tile ${content.kind}`;
  if (content.kind === "nothing") return content;
  const [rows, columns] = record.size;
  const scale = Math.min(width / columns, height / rows);
  const frame = make("div", "frame");
  frame.style.width = `${Math.round(columns * scale)}px`;
  frame.style.height = `${Math.round(rows * scale)}px`;
  const density = Math.min(2, window.devicePixelRatio || 1);
  const [wide, high] = [Math.round(columns * scale * density), Math.round(rows * scale * density)];
  let canvas = null;
  if (content.kind !== "photo") {
    canvas = Object.assign(layers ? make("canvas") : scratch, { width: wide, height: high });
    if (content.kind === "labels") drawLabels(canvas, content.label, record.size, gallery.told, state.safe);
    if (content.kind === "errors") drawErrors(canvas, content.label, content.truth, record.size);
    if (content.kind === "heat") drawHeat(canvas, content.map, gallery.told);
    if (content.kind === "classes") drawClasses(canvas, content.maps, gallery.told, state.safe);
  }
  if (layers) {
    const photo = Object.assign(make("img"), { alt: "", draggable: false, src: record.url }); // the pointer moves it in its frame
    frame.append(photo, ...(canvas ? [canvas] : []));
  } else frame.append(flattened(canvas, content.kind, record, wide, high));
  frame.append(make("i", "cross"));
  tile.append(frame);
  return content;
}

const list = (found) => found.map(([name, value]) => `${name} ${value}`).join(", ");

/** A picture in words. */
function describe(column, content, number) {
  const { rows } = gallery.told, row = rows[number];
  const where = `${[column.title, column.name].filter(Boolean).join(" ")} of ${row.id}`;
  const score = [["IoU", column.scored && row.iou[column.place]], ["doubt", column.doubted && row.doubt[column.place]]]
    .map(([name, value]) => (typeof value === "number" ? `, ${name} ${percent(value)}` : "")).join("");
  if (content.kind === "nothing") return `no ${where}`;
  if (content.kind === "photo") return `${where}: ${row.labels.map((label) => nameOf(label, gallery.told)).join(", ") || "no labels"}`;
  if (content.kind === "labels") {
    const shares = sharesOf(content.label).map(([label, share]) => [nameOf(label, gallery.told), `${Math.round(100 * share)} %`]);
    return `${where}: ${list(shares)}${score}`;
  }
  if (content.kind === "errors") {
    const counts = ERRORS.map(() => 0);
    content.label.forEach((label, i) => errorOf(label, content.truth[i]) >= 0 && counts[errorOf(label, content.truth[i])]++);
    const found = ERRORS.map(({ name }, kind) => [name, `${Math.round((100 * counts[kind]) / content.label.length)} %`]);
    return `errors of ${content.of.title} ${content.of.name} of ${row.id}: ${list(found.filter((_, kind) => counts[kind]))}`;
  }
  if (column.stage === "saliency") return `${where}${score}`;
  const peaks = (content.maps || [content.map]).map((map) => [nameOf(map.label, gallery.told), `up to ${map.peak.toFixed(2)}`]);
  return `${where}: ${list(peaks) || "no class"}${score}`;
}

/** What is below a picture from the beginning: its IoU and its doubt. */
function scoreOf(column, row) {
  const caption = make("div", "caption");
  if (column.scored && row.iou[column.place] !== null) {
    const figure = make("span", "iou", percent(row.iou[column.place]));
    figure.title = "IoU of this image";
    caption.append(figure);
  }
  if (column.doubted && row.doubt[column.place] !== null) {
    const figure = make("span", "doubt", `doubt ${percent(row.doubt[column.place])}`);
    figure.title = "How little the stages of this image agree: 0 to 100, without any truth";
    caption.append(figure);
  }
  return caption;
}

/** What is below a picture: its IoU, and the classes of its heat maps to choose one by. */
function captionOf(column, content, number, record, choose) {
  const caption = scoreOf(column, gallery.told.rows[number]);
  if (column.stage === "errors" && content.of) caption.append(make("span", "of", `${content.of.title} ${content.of.name}`));
  const soft = column.stage === "cams" ? record.cells[column.place]?.soft || [] : [];
  for (const map of soft) {
    const name = nameOf(map.label, gallery.told);
    const chip = make("button", "chip", name);
    chip.type = "button";
    chip.tabIndex = -1;
    chip.title = `heat map of ${name}, up to ${map.peak.toFixed(2)}`;
    chip.setAttribute("aria-pressed", content.map === map);
    chip.addEventListener("click", () => choose(content.map === map ? null : map.label));
    caption.append(chip);
  }
  return caption;
}

/** Where in an image a pointer is, as shares of width and height; null outside. */
function placeIn(frame, event) {
  const box = frame.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  return x >= 0 && y >= 0 && x < 1 && y < 1 ? { x, y } : null;
}

const valueAt = (values, [height, width], { x, y }) => values[Math.floor(y * height) * width + Math.floor(x * width)];

/** What a column has at a point, in words. */
function readAt(column, record, number, point) {
  const content = contentOf(column, record, number);
  if (content.kind === "labels") return nameOf(valueAt(content.label, record.size, point), gallery.told);
  if (content.kind === "errors") {
    const label = valueAt(content.label, record.size, point), truth = valueAt(content.truth, record.size, point);
    const kind = errorOf(label, truth);
    return `${kind < 0 ? "correct" : ERRORS[kind].name}: ${nameOf(label, gallery.told)}, truth ${nameOf(truth, gallery.told)}`;
  }
  if (content.kind === "heat" && column.stage === "saliency") {
    return (valueAt(content.map.values, content.map.size, point) / 255).toFixed(2);
  }
  if (content.kind === "heat" || content.kind === "classes") {
    const maps = content.maps || [content.map];
    return maps.map((map) => `${nameOf(map.label, gallery.told)} ${((valueAt(map.values, map.size, point) / 255) * map.peak).toFixed(2)}`).join(", ");
  }
  return "";
}

/** The point in pixels of the picture. */
const pixelOf = (record, { x, y }) => `${Math.floor(x * record.size[1])}, ${Math.floor(y * record.size[0])}`;
