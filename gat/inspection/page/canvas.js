// Images and maps drawn cell by cell.
"use strict";

// Pixels of the longer side, about; the browser scales them without smoothing.
const SIDE = 480;

// Draw height x width cells; colour(row, column) is a colour of CSS, or null for hatching.
function drawCells(canvas, height, width, colour) {
  const scale = Math.max(1, Math.floor(SIDE / Math.max(height, width)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.fillStyle = themed("--ground");
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const fill = colour(row, column);
      if (fill === null) hatch(context, column * scale, row * scale, scale);
      else {
        context.fillStyle = fill;
        context.fillRect(column * scale, row * scale, scale, scale);
      }
    }
}

function hatch(context, left, top, side) {
  context.strokeStyle = themed("--rule");
  context.lineWidth = 1;
  context.beginPath();
  for (let along = 0; along < 2 * side; along += 6) {
    const [from, to] = [Math.max(0, along - side), Math.min(along, side)];
    context.moveTo(left + from, top + along - from);
    context.lineTo(left + to, top + along - to);
  }
  context.stroke();
}

// Frame a cell of a grid that lies over the whole canvas: black within white, seen on any ground.
function frameCell(canvas, height, width, row, column) {
  const context = canvas.getContext("2d");
  const [wide, tall] = [canvas.width / width, canvas.height / height];
  for (const [colour, line] of [["#fff", 5], ["#000", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = Math.min(line, Math.max(1, wide / 3));
    context.strokeRect(column * wide, row * tall, wide, tall);
  }
}

// The cell of a grid over the canvas that the mouse is on: [row, column].
function cellAt(canvas, height, width, event) {
  const box = canvas.getBoundingClientRect();
  const across = (event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth;
  const down = (event.clientY - box.top - canvas.clientTop) / canvas.clientHeight;
  const inside = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
  return [inside(down, height), inside(across, width)];
}
