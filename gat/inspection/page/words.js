// Words as buttons, of which a list has one tab stop; arrows, Home and End go through it.
"use strict";

// Fill a list with a button for each word and return them. on: what is called with a word's place
// when it is pointed at or has the focus (enter), no longer (leave), and is clicked (choose).
function wordButtons(lists, words, on) {
  const buttons = words.map((word, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "word";
    button.textContent = word;
    button.title = word.length > 24 ? word : "";
    button.tabIndex = place ? -1 : 0;
    button.addEventListener("mouseenter", () => on.enter(place));
    button.addEventListener("mouseleave", () => on.leave(place));
    button.addEventListener("focus", () => {
      for (const one of buttons) one.tabIndex = one === button ? 0 : -1;
      // A click gives the focus too; what it chose stays.
      if (button.matches(":focus-visible")) on.enter(place);
    });
    button.addEventListener("blur", () => on.leave(place));
    button.addEventListener("click", () => on.choose(place));
    button.addEventListener("keydown", (event) => goThrough(event, buttons, place));
    return button;
  });
  lists.forEach(([list, first, last]) => list.replaceChildren(...buttons.slice(first, last)));
  return buttons;
}

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

function goThrough(event, buttons, place) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const last = buttons.length - 1;
  const to =
    event.key === "Home" ? 0 : event.key === "End" ? last : place + (STEPS[event.key] ?? NaN);
  if (Number.isNaN(to)) return;
  event.preventDefault();
  buttons[Math.max(0, Math.min(last, to))].focus();
}
