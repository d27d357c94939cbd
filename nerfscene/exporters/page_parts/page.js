"use strict";
// The page around viser's own client, which draws the scene in a frame made of text: such a frame belongs to this
// page also when it is opened from a disk, so its camera can be moved from here.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const [stage, poster, progress, bar, pad, time] =
  ["stage", "poster", "progress", "bar", "pad", "time"].map($);
const parts = new Array(data.parts).fill(null);
let client = null, frame = null, drawable = true;

// What runs in the frame before viser does. Of a page opened from a disk, browsers start no worker that is a module
// in a blob, and then the splats would stay unsorted; one in a data address starts. And three.js reports the
// splats' corners, which have two coordinates, as wrong; they are drawn all the same.
function prepare() {
  if (window.origin === "null") {
    const Usual = window.Worker;
    window.Worker = class extends Usual {
      constructor(address, options) {
        const request = new XMLHttpRequest();
        try {
          request.open("GET", address, false); // a blob's text is there at once
          request.send();
          address = "data:text/javascript;charset=utf-8," + encodeURIComponent(request.responseText);
        } catch { /* the worker may start all the same */ }
        super(address, options);
      }
    };
  }
  for (const name of ["error", "warn"]) {
    const usual = console[name];
    console[name] = (...all) => /computeBoundingSphere|THREE.Clock/.test(all[0]) || usual(...all);
  }
  console.log = () => {}; // viser tells there what it runs on
}

// Each part of the scene is a script that calls this, because a page opened from a disk may load nothing else.
window.nerfscenePart = (i, text) => {
  if (i < 0) client = text;
  else parts[i] = text;
  const there = parts.filter((part) => part !== null).length;
  show(there / data.parts);
  if (client && there === data.parts && drawable) begin();
};

function show(fraction) {
  progress.firstElementChild.style.width = `${Math.round(100 * fraction)}%`;
  progress.setAttribute("aria-valuenow", Math.round(100 * fraction));
  progress.classList.toggle("busy", fraction === 1);
}

function say(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

function load() {
  drawable = Boolean(document.createElement("canvas").getContext("webgl2"));
  if (!drawable) {
    say("This browser can't draw the scene, because WebGL 2 is missing or turned off. Here is a picture of it.");
    return;
  }
  progress.hidden = false;
  let next = 0;
  const one = () => {
    if (next >= data.files.length) return;
    const script = document.createElement("script");
    script.src = data.files[next++];
    script.onload = one;
    script.onerror = () => {
      progress.hidden = true;
      say(`The file ${script.getAttribute("src")} could not be loaded. Was the whole folder copied?`);
    };
    document.head.append(script);
  };
  for (let i = 0; i < 4; i++) one();
}

function begin() {
  window.nerfsceneScene = parts.slice(0, data.scene).join("");
  frame = document.createElement("iframe");
  frame.title = "The scene in three dimensions";
  frame.allow = "fullscreen";
  frame.srcdoc = client[0].replace("<head>", `<head><script>(${prepare})()</` + "script>") +
    "parent.nerfsceneScene" + client[1];
  stage.prepend(frame);
  const began = performance.now();
  const waiting = setInterval(() => {
    const window = frame.contentWindow, m = window.__viserMutable;
    if (m && m.cameraControl && m.camera && window.__viserSceneTree.getState()["/splats"]) {
      clearInterval(waiting);
      start(window, m);
    } else if (performance.now() - began > 60000) {
      clearInterval(waiting); // another viser, which can be looked at but not steered from here
      reveal();
    }
  }, 30);
}

function reveal() {
  poster.classList.add("gone");
  progress.hidden = true;
  setTimeout(() => { poster.hidden = true; }, 600);
  document.documentElement.dataset.ready = "yes";
}

function start(view, m) {
  const style = view.document.createElement("style");
  style.textContent = `html, body, canvas[data-engine] { background: ${data.background} !important; }
    #root .mantine-Paper-root, #root .mantine-Notifications-root { display: none !important; }`;
  view.document.head.append(style);
  view.document.documentElement.lang = "en";
  const settings = view.__viserTestpoints && view.__viserTestpoints.devSettings;
  if (settings) settings.set({ enableOrbitCrosshair: false, fixedDpr: devicePixelRatio > 2 ? 2 : null });
  const camera = steering(view, m);
  camera.put(data.open);
  controls(view, m, camera);
  delete window.nerfsceneScene;
  const info = view.__viserTestpoints && view.__viserTestpoints.rendererInfo.render;
  const began = performance.now();
  let frames = info ? info.frame : 0, refined = !data.range;
  if (data.range) harmonics().then((bytes) => refine(view, m, bytes)).catch(() => {}).then(() => {
    refined = true;
    if (info) frames = info.frame;
    m.requestRender();
  });
  const waiting = setInterval(() => {
    // An instance is two triangles. They come in the right order for the first view.
    const drawn = info && info.triangles >= 2 * data.count && info.frame > frames;
    if (!(drawn && refined) && performance.now() - began < 30000) return;
    clearInterval(waiting);
    bar.hidden = false;
    reveal();
  }, 20);
}

// The splats' harmonics, which come after the scene. Without them, in an old browser, each has one colour.
async function harmonics() {
  const packed = Uint8Array.from(atob(parts.slice(data.scene).join("")), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Int8Array(await new Response(stream).arrayBuffer());
}

// Waits for viser's mesh of splats.
function refine(view, m, bytes) {
  return new Promise((done) => {
    const began = performance.now();
    const waiting = setInterval(() => {
      let splats = null;
      m.scene.traverse((o) => { if (o.geometry && o.geometry.attributes.sortedIndex) splats = o; });
      if (!splats && performance.now() - began < 30000) return;
      clearInterval(waiting);
      done(Boolean(splats) && drawLikeFitted(view, splats, bytes, data.range));
    }, 20);
  });
}

// Moves viser's camera. Everything is in the page's world, whose +z is up; viser turns it so that +y is.
function steering(view, m) {
  const c = m.cameraControl;
  const [w, x, y, z] = (view.__viserSceneTree.getState()[""] || {}).wxyz || [1, 0, 0, 0];
  const turned = ([a, b, d]) => {
    const [i, j, k] = [2 * (y * d - z * b), 2 * (z * a - x * d), 2 * (x * b - y * a)];
    return [a + w * i + y * k - z * j, b + w * j + z * i - x * k, d + w * k + x * j - y * i];
  };
  const up = turned([0, 0, 1]);
  let lens = data.open.slice(9), level = true;
  const setUp = (direction) => {
    const [px, py, pz] = c.getPosition(), [tx, ty, tz] = c.getTarget();
    m.camera.up.set(...direction);
    c.updateCameraUp();
    c.setLookAt(px, py, pz, tx, ty, tz, false);
  };
  // lens: half the height that a picture shows at distance 1, and its aspect. A screen of another shape shows
  // something between all of it and what fills the screen.
  const setLens = (value) => {
    lens = value;
    const narrower = lens[1] * frame.clientHeight / Math.max(frame.clientWidth, 1);
    const half = Math.min(lens[0] * narrower ** (narrower > 1 ? data.whole : 1 - data.whole), 2);
    m.camera.fov = 360 / Math.PI * Math.atan(half);
    m.camera.updateProjectionMatrix();
    m.requestRender();
  };
  view.addEventListener("resize", () => setLens(lens));
  c.infinityDolly = true; // coming closer goes on past what is looked at
  c.minDistance = 0.5;
  return {
    place: () => ({ p: [...c.getPosition()], t: [...c.getTarget()] }),
    // place: position, target, up and lens, 11 numbers
    put(place, smoothly = false) {
      const [p, t, u] = [0, 3, 6].map((i) => turned(place.slice(i, i + 3)));
      level = Math.hypot(u[0] - up[0], u[1] - up[1], u[2] - up[2]) < 1e-4;
      if (Math.hypot(...m.camera.up.toArray().map((v, i) => v - u[i])) > 1e-6) setUp(u);
      c.setLookAt(...p, ...t, smoothly);
      setLens(place.slice(9));
    },
    upright() {
      if (!level) setUp(up);
      level = true;
    },
  };
}

function controls(view, m, camera) {
  const film = data.path && filming(camera);
  const walk = walking(view, m, camera);
  const stop = () => { if (film) film.stop(); camera.upright(); };
  m.cameraControl.addEventListener("controlstart", stop);
  const moves = new Set("KeyW KeyA KeyS KeyD KeyQ KeyE ArrowUp ArrowDown ArrowLeft ArrowRight".split(" "));
  const key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.target.matches && event.target.matches("input")) return;
    if (moves.has(event.code)) {
      stop();
      // The page's own buttons have the focus: viser hears the key all the same.
      if (event.isTrusted && event.view !== view) view.document.dispatchEvent(new view.KeyboardEvent(event.type, event));
    } else if (event.type === "keyup") return;
    else if (event.code === "Space" && film && event.target.tagName !== "BUTTON") {
      film.toggle();
      event.preventDefault();
    } else if (event.code === "Home") $("home").click();
  };
  for (const where of [window, view]) for (const type of ["keydown", "keyup"]) where.addEventListener(type, key);
  $("home").onclick = () => {
    if (film) film.stop();
    walk.set(false);
    camera.put(data.open, !matchMedia("(prefers-reduced-motion: reduce)").matches);
  };
  $("walk").onclick = () => { stop(); walk.set(!walk.on()); };
  $("about").onclick = () => $("help").showModal();
  $("full").onclick = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen().catch(() => {});
  };
  $("full").hidden = !document.documentElement.requestFullscreen;
  exposing();
  $("play").hidden = time.hidden = !film;
  bar.classList.toggle("no-path", !film);
  if (film) {
    $("play").onclick = () => { walk.set(false); film.toggle(); };
    time.oninput = () => { walk.set(false); film.seek(time.value / 1000); };
  }
  view.focus();
}

// Exposure multiplies light, as in films: the colours that the screen gets are decoded for it and encoded again.
function exposing() {
  const stops = $("stops"), shade = $("shade");
  $("light").onclick = () => {
    shade.hidden = !shade.hidden;
    $("light").setAttribute("aria-expanded", !shade.hidden);
    if (!shade.hidden) stops.focus();
  };
  stops.oninput = () => {
    const by = Number(stops.value), text = by > 0 ? `+${by}` : by < 0 ? `−${-by}` : "±0";
    for (const channel of $("exposed").querySelectorAll("[type=linear]")) channel.setAttribute("slope", 2 ** by);
    frame.style.filter = by ? "url(#exposed)" : "";
    $("said").value = text;
    stops.setAttribute("aria-valuetext", `${text} stops`);
  };
  stops.ondblclick = () => { stops.value = 0; stops.oninput(); };
}

function filming(camera) {
  const { frames, seconds, loop } = data.path;
  const size = 11, count = frames.length / size;
  let at = 0, playing = false, last = 0, left = null, leftAt = 0;
  const mixed = (a, b, w) => a.map((v, i) => v + w * (b[i] - v));
  const place = (fraction) => {
    const whole = loop ? count : count - 1, x = Math.max(Math.min(fraction, 1), 0) * whole;
    const i = Math.min(Math.floor(x), Math.max(whole - 1, 0)), j = loop ? (i + 1) % count : Math.min(i + 1, count - 1);
    return mixed(frames.slice(size * i, size * i + size), frames.slice(size * j, size * j + size), x - i);
  };
  const show = () => {
    camera.put(place(at));
    time.setAttribute("aria-valuetext", `${Math.round(at * seconds)} of ${Math.round(seconds)} seconds`);
  };
  const mark = (on) => {
    playing = on;
    $("play").setAttribute("aria-pressed", on);
    $("play").setAttribute("aria-label", on ? "Pause the camera path" : "Play the camera path");
  };
  const step = (now) => {
    if (!playing) return;
    at += Math.min(now - last, 250) / 1000 / seconds;
    last = now;
    if (at >= 1) at = loop ? at % 1 : 1;
    show();
    time.value = Math.round(1000 * at);
    if (at === 1) mark(false);
    else requestAnimationFrame(step);
  };
  return {
    toggle() {
      if (playing) return mark(false);
      if (at === 1) at = 0;
      mark(true);
      last = performance.now();
      requestAnimationFrame(step);
    },
    stop: () => mark(false),
    seek(fraction) {
      mark(false);
      at = fraction;
      show();
    },
  };
}

// Walking: the point that is looked at lies just ahead, so that turning is looking around.
function walking(view, m, camera) {
  const c = m.cameraControl, NONE = 0, AHEAD = 0.05;
  const usual = { two: c.touches.two, right: c.mouseButtons.right, wheel: c.mouseButtons.wheel,
    azimuth: c.azimuthRotateSpeed, polar: c.polarRotateSpeed };
  const fingers = new Map(), held = new Set();
  let on = false, distance = 0, last = 0;
  const look = (ahead) => {
    const { p, t } = camera.place();
    const d = t.map((v, i) => v - p[i]), length = Math.hypot(...d);
    c.setLookAt(...p, ...p.map((v, i) => v + d[i] / length * ahead), false);
    return length;
  };
  const go = (ahead, aside, up = 0) => {
    c.forward(ahead, false);
    c.truck(aside, 0, false);
    if (up) c.elevate(up, false);
  };
  const step = (now) => {
    if (!held.size) return;
    const dt = Math.min(now - last, 100) / 1000 * data.speed;
    last = now;
    go((held.has("ahead") - held.has("back")) * dt, (held.has("right") - held.has("left")) * dt);
    requestAnimationFrame(step);
  };
  for (const button of pad.children) {
    const name = button.dataset.walk;
    const down = () => {
      held.add(name);
      last = performance.now();
      if (held.size === 1) requestAnimationFrame(step);
    };
    const release = () => held.delete(name);
    button.onpointerdown = (event) => { button.setPointerCapture(event.pointerId); down(); };
    button.onpointerup = button.onpointercancel = button.onlostpointercapture = button.onblur = release;
    button.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") down(); };
    button.onkeyup = release;
    button.oncontextmenu = (event) => event.preventDefault();
  }
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, Math.hypot(a[0] - b[0], a[1] - b[1])];
  };
  const touch = (event) => {
    if (!on || event.pointerType !== "touch") return;
    if (event.type === "pointerup" || event.type === "pointercancel") fingers.delete(event.pointerId);
    else if (event.type === "pointerdown" || fingers.has(event.pointerId)) {
      const before = fingers.size === 2 && fingers.has(event.pointerId) ? spread() : null;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      if (!before || fingers.size !== 2) return;
      const after = spread(), k = data.speed * 2 / Math.min(view.innerWidth, view.innerHeight);
      go(k * (after[2] - before[2]), -k * (after[0] - before[0]), k * (after[1] - before[1]));
    }
  };
  for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
    view.addEventListener(type, touch, true);
  view.addEventListener("wheel", (event) => {
    if (on) go(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) / 100 * data.speed / 6, 0);
  });
  return {
    on: () => on,
    set(value) {
      if (value === on) return;
      on = value;
      $("walk").setAttribute("aria-pressed", on);
      pad.hidden = !on;
      held.clear();
      fingers.clear();
      c.minDistance = on ? AHEAD : 0.5;
      c.infinityDolly = !on;
      c.touches.two = on ? NONE : usual.two;
      c.mouseButtons.right = on ? NONE : usual.right;
      c.mouseButtons.wheel = on ? NONE : usual.wheel;
      c.azimuthRotateSpeed = on ? -0.4 * usual.azimuth : usual.azimuth;
      c.polarRotateSpeed = on ? -0.4 * usual.polar : usual.polar;
      const was = look(on ? AHEAD : distance || data.distance);
      if (on) distance = was;
    },
  };
}

load();
