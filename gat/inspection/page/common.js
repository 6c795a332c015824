// What all pages share: the contents, numbers and names in words, the choice of layer and head, the
// hint beside the mouse and the bar of a weight.
"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Three decimals, and more of a small number.
const digits = (weight) => {
  const size = Math.abs(weight);
  if (size >= 0.1 || size === 0) return weight.toFixed(3);
  return size >= 0.001 ? weight.toFixed(4) : weight.toExponential(1);
};
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function meanOf(rows) {
  return rows[0].map((first, i) =>
    first === null ? null : rows.reduce((sum, row) => sum + row[i], 0) / rows.length,
  );
}

function headName(layer, head) {
  const { heads } = page.layers[layer];
  if (head === "mean" && heads.length > 1) return `mean of ${heads.length} heads`;
  const number = heads[head === "mean" ? 0 : head];
  return number < 0 ? "mean of the heads" : `head ${number}`;
}

function option(value, text) {
  const one = document.createElement("option");
  one.value = value;
  one.textContent = text;
  return one;
}

function offerHeads(state) {
  const { heads } = page.layers[state.layer];
  const each = heads.map((_, head) => option(head, headName(state.layer, head)));
  const mean = option("mean", headName(state.layer, "mean"));
  byId("head").replaceChildren(...(heads.length > 1 ? [mean, ...each] : [mean]));
  if (state.head !== "mean" && state.head >= heads.length) state.head = "mean";
  byId("head").value = state.head;
}

// The controls for both; show() is called when the state's layer or head has changed.
function chooseLayerAndHead(state, show) {
  byId("layer").replaceChildren(
    ...page.layers.map((layer, i) => option(i, `${layer.name} (${layer.type})`)),
  );
  byId("layer").value = state.layer;
  offerHeads(state);
  byId("layer").addEventListener("change", (event) => {
    state.layer = Number(event.target.value);
    offerHeads(state);
    show();
  });
  byId("head").addEventListener("change", (event) => {
    state.head = event.target.value === "mean" ? "mean" : Number(event.target.value);
    show();
  });
}

function hint(lines) {
  const box = byId("hint");
  box.hidden = lines === null;
  if (lines === null) return;
  box.replaceChildren(
    ...lines.map((text) => {
      const line = document.createElement("div");
      line.textContent = text;
      return line;
    }),
  );
}

// The number, and a bar of its size with a mark where an even share would be.
function weightCell(weight, largest, even) {
  const cell = document.createElement("td");
  cell.className = "weight";
  const number = document.createElement("span");
  number.textContent = digits(weight);
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.setAttribute("aria-hidden", "true");
  const full = document.createElement("span");
  full.className = "full";
  full.style.width = `${(100 * Math.abs(weight)) / largest}%`;
  bar.append(full);
  if (even !== null) {
    const mark = document.createElement("span");
    mark.className = "even";
    mark.style.left = `${(100 * even) / largest}%`;
    bar.append(mark);
  }
  cell.append(number, bar);
  return cell;
}
