// A page of a document: its sentences by their weight, and in each its words by theirs.
"use strict";

const state = { ...page.start, word: 0, pointed: null };
// Of each word the sentence it stands in and its place there.
const places = page.document.flatMap((line, sentence) =>
  line.map((word, place) => ({ word, sentence, place })),
);
const lines = page.document.map((line) => {
  const item = document.createElement("li");
  const share = document.createElement("span");
  share.className = "share";
  const words = document.createElement("div");
  words.className = "words";
  item.append(share, words);
  byId("sentences").append(item);
  return { share, words };
});
let before = 0;
const lists = page.document.map((line, sentence) => {
  const first = before;
  before += line.length;
  return [lines[sentence].words, first, before];
});
const buttons = wordButtons(lists, places.map(({ word }) => word), {
  enter: (word) => point(word),
  leave: () => point(null),
  choose: (word) => {
    Object.assign(state, { word, pointed: null });
    showWord();
    byId("said").textContent = byId("summary").textContent;
  },
});

function point(word) {
  state.pointed = word;
  showWord();
}

// The weights of a head: of the sentences [S], and of the words in each [S][words].
function weightsNow() {
  const { sentences, words } = page.layers[0];
  if (state.head !== "mean")
    return { sentences: sentences[state.head], words: words[state.head] };
  const each = page.document.map((_, sentence) => meanOf(words.map((head) => head[sentence])));
  return { sentences: meanOf(sentences), words: each };
}

function show() {
  const { sentences, words } = weightsNow();
  const largest = largestOf(words.flat());
  const most = largestOf(sentences);
  lines.forEach(({ share }, sentence) => {
    shade(share, sentences[sentence], most);
    share.textContent = sentences[sentence] === null ? "–" : digits(sentences[sentence]);
    share.title = `weight of sentence ${sentence} in the document`;
  });
  places.forEach(({ sentence, place }, word) => shade(buttons[word], words[sentence][place], largest));
  showShades(byId("shades"), largest, words.flat().includes(null) ? "no edge" : "");
  showWord();
}

function showWord() {
  const { sentences, words } = weightsNow();
  buttons.forEach((button, word) => {
    button.classList.toggle("looks", word === (state.pointed ?? state.word));
    button.setAttribute("aria-pressed", String(word === state.word));
  });
  const ranked = places
    .map(({ sentence, place }, word) => ({
      word,
      weight: (words[sentence][place] ?? 0) * (sentences[sentence] ?? 0),
    }))
    .sort((a, b) => b.weight - a.weight || a.word - b.word);
  const largest = Math.max(1e-9, ...ranked.map(({ weight }) => Math.abs(weight)));
  const table = byId("weights");
  table.caption.textContent = `The words that count most: ${headName(0, state.head)}`;
  table.tBodies[0].replaceChildren(
    ...ranked.slice(0, 20).map(({ word, weight }) =>
      weightRow([places[word].word, places[word].sentence], weight, largest, null),
    ),
  );
  describe(places[state.pointed ?? state.word], sentences, words);
}

function describe(chosen, sentences, words) {
  if (!chosen) return;
  const { word, sentence, place } = chosen;
  const [within, whole] = [words[sentence][place] ?? 0, sentences[sentence] ?? 0];
  byId("word").textContent = word;
  byId("about").textContent = `word ${place} of sentence ${sentence}`;
  byId("summary").textContent =
    `“${word}” has weight ${digits(within)} in its sentence, the sentence ${digits(whole)} in the ` +
    `document, together ${digits(within * whole)}.`;
}

chooseLayerAndHead(state, show);
show();

// To look at from a test or the browser's console; nothing can be changed by it.
const shareOf = (one) => Number(one.style.getPropertyValue("--share"));
window.gatPage = Object.freeze({
  state: () => ({ ...state }),
  shares: () => ({ sentences: lines.map(({ share }) => shareOf(share)), words: buttons.map(shareOf) }),
});
