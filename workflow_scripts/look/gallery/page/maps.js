"use strict";
// Maps as numbers, and their colours: pure functions.

const VOID = 255;

// Okabe and Ito's colours without black, told apart with any colour vision; more classes than colours also differ in pattern.
const SAFE = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];
const PATTERNS = [
  () => false,
  (x, y) => (x + y) % 8 < 3,
  (x, y) => x % 8 < 3 && y % 8 < 3,
  (x, y) => (x - y + 8192) % 8 < 3,
  (x, y) => y % 6 < 2,
  (x, y) => x % 6 < 2,
  (x, y) => (x % 8 < 4) !== (y % 8 < 4),
  (x, y) => x % 8 < 2 || y % 8 < 2,
  (x, y) => (x + y) % 16 < 6,
  (x, y) => (x - y + 8192) % 16 < 6,
  (x, y) => y % 14 < 6,
  (x, y) => x % 14 < 6,
];

// What an error map tells; colours after Okabe and Ito, lightness differs too.
const ERRORS = [
  { name: "correct", colour: [0, 114, 178] },
  { name: "false object", colour: [213, 94, 0] },
  { name: "missed object", colour: [240, 228, 66] },
  { name: "wrong class", colour: [204, 121, 167] },
  { name: "undecided", colour: [255, 255, 255] },
  { name: "not scored (void)", colour: [120, 120, 120] },
];

/** Bytes of a base64 text. */
function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

/** Inflate a row's stream and cut it into the maps of its cells, `label` and `soft[].values`; decode its photograph. */
async function decode(record) {
  const stream = new Blob([bytesOf(record.maps)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const [height, width] = record.size;
  let at = 0;
  const next = (length) => bytes.subarray(at, (at += length));
  for (const cell of record.cells) {
    if (!cell) continue;
    cell.label = cell.label ? next(height * width) : null;
    for (const map of cell.soft) {
      const values = next(map.size[0] * map.size[1]);
      for (let i = 1; i < values.length; i++) values[i] += values[i - 1]; // modulo 256, as a byte is
      map.values = values;
    }
  }
  const photo = new Blob([bytesOf(record.photo)], { type: "image/jpeg" });
  record.url = URL.createObjectURL(photo);
  record.bitmap = await createImageBitmap(photo);
  record.maps = record.photo = null;
  record.bytes = bytes.length + photo.size + 4 * height * width;
  return record;
}

/** Red, green, blue and, where the colour-blind safe palette repeats, the number of the pattern of a label. */
function colourOf(label, data, safe) {
  if (label === VOID) return [...data.palette[data.palette.length - 1], 0];
  if (label === 0) return [0, 0, 0, 0];
  if (!safe) return [...data.palette[label], 0];
  const place = label - 1;
  return [...SAFE[place % SAFE.length], Math.floor(place / SAFE.length) % PATTERNS.length];
}

const packed = (red, green, blue, alpha = 255) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const coloursOf = new Map();

/** Colours of all labels as numbers of a canvas, and the darker ones of their patterns. */
function tableOf(data, safe) {
  if (!coloursOf.has(safe)) {
    const plain = new Uint32Array(256), dark = new Uint32Array(256), pattern = new Uint8Array(256);
    for (const label of [...data.classes.map((_, place) => place + 1), VOID]) {
      const [red, green, blue, number] = colourOf(label, data, safe);
      plain[label] = packed(red, green, blue);
      dark[label] = packed(red * 0.35, green * 0.35, blue * 0.35);
      pattern[label] = number;
    }
    coloursOf.set(safe, { plain, dark, pattern });
  }
  return coloursOf.get(safe);
}

/** Columns of the source that the pixels of a picture of another width show. */
function places(length, source) {
  const found = new Uint16Array(length + 1);
  for (let i = 0; i <= length; i++) found[i] = Math.min(source - 1, Math.floor(((i + 0.5) * source) / length));
  return found;
}

/** Draw a label map, white lines between its labels; background is clear. */
function drawLabels(canvas, label, size, data, safe) {
  const { plain, dark, pattern } = tableOf(data, safe);
  paint(canvas, (i) => label[i], size, (value, x, y, edge) => {
    if (edge) return 0xffffffff;
    return pattern[value] && PATTERNS[pattern[value]](x, y) ? dark[value] : plain[value];
  });
}

const errorColours = Uint32Array.from(ERRORS, ({ colour }) => packed(...colour));

/** Which of `ERRORS` a pixel is; -1 for background that is background. */
function errorOf(label, truth) {
  if (truth === VOID) return 5;
  if (label === truth) return label ? 0 : -1;
  return label === VOID ? 4 : truth === 0 ? 1 : label === 0 ? 2 : 3;
}

/** Draw where a label map differs from the truth. */
function drawErrors(canvas, label, truth, size) {
  const kindOf = (i) => errorOf(label[i], truth[i]) + 1;
  paint(canvas, kindOf, size, (kind, x, y) => {
    if (kind === 6 && (x + y) % 6 > 2) return 0;
    return kind ? errorColours[kind - 1] : 0;
  });
}

/**
 * Every pixel of a canvas by nearest neighbour of a map whose values are `valueAt(place)`:
 * `colour(value, x, y, whether another value begins to the right or below)`.
 */
function paint(canvas, valueAt, [height, width], colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const columns = places(canvas.width, width), rows = places(canvas.height, height), wide = canvas.width + 1;
  const values = new Uint8Array(wide * (canvas.height + 1));
  for (let y = 0, at = 0; y <= canvas.height; y++) {
    for (let x = 0; x < wide; x++) values[at++] = valueAt(rows[y] * width + columns[x]);
  }
  let at = 0;
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const place = y * wide + x, value = values[place], right = values[place + 1], under = values[place + wide];
      const edge = value !== VOID && ((right !== value && right !== VOID) || (under !== value && under !== VOID));
      pixels[at++] = colour(value, x, y, edge);
    }
  }
  context.putImageData(image, 0, 0);
}

/** Draw one soft map at its own size, dark to light; the browser enlarges it smoothly. */
function drawHeat(canvas, map, data) {
  fill(canvas, map.size, (i) => {
    const [red, green, blue] = data.heat[map.values[i]];
    return packed(red, green, blue);
  });
}

/** Draw soft maps together: the strongest gives the colour, its score how much of it. */
function drawClasses(canvas, maps, data, safe) {
  const shown = maps.filter((map) => map.label);
  const { plain } = tableOf(data, safe);
  if (!shown.length) return fill(canvas, [1, 1], () => 0);
  fill(canvas, shown[0].size, (i) => {
    let best = shown[0];
    for (const map of shown) if (map.values[i] > best.values[i]) best = map;
    return ((plain[best.label] & 0xffffff) | (best.values[i] << 24)) >>> 0;
  });
}

function fill(canvas, [height, width], colour) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  context.putImageData(image, 0, 0);
}

/** Labels of a map with their share of it, the largest first. */
function sharesOf(label) {
  const counts = new Uint32Array(256);
  for (let i = 0; i < label.length; i++) counts[label[i]]++;
  const found = [];
  counts.forEach((count, value) => count && found.push([value, count / label.length]));
  return found.sort((a, b) => b[1] - a[1]);
}
