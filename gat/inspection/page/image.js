// A page of an image: what each pixel, or all of them on average, look at.
"use strict";

const [height, width] = page.size;
const [tall, wide] = [page.image.length, page.image[0].length];
const count = height * width;
// The chosen node, null for the mean over all, and the one pointed at meanwhile.
const state = { ...page.start, pointed: null };
const image = byId("image");
const map = byId("map");
const part = tall === height && wide === width ? "pixel" : "part";

const own = () => page.layers[state.layer].own;
const shown = () => (own() ? (state.pointed ?? state.node) : null);
const placeName = (node) => `${part} (${Math.floor(node / width)}, ${node % width})`;

// What the shown node gives each part, or what each gets on average; null where no edge leads from.
const means = new Map();
function values() {
  if (shown() !== null) return rowOf(state, shown(), count);
  const key = `${state.layer} ${state.head}`;
  if (!means.has(key)) means.set(key, meanOverTargets());
  return means.get(key);
}

function meanOverTargets() {
  const { source, first, seen } = page.layers[state.layer];
  const { weights } = weightsOf(state.layer, state.head);
  const targets = seen ? seen.filter(Boolean).length : first.length - 1;
  const mean = new Array(count).fill(null);
  source.forEach((node, at) => (mean[node] = (mean[node] ?? 0) + weights[at] / targets));
  return mean;
}

function show() {
  image.classList.toggle("choice", own());
  image.tabIndex = own() ? 0 : -1;
  byId("all").hidden = !own();
  showMap();
}

function showMap() {
  const weights = values();
  const node = shown();
  // Each map has a scale of its own, on which its weights differ.
  const largest = largestOf(weights);
  const mark = themed("--mark");
  drawCells(image, tall, wide, (row, column) => {
    const colour = page.image[row][column];
    return Array.isArray(colour) ? `rgb(${colour.join(" ")})` : `rgb(${colour} ${colour} ${colour})`;
  });
  drawCells(map, height, width, (row, column) => {
    const weight = weights[row * width + column];
    return weight === null ? null : `rgb(${mark} / ${Math.abs(weight) / largest})`;
  });
  for (const canvas of [image, map]) {
    canvas.style.aspectRatio = `${wide} / ${tall}`;
    if (node !== null) frameCell(canvas, height, width, Math.floor(node / width), node % width);
  }
  byId("all").setAttribute("aria-pressed", String(state.node === null));
  showShades(byId("shades"), largest, weights.includes(null) ? "no edge" : "");
  showPanel(node, weights);
}

// The panel: the parts with most weight, in numbers.
const LISTED = 20;
function showPanel(node, weights) {
  const rows = weights
    .map((weight, place) => ({ weight, place }))
    .filter(({ weight }) => weight !== null)
    .sort((a, b) => b.weight - a.weight || a.place - b.place);
  byId("place").textContent = node === null ? meanName() : placeName(node);
  byId("summary").textContent = summary(node, rows);
  const sum = rows.reduce((total, { weight }) => total + weight, 0);
  const even = rows.length > 1 ? sum / rows.length : null;
  const table = byId("weights");
  const some = rows.length > LISTED ? `the ${LISTED} largest of ${rows.length}, ` : "";
  table.caption.textContent =
    `Weights: ${some}${page.layers[state.layer].name}, ${headName(state.layer, state.head)}`;
  const largest = Math.max(1e-9, even ?? 0, ...rows.map(({ weight }) => Math.abs(weight)));
  table.tBodies[0].replaceChildren(
    ...rows.slice(0, LISTED).map(({ weight, place }) =>
      weightRow([placeName(place)], weight, largest, even),
    ),
  );
}

function meanName() {
  const targets = page.layers[state.layer].first.length - 1;
  if (own()) return "All pixels, on average";
  return targets === 1 ? "The target" : `${targets} targets, on average`;
}

function summary(node, rows) {
  const { seen, when } = page.layers[state.layer];
  if (node !== null && seen && !seen[node]) return "There is no record of what it looks at.";
  if (!rows.length) return "It looks at nothing.";
  const first = rows.slice(0, 3).map(({ weight, place }) => `${placeName(place)} ${digits(weight)}`);
  const sum = rows.reduce((total, { weight }) => total + weight, 0);
  const words = [`Most weight: ${first.join(", ")}.`];
  words.push(`The ${plural(rows.length, "weight")} sum to ${digits(sum)}.`);
  if (rows.length > 1) words.push(`Spread evenly, each would be ${digits(sum / rows.length)}.`);
  if (when === "after_dropout") words.push("Recorded after dropout, which sets some to 0.");
  return words.join(" ");
}

function choose(node) {
  Object.assign(state, { node, pointed: null });
  showMap();
  byId("said").textContent = `${byId("place").textContent}. ${byId("summary").textContent}`;
}

function point(node) {
  if (state.pointed === node) return;
  state.pointed = node;
  showMap();
}

const nodeAt = (canvas, event) => {
  const [row, column] = cellAt(canvas, height, width, event);
  return row * width + column;
};
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

image.addEventListener("mousemove", (event) => own() && point(nodeAt(image, event)));
image.addEventListener("mouseleave", () => point(null));
image.addEventListener("click", (event) => own() && choose(nodeAt(image, event)));
image.addEventListener("keydown", (event) => {
  if (!own() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return choose(null);
  if (!(event.key in MOVES)) return;
  event.preventDefault();
  const from = state.node ?? 0;
  const [down, right] = state.node === null ? [0, 0] : MOVES[event.key];
  const row = Math.max(0, Math.min(height - 1, Math.floor(from / width) + down));
  const column = Math.max(0, Math.min(width - 1, (from % width) + right));
  choose(row * width + column);
});
map.addEventListener("mousemove", (event) => {
  const node = nodeAt(map, event);
  const weight = values()[node];
  const words = weight === null ? "no edge" : `weight ${digits(weight)}`;
  hintAt([placeName(node), words], event.clientX + 16, event.clientY + 16);
});
map.addEventListener("mouseleave", () => hint(null));
byId("all").addEventListener("click", () => choose(null));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showMap);
chooseLayerAndHead(state, show);
show();

// To look at from a test or the browser's console; nothing can be changed by it.
window.gatPage = Object.freeze({
  state: () => ({ ...state, shown: shown() }),
  values: () => [...values()],
});
