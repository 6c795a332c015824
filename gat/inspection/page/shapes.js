// Nodes as shapes, one for each class, so that classes are told apart without colour.
"use strict";

// Okabe and Ito's colours, which the colour-blind tell apart; black is left for the lines.
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const UNKNOWN = "#9a9a9a";

// How each shape is drawn in the legend and tables, in a box from -1 to 1, y downward. The
// fragment shader below has the same ones, in the same order.
const SHAPES = [
  "M-.9 0a.9.9 0 1 0 1.8 0a.9.9 0 1 0-1.8 0",
  "M-.8-.8H.8V.8H-.8Z",
  "M0-1.05 1 .68H-1Z",
  "M0-1.05 1.05 0 0 1.05-1.05 0Z",
  "M0 1.05-1-.68H1Z",
  "M-.36-.95H.36V-.36H.95V.36H.36V.95H-.36V.36H-.95V-.36H-.36Z",
  "M.52-.95H-.52L-1.05 0-.52.95H.52L1.05 0Z",
];

// 7 colours and 7 shapes make 49 pairs; the first 7 classes differ in both.
function looksOf(kind) {
  if (kind === null) return { color: UNKNOWN, shape: 0 };
  const round = Math.floor(kind / COLOURS.length);
  return { color: COLOURS[kind % COLOURS.length], shape: (kind + round) % SHAPES.length };
}

// A small drawing of a class's shape, for HTML.
function shapeIcon(kind) {
  const { color, shape } = looksOf(kind);
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg");
  icon.setAttribute("viewBox", "-1.3 -1.3 2.6 2.6");
  icon.setAttribute("class", "icon");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[shape]);
  path.setAttribute("fill", color);
  icon.append(path);
  return icon;
}

const NODE_VERTEX = `
attribute vec2 a_position;
attribute float a_size;
attribute float a_shape;
attribute float a_ring;
attribute vec4 a_color;
attribute vec4 a_line;
attribute vec4 a_id;
attribute vec2 a_corner;
uniform mat3 u_matrix;
uniform vec2 u_half;
uniform float u_sizeRatio;
varying vec2 v_at;
varying float v_size;
varying float v_shape;
varying float v_ring;
varying vec4 v_color;
varying vec4 v_line;

void main() {
  float size = a_size / u_sizeRatio;
  // In units of pixels around the node; a margin for the outline.
  v_at = a_corner * (1.2 * size + a_ring + 2.0);
  v_size = size;
  v_shape = a_shape;
  v_ring = a_ring;
  vec2 middle = (u_matrix * vec3(a_position, 1.0)).xy;
  gl_Position = vec4(middle + v_at / u_half, 0.0, 1.0);
  #ifdef PICKING_MODE
  v_color = a_id;
  #else
  v_color = a_color;
  #endif
  v_color.a *= 255.0 / 254.0;
  v_line = a_line;
  v_line.a *= 255.0 / 254.0;
}`;

const NODE_FRAGMENT = `
precision highp float;
varying vec2 v_at;
varying float v_size;
varying float v_shape;
varying float v_ring;
varying vec4 v_color;
varying vec4 v_line;

float triangle(vec2 p) {
  return max(abs(p.x) * 0.866 + p.y * 0.5 - 0.53, -p.y - 0.68);
}

// Below 0 inside the shape, in units of the node's size.
float outside(vec2 p) {
  vec2 q = abs(p);
  if (v_shape < 0.5) return length(p) - 0.9;
  if (v_shape < 1.5) return max(q.x, q.y) - 0.8;
  if (v_shape < 2.5) return triangle(p);
  if (v_shape < 3.5) return (q.x + q.y - 1.05) * 0.707;
  if (v_shape < 4.5) return triangle(-p);
  if (v_shape < 5.5) return min(max(q.x - 0.36, q.y - 0.95), max(q.x - 0.95, q.y - 0.36));
  return max(q.y - 0.95, q.x * 0.873 + q.y * 0.487 - 0.917);
}

void main() {
  float gap = outside(v_at / v_size) * v_size;
  #ifdef PICKING_MODE
  gl_FragColor = gap < 1.5 ? v_color : vec4(0.0);
  #else
  float cover = clamp(v_ring + 0.5 - gap, 0.0, 1.0);
  float line = clamp(gap + 0.5, 0.0, 1.0);
  vec4 color = mix(v_color, v_line, line);
  gl_FragColor = vec4(color.rgb, 1.0) * cover * color.a;
  #endif
}`;

// Two triangles that make a square.
const CORNERS = [[-1, -1], [1, -1], [-1, 1], [-1, 1], [1, -1], [1, 1]];

// A program of sigma's, for nodes or for edges. attributes: [name, floats] of each, or a name alone
// for a colour; row(id, ...items): their values, without the last's, which is a part of `parts` for
// each vertex. Instanced drawing would send less, but without a graphics card it takes as long as a
// draw for each node and edge.
function program(Base, { vertex, fragment, attributes, parts, row }) {
  const { FLOAT, UNSIGNED_BYTE, TRIANGLES } = WebGLRenderingContext;
  const attribute = (one) =>
    Array.isArray(one)
      ? { name: one[0], size: one[1], type: FLOAT }
      : { name: one, size: 4, type: UNSIGNED_BYTE, normalized: true };
  return class extends Base {
    getDefinition() {
      return {
        VERTICES: parts.length,
        VERTEX_SHADER_SOURCE: vertex,
        FRAGMENT_SHADER_SOURCE: fragment,
        METHOD: TRIANGLES,
        UNIFORMS: ["u_matrix", "u_half", "u_sizeRatio"],
        ATTRIBUTES: attributes.map(attribute),
      };
    }

    processVisibleItem(id, start, ...items) {
      const shared = row(id, ...items);
      let at = start;
      for (const part of parts) {
        for (const value of shared) this.array[at++] = value;
        for (const value of part) this.array[at++] = value;
      }
    }

    setUniforms(view, { gl, uniformLocations }) {
      gl.uniformMatrix3fv(uniformLocations.u_matrix, false, view.matrix);
      gl.uniform2f(uniformLocations.u_half, view.width / 2, view.height / 2);
      gl.uniform1f(uniformLocations.u_sizeRatio, view.sizeRatio);
    }
  };
}

// The program that draws nodes; attributes beside sigma's: shape, ring (pixels) and line (colour).
function shapesProgram() {
  const { floatColor } = Sigma.utils;
  return program(Sigma.rendering.NodeProgram, {
    vertex: NODE_VERTEX,
    fragment: NODE_FRAGMENT,
    attributes: [
      ["a_position", 2], ["a_size", 1], ["a_shape", 1], ["a_ring", 1],
      "a_color", "a_line", "a_id", ["a_corner", 2],
    ],
    parts: CORNERS,
    row: (id, node) => [
      node.x, node.y, node.size, node.shape, node.ring,
      floatColor(node.color), floatColor(node.line), id,
    ],
  });
}
