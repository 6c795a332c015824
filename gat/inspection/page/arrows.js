// Edges as arrows that keep to the right of the line between their nodes, so that the two
// directions of a pair lie side by side and each shows its own width.
"use strict";

const EDGE_VERTEX = `
attribute vec2 a_start;
attribute vec2 a_end;
attribute vec2 a_radii;
attribute float a_width;
attribute vec4 a_color;
attribute vec4 a_id;
attribute vec3 a_part;
uniform mat3 u_matrix;
uniform vec2 u_half;
uniform float u_sizeRatio;
varying float v_side;
varying float v_room;
varying vec4 v_color;

// a_part: where along the arrow (0 start, 1 neck, 2 tip), which side, and whether of the head.
void main() {
  vec2 start = (u_matrix * vec3(a_start, 1.0)).xy * u_half;
  vec2 end = (u_matrix * vec3(a_end, 1.0)).xy * u_half;
  float span = length(end - start);
  if (span < 0.001 || a_width <= 0.0) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    return;
  }
  vec2 along = (end - start) / span;
  vec2 across = vec2(along.y, -along.x);
  vec2 radii = a_radii / u_sizeRatio + vec2(0.0, 1.0);
  float room = max(span - radii.x - radii.y, 1.0);
  float half_width = 0.5 * a_width;
  float head = min(4.0 + 2.4 * half_width, 0.6 * room);
  float wing = min(2.2 + 1.9 * half_width, 0.55 * head + half_width);
  #ifdef PICKING_MODE
  half_width = max(half_width, 3.0);
  wing = max(wing, 4.0);
  #endif
  float neck = span - radii.y - head;
  float far = a_part.x < 0.5 ? radii.x : a_part.x < 1.5 ? neck : span - radii.y + 0.8;
  v_room = a_part.z < 0.5 ? half_width : a_part.x < 1.5 ? wing : 0.0;
  v_side = a_part.y * (v_room + 1.0);
  vec2 at = start + along * far + across * (v_side + half_width + 0.6);
  gl_Position = vec4(at / u_half, 0.0, 1.0);
  #ifdef PICKING_MODE
  v_color = a_id;
  #else
  v_color = a_color;
  #endif
  v_color.a *= 255.0 / 254.0;
}`;

const EDGE_FRAGMENT = `
precision highp float;
varying float v_side;
varying float v_room;
varying vec4 v_color;

void main() {
  #ifdef PICKING_MODE
  gl_FragColor = v_color;
  #else
  float cover = clamp(v_room + 0.5 - abs(v_side), 0.0, 1.0);
  // Lines thinner than a pixel are paler, not broken.
  gl_FragColor = vec4(v_color.rgb, 1.0) * v_color.a * cover;
  #endif
}`;

// Two triangles for the line and one for the head; see a_part above.
const PARTS = [
  [0, -1, 0], [0, 1, 0], [1, -1, 0], [1, -1, 0], [0, 1, 0], [1, 1, 0],
  [1, -1, 1], [1, 1, 1], [2, 0, 1],
];

// The program that draws edges as wide as their size in pixels, at any zoom.
function arrowsProgram() {
  const { floatColor } = Sigma.utils;
  return program(Sigma.rendering.EdgeProgram, {
    vertex: EDGE_VERTEX,
    fragment: EDGE_FRAGMENT,
    attributes: [
      ["a_start", 2], ["a_end", 2], ["a_radii", 2], ["a_width", 1],
      "a_color", "a_id", ["a_part", 3],
    ],
    parts: PARTS,
    row: (id, source, target, edge) => [
      source.x, source.y, target.x, target.y, source.size, target.size, edge.size,
      floatColor(edge.color), id,
    ],
  });
}
