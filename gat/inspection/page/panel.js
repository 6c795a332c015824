// What the page says in words and tables: the weights by layer and head, and the panel.
"use strict";

const nodes = page.nodes;
const edges = page.edges;

// Edges by their place in the list, by the node they enter and the node they leave.
const entering = nodes.number.map(() => []);
const leaving = nodes.number.map(() => []);
edges.source.forEach((source, edge) => {
  leaving[source].push(edge);
  entering[edges.target[edge]].push(edge);
});

// The weights of a layer's edges and loops; head: a place in its list, or "mean". An edge or loop
// without a record has null.
const known = new Map();
function weightsOf(layer, head) {
  const key = `${layer} ${head}`;
  if (!known.has(key)) {
    const { weights, loops } = page.layers[layer];
    known.set(
      key,
      head === "mean"
        ? { edges: meanOf(weights), loops: meanOf(loops) }
        : { edges: weights[head], loops: loops[head] },
    );
  }
  return known.get(key);
}

const className = (node) => {
  const kind = nodes.class[node];
  return kind === null ? "class unknown" : page.classes[kind];
};
const nodeName = (node) => (page.named ? nodes.label[node] : `node ${nodes.number[node]}`);

// What a node looks at, the largest weight first: its neighbours and, with edge null, the loop
// that the layer added.
function looksAt(node, layer, head) {
  const weights = weightsOf(layer, head);
  const rows = entering[node].map((edge) => ({
    node: edges.source[edge],
    edge,
    weight: weights.edges[edge],
  }));
  if (weights.loops[node] !== 0) rows.push({ node, edge: null, weight: weights.loops[node] });
  return sorted(rows);
}

function seenBy(node, layer, head) {
  const weights = weightsOf(layer, head).edges;
  const rows = leaving[node].map((edge) => ({
    node: edges.target[edge],
    edge,
    weight: weights[edge],
  }));
  return sorted(rows.filter((row) => row.node !== node));
}

function sorted(rows) {
  return rows
    .filter((row) => row.weight !== null)
    .sort((a, b) => b.weight - a.weight || a.node - b.node);
}

// The panel for a node; choose(node) is called for a neighbour that is clicked.
function showPanel({ centre, layer, head }, choose) {
  const rows = looksAt(centre, layer, head);
  const from = seenBy(centre, layer, head);
  byId("centre").textContent = nodeName(centre);
  byId("about").textContent = about(centre);
  byId("summary").textContent = summary(centre, layer, head, rows);
  const where = `${page.layers[layer].name}, ${headName(layer, head)}`;
  const even = rows.length > 1 ? 1 / rows.length : null;
  fill(byId("looks-at"), `What ${nodeName(centre)} looks at: ${where}`, centre, rows, choose, even);
  fill(byId("seen-by"), `Who looks at ${nodeName(centre)}: ${where}`, centre, from, choose, null);
  const here = page.hops === null ? "" : " on this page";
  byId("seen-by-count").textContent = `Who looks at it${here} (${from.length})`;
  byId("looks-at").hidden = rows.length === 0 || nodes.border[centre];
}

function about(node) {
  const parts = [];
  if (page.classes.length) parts.push(className(node));
  if (page.named) parts.push(`node ${nodes.number[node]}`);
  if (!nodes.border[node]) parts.push(`${plural(entering[node].length, "edge")} in`);
  if (page.hops === null) parts.push(`${leaving[node].length} out`);
  return parts.join(" · ");
}

// One sentence on the weights, and whatever a reader must know of how they were recorded.
function summary(node, layer, head, rows) {
  const { state, name, when } = page.layers[layer];
  if (nodes.border[node])
    return (
      "It lies at the border of this page: the edges into it are not here. " +
      `Write a page with node=${nodes.number[node]} to see them.`
    );
  if (state && state[node] === "none") return `${name} has no record of what it looks at.`;
  if (!rows.length) return `In ${name} it looks at no node.`;
  const others = rows.filter((row) => row.node !== node);
  const self = rows.length > others.length ? " and itself" : "";
  const sum = rows.reduce((total, row) => total + row.weight, 0);
  const words = [
    `It looks at ${plural(new Set(others.map((row) => row.node)).size, "node")}${self}.`,
    `The weights sum to ${digits(sum)}.`,
  ];
  if (Math.abs(sum - 1) < 0.01 && rows.length > 1)
    words.push(`Spread evenly, each would be ${digits(1 / rows.length)} (the mark on the bars).`);
  if (when === "after_dropout") words.push("Recorded after dropout, which sets some to 0.");
  if (state && state[node] === "some")
    words.push("Its neighbourhood was sampled: other neighbours are not recorded.");
  return words.join(" ");
}

function fill(table, caption, centre, rows, choose, even) {
  table.caption.textContent = caption;
  const largest = Math.max(1e-9, even ?? 0, ...rows.map((row) => Math.abs(row.weight)));
  table.tBodies[0].replaceChildren(
    ...rows.map((row) => tableRow(row, centre, choose, largest, even)),
  );
  for (const cell of table.querySelectorAll(".kind")) cell.hidden = !page.classes.length;
}

function tableRow(row, centre, choose, largest, even) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  if (row.node === centre) {
    name.textContent = row.edge === null ? "itself" : "itself (own loop)";
  } else {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = nodeName(row.node);
    // The table cuts a long name short.
    button.title = nodeName(row.node);
    button.addEventListener("click", () => choose(row.node));
    name.append(button);
  }
  const kind = document.createElement("td");
  kind.className = "kind";
  const looks = document.createElement("span");
  const named = document.createElement("b");
  named.textContent = named.title = className(row.node);
  looks.append(shapeIcon(nodes.class[row.node]), named);
  kind.append(looks);
  line.append(name, kind, weightCell(row.weight, largest, even));
  return line;
}
