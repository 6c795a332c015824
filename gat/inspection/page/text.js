// A page of a sentence, or of a pair of sentences: who looks at what.
"use strict";

const sources = page.source;
const targets = page.target ?? page.source;
const alone = page.target === null;
// The chosen word of the side that looks ("target") or is looked at ("source"), and the one that is
// pointed at meanwhile, or null.
const state = { ...page.start, side: "target", pointed: null };

const on = (side) => ({
  enter: (word) => point({ side, word }),
  leave: () => point(null),
  choose: (word) => choose(side, word),
});
const sourceSide = on(alone ? "target" : "source");
const sourceWords = wordButtons([[byId("source"), 0, sources.length]], sources, sourceSide);
const targetWords = alone
  ? sourceWords
  : wordButtons([[byId("target"), 0, targets.length]], targets, on("target"));
const matrix = buildMatrix(byId("matrix"), sources, targets);

function point(pointed) {
  state.pointed = pointed;
  showWord();
}

function choose(side, word) {
  Object.assign(state, { side, word, pointed: null });
  showWord();
  byId("said").textContent = byId("summary").textContent;
}

// The word shown now: the one pointed at, else the chosen one.
const shown = () => state.pointed ?? { side: state.side, word: state.word };

// What the shown word gives the words of the other side, or is given by them.
function weightsOfShown() {
  const { side, word } = shown();
  return side === "target" ? rowOf(state, word, sources.length) : columnOf(state, word);
}

function show() {
  const { weights, largest } = weightsOf(state.layer, state.head);
  paintMatrix(matrix, state, sources.length, largest);
  const missing = weights.length < sources.length * targets.length ? "no edge" : "";
  showShades(byId("matrix-shades"), largest, missing);
  showWord();
}

function showWord() {
  const { side, word } = shown();
  // Each word has a scale of its own, on which its weights differ; the matrix has one for all.
  const weights = weightsOfShown();
  const largest = largestOf(weights);
  showShades(byId("shades"), largest, weights.includes(null) ? "no edge" : "");
  const looking = side === "target";
  const [own, others] = looking ? [targetWords, sourceWords] : [sourceWords, targetWords];
  if (!alone) for (const button of own) shade(button, undefined, 1);
  weights.forEach((weight, place) => shade(others[place], weight, largest));
  for (const button of new Set([...own, ...others])) button.classList.remove("looks");
  own[word].classList.add("looks");
  for (const [kind, buttons] of [["target", targetWords], ["source", sourceWords]])
    if (!(alone && kind === "source"))
      buttons.forEach((one, place) =>
        one.setAttribute("aria-pressed", String(state.side === kind && state.word === place)),
      );
  cross(matrix, looking ? word : null, looking ? null : word);
  showPanel(side, word, sorted(weights));
}

// The panel: the word's weights in numbers, the largest first.
function showPanel(side, word, rows) {
  const looking = side === "target";
  const name = (looking ? targets : sources)[word];
  byId("word").textContent = name;
  byId("about").textContent = alone ? `word ${word}` : `${side} word ${word}`;
  byId("summary").textContent = summary(name, looking, word, rows);
  fill(byId("weights"), caption(name, looking), looking ? sources : targets, rows, looking);
  if (alone) {
    const from = sorted(columnOf(state, word));
    byId("seen-by-count").textContent = `Who looks at it (${from.length})`;
    fill(byId("seen-by"), caption(name, false), targets, from, false);
  }
}

const caption = (name, looking) =>
  `${looking ? `What “${name}” looks at` : `Who looks at “${name}”`}: ` +
  `${page.layers[state.layer].name}, ${headName(state.layer, state.head)}`;

const sorted = (weights) =>
  weights
    .map((weight, place) => ({ weight, place }))
    .filter(({ weight }) => weight !== null)
    .sort((a, b) => b.weight - a.weight || a.place - b.place);

function summary(name, looking, word, rows) {
  const { seen, when } = page.layers[state.layer];
  if (looking && seen && !seen[word]) return `There is no record of what “${name}” looks at.`;
  if (!rows.length) return looking ? `“${name}” looks at no word.` : `No word looks at “${name}”.`;
  const first = rows.slice(0, 3).map(({ weight, place }) => {
    const other = (looking ? sources : targets)[place];
    return `“${other}” ${digits(weight)}`;
  });
  const words = [`“${name}” ${looking ? "looks at" : "is looked at by"} ${first.join(", ")}.`];
  const sum = rows.reduce((total, { weight }) => total + weight, 0);
  words.push(`The ${plural(rows.length, "weight")} sum to ${digits(sum)}.`);
  if (looking && rows.length > 1)
    words.push(`Spread evenly, each would be ${digits(sum / rows.length)} (the mark on the bars).`);
  if (when === "after_dropout") words.push("Recorded after dropout, which sets some to 0.");
  return words.join(" ");
}

function fill(table, title, words, rows, looking) {
  const sum = rows.reduce((total, { weight }) => total + weight, 0);
  const even = looking && rows.length > 1 ? sum / rows.length : null;
  const largest = Math.max(1e-9, even ?? 0, ...rows.map(({ weight }) => Math.abs(weight)));
  table.caption.textContent = title;
  table.tBodies[0].replaceChildren(
    ...rows.map(({ weight, place }) => weightRow([words[place], place], weight, largest, even)),
  );
}

listenToMatrix(byId("matrix"), {
  enter: (target, source, event) => {
    if (shown().side !== "target" || shown().word !== target) point({ side: "target", word: target });
    cross(matrix, target, source);
    const weight = rowOf(state, target, sources.length)[source];
    const words = weight === null ? "no edge" : `weight ${digits(weight)}`;
    const line = `“${targets[target]}” looks at “${sources[source]}”`;
    hintAt([line, words], event.clientX + 16, event.clientY + 16);
  },
  leave: () => {
    hint(null);
    if (state.pointed) point(null);
  },
  choose: (target) => choose("target", target),
});
chooseLayerAndHead(state, show);
show();

// To look at from a test or the browser's console; nothing can be changed by it.
window.gatPage = Object.freeze({
  state: () => ({ ...state, ...shown() }),
  shares: (side) =>
    (side === "target" ? targetWords : sourceWords).map((one) =>
      Number(one.style.getPropertyValue("--share")),
    ),
});
