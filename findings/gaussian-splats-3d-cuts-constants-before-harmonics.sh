#!/bin/sh
# GaussianSplats3D cuts a splat's constant colour to 0..1 before it adds what depends on the view.
#
# Met with: @mkkellogg/gaussian-splats-3d 0.4.7, three 0.187.0, Node.js, Linux x86-64.
# Valid input: a .ply in 3D Gaussian splatting's layout, degree 1. One splat's constant is 1.35 (f_dc = 3) and its
# coefficients take 0.49 from that where it is seen along -z, so that it is to look 0.86 there; another's constant
# is -0.35, and the coefficients add 0.49: 0.14. By the method's definition only the sum is kept from being below 0.
# Seen: the parser makes bytes of the constants, 255 and 0, and keeps the coefficients, so that the sums are 0.51 and
# 0.49: a bright splat becomes grey, and a dark one too. (The program's shader cuts the sum itself once more.)
# Needs: Node.js and npm.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @mkkellogg/gaussian-splats-3d@0.4.7 three@0.187.0
cat >look.mjs <<'J'
import * as G from "./node_modules/@mkkellogg/gaussian-splats-3d/build/gaussian-splats-3d.module.js";

const rest = [...Array(9).keys()].map((i) => `f_rest_${i}`);
const names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", ...rest,
  "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"];
const rows = [3, -3].map((constant) => names.map((name) =>
  name.startsWith("f_dc") ? constant
    : ["f_rest_1", "f_rest_4", "f_rest_7"].includes(name) ? Math.sign(constant) // of z, for red, green and blue
      : name === "rot_0" ? 1 : name.startsWith("scale") ? -3 : 0));
const head = new TextEncoder().encode(["ply", "format binary_little_endian 1.0", `element vertex ${rows.length}`,
  ...names.map((name) => `property float ${name}`), "end_header", ""].join("\n"));
const body = new Uint8Array(new Float32Array(rows.flat()).buffer);
const file = new Uint8Array(head.length + body.length);
file.set(head);
file.set(body, head.length);
const read = G.PlyParser.parseToUncompressedSplatArray(file.buffer, 1).splats;
const F_DC = 10, F_REST = 14; // where its rows hold the colour and the coefficients
const constants = read.map((splat) => splat[F_DC] / 255), z = read.map((splat) => splat[F_REST + 1]);
const sums = constants.map((c, i) => c - 0.4886025 * z[i]);
const right = rows.map((row) => 0.5 + 0.2820948 * row[3] - 0.4886025 * row[7]);
console.log("constants", constants, "coefficients of z", z, "sums", sums, "to be", right);
const still = constants[0] === 1 && constants[1] === 0 && z[0] === 1 && z[1] === -1;
process.exit(still && sums.every((sum, i) => Math.abs(sum - right[i]) > 0.3) ? 0 : 1);
J
node look.mjs
