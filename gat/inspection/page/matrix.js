// The matrix of all weights: a row for each target word, a column for each source word.
"use strict";

// Smaller ones have their numbers in sight; in all of them they can be read out.
const NUMBERED = 12;

// Fill a table and return its parts: cells [target][source], and the heads of rows and columns.
function buildMatrix(table, sources, targets) {
  const head = table.createTHead().insertRow();
  const corner = document.createElement("td");
  head.append(corner);
  const columns = sources.map((word) => headCell(word, "col"));
  head.append(...columns);
  const body = table.createTBody();
  const rows = targets.map((word) => headCell(word, "row"));
  const cells = targets.map((_, target) => {
    const line = body.insertRow();
    line.append(rows[target]);
    return sources.map((_, source) => {
      const cell = line.insertCell();
      cell.dataset.target = target;
      cell.dataset.source = source;
      return cell;
    });
  });
  table.classList.toggle("upright", sources.every((word) => word.length <= 2));
  table.classList.toggle("numbered", Math.max(sources.length, targets.length) <= NUMBERED);
  return { cells, columns, rows };
}

function headCell(word, scope) {
  const cell = document.createElement("th");
  cell.scope = scope;
  cell.title = word;
  const text = document.createElement("span");
  text.textContent = word;
  cell.append(text);
  return cell;
}

function paintMatrix({ cells }, state, count, largest) {
  cells.forEach((line, target) => {
    const row = rowOf(state, target, count);
    line.forEach((cell, source) => {
      shade(cell, row[source], largest);
      cell.textContent = row[source] === null ? "" : short(row[source]);
    });
  });
}

const short = (weight) => weight.toFixed(2).replace(/^(-?)0\./, "$1.");

// Mark the row and the column of a cell; null for neither.
function cross({ rows, columns }, target, source) {
  rows.forEach((cell, place) => cell.classList.toggle("here", place === target));
  columns.forEach((cell, place) => cell.classList.toggle("here", place === source));
}

// on.enter(target, source, event) and on.leave() for the cell under the mouse, on.choose(target).
function listenToMatrix(table, on) {
  const at = (event) => event.target.closest("td[data-target]");
  table.addEventListener("mousemove", (event) => {
    const cell = at(event);
    if (cell) on.enter(Number(cell.dataset.target), Number(cell.dataset.source), event);
    else on.leave();
  });
  table.addEventListener("mouseleave", on.leave);
  table.addEventListener("click", (event) => {
    const cell = at(event);
    if (cell) on.choose(Number(cell.dataset.target));
  });
}
