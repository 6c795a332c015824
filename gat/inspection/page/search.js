// Finding a node by its number or name, and offering what was found in a list.
"use strict";

let found = [];
let picked = 0;

function search(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const ranked = [];
  nodes.number.forEach((number, node) => {
    const name = nodes.label[node].toLowerCase();
    const exact = String(number) === wanted || name === wanted;
    const begins = name.startsWith(wanted) || String(number).startsWith(wanted);
    if (exact || begins || name.includes(wanted)) ranked.push([exact ? 0 : begins ? 1 : 2, node]);
  });
  ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return ranked.slice(0, 10).map(([, node]) => node);
}

function offerFound() {
  const list = byId("found");
  const asked = byId("search").value.trim() !== "";
  list.hidden = !asked;
  byId("search").setAttribute("aria-expanded", String(asked && found.length > 0));
  list.replaceChildren(...found.map(foundItem));
  if (asked && !found.length) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = page.hops === null ? "no such node" : "no such node on this page";
    list.append(none);
  }
  if (found.length) byId("search").setAttribute("aria-activedescendant", `found-${picked}`);
  else byId("search").removeAttribute("aria-activedescendant");
}

function foundItem(node, place) {
  const item = document.createElement("li");
  item.id = `found-${place}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", String(place === picked));
  const name = document.createElement("span");
  name.textContent = page.named ? `${nodes.label[node]} (${nodes.number[node]})` : nodeName(node);
  item.append(shapeIcon(nodes.class[node]), name);
  item.addEventListener("mousedown", (event) => {
    event.preventDefault();
    take(node);
  });
  return item;
}

function take(node) {
  closeSearch();
  moveTo(node);
}

function closeSearch() {
  byId("search").value = "";
  found = [];
  offerFound();
}

byId("search").addEventListener("input", (event) => {
  found = search(event.target.value);
  picked = 0;
  offerFound();
});
byId("search").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && found.length) picked = (picked + step + found.length) % found.length;
  else if (event.key === "Enter" && found.length) return take(found[picked]);
  else if (event.key === "Escape") return closeSearch();
  else return;
  event.preventDefault();
  offerFound();
});
byId("search").addEventListener("blur", () => (byId("found").hidden = true));
byId("search").addEventListener("focus", offerFound);
