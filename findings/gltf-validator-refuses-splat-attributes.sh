#!/bin/sh
# Khronos' glTF validator calls the attributes of its own KHR_gaussian_splatting invalid: an error for each.
#
# Met with: gltf-validator 2.0.0-dev.3.10 (npm, its newest), @playcanvas/splat-transform 3.7.0, Node 20 and later.
# Valid input: one splat as a .glb, written by splat-transform from a PLY in 3D Gaussian splatting's layout. The
# extension names its attributes KHR_gaussian_splatting:ROTATION and so on; PlayCanvas 2.23 and Babylon.js 9.28 read it.
# Seen: MESH_PRIMITIVE_INVALID_ATTRIBUTE, of severity 0 (an error), for each of the four attributes, beside the remark
# (severity 2) that the extension can't be validated. Of other extensions it doesn't know it only remarks. So a
# check that takes its errors as a broken file refuses every splat file, whoever wrote it.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts gltf-validator@2.0.0-dev.3.10 @playcanvas/splat-transform@3.7.0
cat >ply.mjs <<'J'
import { writeFileSync } from "fs";
const names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
               "rot_0", "rot_1", "rot_2", "rot_3"];
const header = ["ply", "format binary_little_endian 1.0", "element vertex 1",
                ...names.map((name) => `property float ${name}`), "end_header", ""].join("\n");
const values = Float32Array.of(0, 0, 0, 0.5, 0, -0.5, 2, -2, -3, -4, 1, 0, 0, 0);
writeFileSync("one.ply", Buffer.concat([Buffer.from(header), Buffer.from(values.buffer)]));
J
node ply.mjs
node node_modules/@playcanvas/splat-transform/bin/cli.mjs -q -w one.ply one.glb
cat >check.mjs <<'J'
import { readFileSync } from "fs";
import validator from "gltf-validator";
const { issues } = await validator.validateBytes(new Uint8Array(readFileSync("one.glb")));
const errors = issues.messages.filter((m) => m.severity === 0);
for (const m of issues.messages) console.log(m.severity, m.code, m.pointer);
const alike = errors.every((m) => m.code === "MESH_PRIMITIVE_INVALID_ATTRIBUTE"
                                  && m.pointer.includes("/KHR_gaussian_splatting:"));
process.exit(errors.length === 4 && alike ? 0 : 1);
J
node check.mjs
