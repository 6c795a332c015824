// The picture: the graph drawn with sigma, redrawn for each layer, head, threshold and centre.
"use strict";

// Pixels of an arrow of the largest weight, and of one of weight 0.
const WIDEST = 9;
const THINNEST = 0.5;
// Pixels of half a node, by how much room there is for each.
function nodeSize() {
  const { clientWidth, clientHeight } = byId("graph");
  const room = Math.sqrt((clientWidth * clientHeight) / nodes.number.length);
  return Math.min(6.5, Math.max(2, 0.15 * room));
}

// The weight that gets the widest arrow: 1, or the largest there is. Weights after dropout and of
// layers that do not normalise can exceed 1.
const FULL = page.layers.reduce(
  (most, { weights }) => weights.flat().reduce((a, b) => Math.max(a, Math.abs(b ?? 0)), most),
  1,
);
const widthOf = (weight) => THINNEST + ((WIDEST - THINNEST) * Math.abs(weight)) / FULL;

const isDrawn = (weight, threshold) => weight !== null && Math.abs(weight) >= threshold;

// The renderer, or null where the browser cannot draw.
function openPicture() {
  try {
    const canvas = document.createElement("canvas");
    if (!canvas.getContext("webgl2") || typeof Sigma === "undefined") return null;
    return new Sigma(theGraph(), byId("graph"), {
      defaultNodeType: "shape",
      nodeProgramClasses: { shape: shapesProgram() },
      nodeHoverProgramClasses: { shape: shapesProgram() },
      defaultEdgeType: "arrow",
      edgeProgramClasses: { arrow: arrowsProgram() },
      enableEdgeEvents: true,
      allowInvalidContainer: true,
      zIndex: true,
      minCameraRatio: 0.005,
      maxCameraRatio: 4,
      stagePadding: 40,
      zoomToSizeRatioFunction: (ratio) => ratio ** 0.4,
      labelFont: themed("--font"),
      labelSize: 13,
      labelDensity: 0.6,
      labelGridCellSize: 90,
      labelRenderedSizeThreshold: 9.5,
      defaultDrawNodeLabel: drawLabel,
      defaultDrawNodeHover: drawLabel,
    });
  } catch (error) {
    console.warn(`The picture cannot be drawn: ${error.message}`);
    return null;
  }
}

// Nodes and edges by their places as keys; loops stand in the table only.
function theGraph() {
  const graph = new graphology.MultiDirectedGraph();
  nodes.number.forEach((_, node) => {
    const label = nodes.label[node];
    const at = { x: nodes.x[node], y: nodes.y[node] };
    graph.addNode(node, { label, ...at, ...looksOf(nodes.class[node]), size: 1, ring: 1, line: "#000" });
  });
  edges.source.forEach((source, edge) => {
    if (source === edges.target[edge]) return;
    graph.addEdgeWithKey(edge, source, edges.target[edge], { size: 1, color: "#000" });
  });
  return graph;
}

function drawLabel(context, node, settings) {
  if (!node.label) return;
  const bold = node.highlighted || node.forceLabel;
  context.font = `${bold ? 600 : 400} ${settings.labelSize}px ${settings.labelFont}`;
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = themed("--ground");
  context.fillStyle = themed("--ink");
  const at = [node.x + node.size + 4, node.y + settings.labelSize / 3];
  const text = node.label.length > 40 ? `${node.label.slice(0, 39)}…` : node.label;
  context.strokeText(text, ...at);
  context.fillText(text, ...at);
}

// Bring every node and edge of the picture up to the state.
function paint(renderer, { centre, layer, head, threshold }) {
  const weights = weightsOf(layer, head).edges;
  const near = new Set(entering[centre].map((edge) => edges.source[edge]));
  const graph = renderer.getGraph();
  const size = nodeSize();
  const crowded = edges.source.length > 1000;
  const [into, other, line] = ["--into", crowded ? "--crowd" : "--edge", "--line"].map(themed);
  graph.updateEachNodeAttributes((key, node) => {
    const middle = Number(key) === centre;
    const beside = near.has(Number(key));
    node.size = size * (middle ? Math.max(2, 7 / size) : beside ? 1.35 : 1);
    node.ring = middle ? 3 : beside ? 1.5 : size < 4 ? 0.6 : 1;
    node.line = line;
    node.forceLabel = middle || (beside && near.size <= 15);
    node.zIndex = middle ? 2 : beside ? 1 : 0;
    return node;
  });
  graph.updateEachEdgeAttributes((key, edge, _, target) => {
    const weight = weights[key];
    const entersCentre = Number(target) === centre;
    edge.hidden = !isDrawn(weight, threshold);
    edge.size = weight === null ? 0 : widthOf(weight);
    edge.color = entersCentre ? into : other;
    edge.zIndex = entersCentre ? 1 : 0;
    return edge;
  });
}

// How many arrows there are at this threshold, and at none.
function countDrawn({ layer, head, threshold }) {
  const weights = weightsOf(layer, head).edges.filter(
    (weight, edge) => weight !== null && edges.source[edge] !== edges.target[edge],
  );
  return [weights.filter((weight) => isDrawn(weight, threshold)).length, weights.length];
}

// The part of the picture with a node and its neighbours in view, or all of it.
function frame(renderer, node) {
  const camera = renderer.getCamera();
  const whole = { x: 0.5, y: 0.5, ratio: 1, angle: 0 };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const view = node === null ? whole : viewAround(renderer, node);
  if (still) camera.setState(view);
  else camera.animate(view, { duration: 350 });
}

function viewAround(renderer, node) {
  const at = (one) => renderer.getNodeDisplayData(String(one));
  const middle = at(node);
  const neighbours = [
    ...entering[node].map((edge) => edges.source[edge]),
    ...leaving[node].map((edge) => edges.target[edge]),
  ];
  const around = [node, ...neighbours].map(at);
  const far = around.map((one) => Math.hypot(one.x - middle.x, one.y - middle.y));
  const ratio = Math.min(2, Math.max(0.08, 2.6 * Math.max(...far)));
  return { x: middle.x, y: middle.y, ratio, angle: 0 };
}
