// Weights between targets and sources, and their shades.
"use strict";

// A layer's weights, one for each pair that has an edge, and the largest; head: a place in the
// layer's list, or "mean".
const known = new Map();
function weightsOf(layer, head) {
  const key = `${layer} ${head}`;
  if (!known.has(key)) {
    const { weights } = page.layers[layer];
    const ours = head === "mean" ? meanOf(weights) : weights[head];
    known.set(key, { weights: ours, largest: largestOf(ours) });
  }
  return known.get(key);
}

// The weight that has the darkest shade: 1 where there is none.
const largestOf = (weights) =>
  weights.reduce((most, weight) => Math.max(most, Math.abs(weight ?? 0)), 0) || 1;

// What a target gives each of ``count`` sources, null where there is no edge.
function rowOf({ layer, head }, target, count) {
  const { source, first } = page.layers[layer];
  const { weights } = weightsOf(layer, head);
  const row = new Array(count).fill(null);
  for (let at = first[target]; at < first[target + 1]; at++) row[source[at]] = weights[at];
  return row;
}

// What each target gives a source.
function columnOf({ layer, head }, wanted) {
  const { source, first } = page.layers[layer];
  const { weights } = weightsOf(layer, head);
  const column = new Array(first.length - 1).fill(null);
  for (let target = 0; target < column.length; target++)
    for (let at = first[target]; at < first[target + 1]; at++)
      if (source[at] === wanted) column[target] = weights[at];
  return column;
}

// Shade an element by a weight; null: no edge, undefined: nothing to tell.
function shade(element, weight, largest) {
  element.style.setProperty("--share", weight ? Math.abs(weight) / largest : 0);
  element.classList.toggle("none", weight === null);
}

// The legend of shades: the largest weight, half of it and a tenth.
function showShades(list, largest, missing) {
  const entries = [1, 0.5, 0.1].map((share) => [share, `weight ${digits(share * largest)}`]);
  if (missing) entries.push([null, missing]);
  list.replaceChildren(
    ...entries.map(([share, text]) => {
      const item = document.createElement("li");
      const sample = document.createElement("span");
      sample.className = "sample";
      shade(sample, share, 1);
      item.append(sample, text);
      return item;
    }),
  );
}

// A table's row: cells of text, the first one its head, and the weight with its bar.
function weightRow(texts, weight, largest, even) {
  const line = document.createElement("tr");
  texts.forEach((text, place) => {
    const cell = document.createElement(place ? "td" : "th");
    if (!place) cell.scope = "row";
    cell.textContent = cell.title = text;
    line.append(cell);
  });
  line.append(weightCell(weight, largest, even));
  return line;
}

// The hint stands beside the mouse, or under what has the focus, and inside the window.
function hintAt(lines, left, top) {
  hint(lines);
  if (lines === null) return;
  const box = byId("hint");
  box.style.left = `${Math.max(0, Math.min(left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(0, Math.min(top, innerHeight - box.offsetHeight - 8))}px`;
}
