// The page's state and what changes it: controls, keys, mouse.
"use strict";

const state = { centre: page.centre, ...page.start, threshold: 0 };
const renderer = openPicture();

function show() {
  showPanel(state, moveTo);
  const [drawn, all] = countDrawn(state);
  const words = `${digits(state.threshold)}: ${drawn} of ${plural(all, "arrow")} drawn`;
  byId("drawn").textContent = words;
  byId("threshold").setAttribute("aria-valuetext", words);
  if (renderer) {
    paint(renderer, state);
    renderer.refresh();
  }
}

function moveTo(node) {
  state.centre = node;
  show();
  if (renderer) frame(renderer, node);
  byId("said").textContent = `${nodeName(node)} is in the middle. ${byId("summary").textContent}`;
  byId("panel").scrollTop = 0;
}

// Controls

chooseLayerAndHead(state, show);
// The slider's square, since most weights are small.
byId("threshold").addEventListener("input", (event) => {
  state.threshold = FULL * (Number(event.target.value) / 1000) ** 2;
  show();
});

// Moving the picture

function pan(right, down) {
  const { width, height } = renderer.getDimensions();
  const from = renderer.viewportToFramedGraph({ x: width / 2, y: height / 2 });
  const to = renderer.viewportToFramedGraph({ x: width / 2 + right, y: height / 2 + down });
  const camera = renderer.getCamera();
  const { x, y } = camera.getState();
  camera.setState({ x: x + to.x - from.x, y: y + to.y - from.y });
}

function zoom(factor) {
  const camera = renderer.getCamera();
  camera.setState({ ratio: camera.getBoundedRatio(camera.getState().ratio * factor) });
}

const STEP = 60;
const KEYS = {
  ArrowLeft: () => pan(-STEP, 0),
  ArrowRight: () => pan(STEP, 0),
  ArrowUp: () => pan(0, -STEP),
  ArrowDown: () => pan(0, STEP),
  "+": () => zoom(0.8),
  "=": () => zoom(0.8),
  "-": () => zoom(1.25),
  0: () => frame(renderer, null),
  Home: () => frame(renderer, null),
  Escape: () => frame(renderer, state.centre),
};

// Pointing

function nodeHint(node) {
  const weights = weightsOf(state.layer, state.head);
  const own = entering[node].filter((edge) => edges.source[edge] === node);
  const self = own.reduce((sum, edge) => sum + (weights.edges[edge] ?? 0), weights.loops[node]);
  const lines = [nodeName(node)];
  if (page.named) lines.push(`node ${nodes.number[node]}`);
  if (page.classes.length) lines.push(className(node));
  if (!nodes.border[node]) lines.push(`weight on itself ${digits(self)}`);
  const into = entering[state.centre].filter((edge) => edges.source[edge] === node);
  if (node !== state.centre)
    for (const edge of into.filter((one) => weights.edges[one] !== null))
      lines.push(`${nodeName(state.centre)} looks at it with ${digits(weights.edges[edge])}`);
  return lines;
}

function edgeHint(edge) {
  const { layer, head } = state;
  const [source, target] = [edges.source[edge], edges.target[edge]];
  const lines = [`${nodeName(target)} looks at ${nodeName(source)}`];
  lines.push(`weight ${digits(weightsOf(layer, head).edges[edge])}`);
  lines.push(`${page.layers[layer].name}, ${headName(layer, head)}`);
  if (page.classes.length) lines.push(`${className(target)} looks at ${className(source)}`);
  return lines;
}

function listen() {
  const graph = byId("graph");
  renderer.on("clickNode", ({ node }) => moveTo(Number(node)));
  renderer.on("enterNode", ({ node }) => hint(nodeHint(Number(node))));
  renderer.on("enterEdge", ({ edge }) => hint(edgeHint(Number(edge))));
  renderer.on("leaveNode", () => hint(null));
  renderer.on("leaveEdge", () => hint(null));
  renderer.on("doubleClickNode", (event) => event.preventSigmaDefault());
  graph.addEventListener("mousemove", ({ offsetX, offsetY }) => {
    const box = byId("hint").style;
    box.left = `${Math.min(offsetX + 16, graph.clientWidth - 260)}px`;
    box.top = `${Math.min(offsetY + 16, graph.clientHeight - 110)}px`;
  });
  graph.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  byId("closer").addEventListener("click", () => zoom(0.7));
  byId("farther").addEventListener("click", () => zoom(1 / 0.7));
  byId("whole").addEventListener("click", () => frame(renderer, null));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
}

// The legend

function legend() {
  const list = byId("classes");
  list.hidden = !page.classes.length;
  const used = [...new Set(nodes.class)].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
  for (const kind of page.classes.length ? used : []) {
    const item = document.createElement("li");
    item.append(shapeIcon(kind), kind === null ? "class unknown" : page.classes[kind]);
    list.append(item);
  }
  for (const share of [0.1, 0.5, 1]) {
    const item = document.createElement("li");
    const line = document.createElement("span");
    line.className = "arrow";
    line.style.height = `${widthOf(share * FULL)}px`;
    item.append(line, `weight ${Number((share * FULL).toPrecision(2))}`);
    byId("widths").append(item);
  }
}

legend();
show();
if (renderer) {
  listen();
  if (page.hops === null) frame(renderer, null);
} else {
  document.querySelector("main").classList.add("without");
  byId("blind").hidden = false;
  byId("graph").removeAttribute("tabindex");
}

// To look at from a test or the browser's console; nothing can be changed by it.
window.gatPage = Object.freeze({
  state: () => ({ ...state }),
  edgeWidths: () =>
    edges.source.map((source, edge) => {
      const drawn = renderer && source !== edges.target[edge];
      const shown = drawn ? renderer.getEdgeDisplayData(String(edge)) : null;
      return !shown || shown.hidden ? 0 : shown.size;
    }),
  nodeAt: (node) =>
    renderer.framedGraphToViewport(renderer.getNodeDisplayData(String(node))),
  camera: () => ({ ...renderer.getCamera().getState() }),
});
