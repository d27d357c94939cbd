#!/bin/sh
# One settings.json with a camera track, two films: SuperSplat's viewer and splat-transform play it differently.
#
# Met with: @playcanvas/supersplat-viewer 1.28.0 and @playcanvas/splat-transform 3.7.0 (npm, both of the same maker),
# Node 20 and later.
# Valid input: settings of version 2, which the viewer's own validateSettings takes: keys at the frames 0 and 30 of a
# track of 60 frames, from x = 0 to x = 1, with loopMode "none", once as interpolation "spline" and once as "step".
# Seen: 1. After the last key, at frame 45, splat-transform's camera stays at x = 1; the viewer's is on its way back to
#    the first key, at x = 0.5, as if the track looped, and stops at the end of the track, at x = 0.
# 2. "step" makes splat-transform's camera jump from key to key; the viewer's glides all the same: frame 15 is x = 0.5.
# 3. fov is vertical in splat-transform (its types say so); the viewer takes it across the longer side of its window
#    (horizontalFov = width > height). At 16:9 a fov of 60 is 36 degrees high there, and 60 here.
# SuperSplat writes such settings with loopMode "none" if its timeline doesn't loop.
# Exit code: 0 if it is still so, 1 if it has changed.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    @playcanvas/supersplat-viewer@1.28.0 @playcanvas/splat-transform@3.7.0
cat >look.mjs <<'J'
import { readFileSync } from "fs";
import { loadCameraTrack } from "@playcanvas/splat-transform";
import { js } from "@playcanvas/supersplat-viewer";
import { validateSettings } from "@playcanvas/supersplat-viewer/settings";

const settings = (interpolation) => ({
    version: 2, tonemapping: "none", highPrecisionRendering: false, background: { color: [0, 0, 0] },
    postEffectSettings: {
        sharpness: { enabled: false, amount: 0 }, bloom: { enabled: false, intensity: 1, blurLevel: 2 },
        grading: { enabled: false, brightness: 1, contrast: 1, saturation: 1, tint: [1, 1, 1] },
        vignette: { enabled: false, intensity: 0.5, inner: 0.3, outer: 0.75, curvature: 1 },
        fringing: { enabled: false, intensity: 0.5 },
    },
    animTracks: [{
        name: "cameraAnim", duration: 2, frameRate: 30, loopMode: "none", interpolation, smoothness: 0,
        keyframes: { times: [0, 30], values: { position: [0, 0, 0, 1, 0, 0], target: [0, 0, -5, 1, 0, -5], fov: [60, 60] } },
    }],
    cameras: [], annotations: [], startMode: "animTrack",
});

// The viewer's classes, out of the script that the package carries for its page, with a stand-in for its vectors.
const part = (name) => {
    const begin = js.indexOf(`class ${name} {`);
    return js.slice(begin, js.indexOf("\n}\n", begin) + 3);
};
const mod = "const mod = (n, m) => ((n % m) + m) % m;";
const vec = "class Vec3 { set(x, y, z) { Object.assign(this, { x, y, z }); } }";
const AnimState = new Function(`${mod} ${vec} ${part("CubicSpline")} ${part("AnimCursor")} ${part("AnimState")}
return AnimState;`)();

const viewer = (track, seconds) => {
    const state = AnimState.fromTrack(track);
    state.update(seconds);
    return Math.round(state.position.x * 1000) / 1000;
};
const seen = [];
for (const kind of ["spline", "step"]) {
    const given = settings(kind);
    validateSettings(given);
    const track = loadCameraTrack(structuredClone(given), 60);
    for (const frame of [15, 45, 60]) {
        seen.push(`${kind} ${frame}: viewer ${viewer(given.animTracks[0], frame / 30)}, splat-transform ${track.poseAt(frame).position.x}`);
    }
}
const types = readFileSync("node_modules/@playcanvas/splat-transform/dist/lib/render/camera-track.d.ts", "utf8");
seen.push(`fov: viewer ${/horizontalFov = graphicsDevice\.width > graphicsDevice\.height/.test(js) ? "longer side" : "?"}, ` +
          `splat-transform ${/vertical fov/.test(types) ? "vertical" : "?"}`);
console.log(seen.join("\n"));
J
node look.mjs >seen
cat seen
cat >expected <<'T'
spline 15: viewer 0.5, splat-transform 0.5
spline 45: viewer 0.5, splat-transform 1
spline 60: viewer 0, splat-transform 1
step 15: viewer 0.5, splat-transform 0
step 45: viewer 0.5, splat-transform 1
step 60: viewer 0, splat-transform 1
fov: viewer longer side, splat-transform vertical
T
cmp -s seen expected || { echo "changed: expected"; cat expected; exit 1; }
