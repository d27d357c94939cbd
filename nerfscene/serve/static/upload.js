// Uploads photos: some files at a time, with progress for each and for all, and what can't be used by name.
// What the server knows (photos that came, files that can't be used) is drawn by the server: #told.
import { become, fetched } from "./live.js";
import { picking } from "./picking.js";
import { drawer } from "./progress.js";
import { transfer } from "./transfer.js";
import { count, sentence, size } from "./words.js";

const AT_ONCE = 3;
const AGAIN = 8000; // ms until a lost connection is tried again
const root = document.getElementById("upload");
const start = document.getElementById("start");
const go = document.getElementById("go");
const ready = document.getElementById("ready");
const told = document.getElementById("told");
const token = document.querySelector("meta[name=token]").content;
const items = []; // {file, id, sent, state: waiting, sending, done, refused; why, running}
let scene = root.dataset.scene;
let making = null; // the promise of a new scene
let paused = false;
let lost = false; // the connection
let armed = false; // to start as soon as all has come
let awake = null; // keeps a phone's screen on
const draw = drawer(items, () => ({ paused, lost }));

const open = () => items.filter((item) => item.state === "waiting" || item.state === "sending");
const came = () => Number(document.getElementById("whole")?.dataset.count ?? 0);

// The scene to upload to, made with the first file.
function made() {
  making ??= (async () => {
    if (scene) return;
    const quality = start.querySelector("[name=quality]:checked").value;
    const title = document.getElementById("title").value;
    const answer = await fetch("/new", { method: "POST", body: new URLSearchParams({ token, title, quality }) });
    const found = new URL(answer.url).pathname.match(/^\/scenes\/(\w+)$/);
    if (!answer.ok || !found) throw new Error("no scene");
    scene = found[1];
    root.dataset.scene = scene;
    history.replaceState(null, "", `/scenes/${scene}`);
    start.action = `/scenes/${scene}/train`;
  })().catch((error) => { making = null; throw error; });
  return making;
}

function same(a, b) {
  return a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;
}

function add(files) {
  const here = new Set([...told.querySelectorAll("[data-file]")].map((li) => `${li.dataset.size} ${li.dataset.name}`));
  const fresh = files.filter((file) => !here.has(`${file.size} ${file.name}`)
    && !items.some((i) => i.state !== "refused" && same(i.file, file)));
  if (files.length && !fresh.length) say("They are all here already.");
  const bytes = fresh.reduce((sum, file) => sum + file.size, 0);
  const left = Number(root.dataset.left);
  if (bytes > left) {
    say(`These are ${size(bytes)}, and there is room for ${size(left)}: choose fewer, or delete scenes.`);
    return;
  }
  root.dataset.left = left - bytes;
  for (const file of fresh) {
    const item = { file, id: begun(file), sent: 0, state: "waiting", why: "", running: null };
    if (!file.size) refuse(item, "It is empty");
    items.push(item);
  }
  document.getElementById("drop").classList.toggle("small-drop", items.length > 0);
  if (fresh.length) say("");
  next();
}

// The id of an upload that stopped on the way, if the same file was chosen again.
function begun(file) {
  const taken = new Set(items.map((item) => item.id));
  const found = [...told.querySelectorAll("[data-coming]")].find(
    (li) => li.dataset.name === file.name && Number(li.dataset.size) === file.size && !taken.has(li.dataset.coming),
  );
  return found?.dataset.coming ?? "";
}

function say(text) {
  ready.textContent = text;
}

function refuse(item, why) {
  item.state = "refused";
  // After the file's name, which the sentence may begin with.
  const rest = why.startsWith(`${item.file.name} `) ? why.slice(item.file.name.length + 1) : "";
  item.why = rest ? `${rest.replace(/\.$/, "")}.` : sentence(why);
}

async function next() {
  draw();
  if (!open().length) {
    finished();
    return;
  }
  wake();
  if (paused) return;
  try {
    await made();
  } catch {
    gone();
    return;
  }
  for (const item of items) {
    if (items.filter((i) => i.state === "sending").length >= AT_ONCE) break;
    if (item.state === "waiting") send(item);
  }
  draw();
}

function send(item) {
  item.state = "sending";
  item.running = transfer(item.file, scene, token, item.id, {
    named: (id) => { item.id = id; },
    moved: (sent) => { item.sent = sent; lost = false; draw(); },
    done: () => { item.state = "done"; item.sent = item.file.size; lost = false; soon(); next(); },
    gone: () => { item.state = "waiting"; item.sent = 0; gone(); },
    refused: (why) => { refuse(item, why); soon(); next(); },
  });
  item.running.go();
}

function gone() {
  if (!lost) setTimeout(() => { lost = false; next(); }, AGAIN);
  lost = true;
  draw();
}

// Asks the server what has become of the files, but not too often.
let asking = null;
function soon() {
  asking ??= setTimeout(async () => {
    asking = null;
    await look();
  }, open().length ? 2500 : 400);
}

async function look() {
  const page = scene ? await fetched(`/scenes/${scene}/photos`) : null;
  const next = page?.getElementById("told");
  if (!next) {
    if (scene) setTimeout(soon, AGAIN); // no connection, or no answer
    return;
  }
  const mine = new Set(items.filter((i) => i.state !== "refused").map((item) => item.id || item.file.name));
  for (const li of next.querySelectorAll("[data-coming]")) {
    if (mine.has(li.dataset.coming) || mine.has(li.dataset.name)) li.remove();
  }
  const unfinished = next.querySelector("#unfinished");
  if (unfinished && !unfinished.querySelector("li")) unfinished.remove();
  become(told, next);
  const now = document.getElementById("told");
  if (now !== told) {
    // It was replaced as a whole; ``told`` stays the place that is looked into.
    now.replaceWith(told);
    told.replaceChildren(...now.childNodes);
  }
  finished();
  // What has come is looked at before it counts.
  if (Number(next.dataset.checking) || (items.length && open().length)) soon();
}

function finished() {
  if (open().length || !items.length) return;
  awake?.release().catch(() => {});
  awake = null;
  const n = came();
  if (n && armed) start.requestSubmit();
  else if (n && n < 20 && !videos()) say(`${count(n, "photo")} so far. Good scenes take 30 or more.`);
}

function videos() {
  return items.some((item) => /\.(mp4|mov|mkv|webm|avi|zip)$/i.test(item.file.name));
}

async function wake() {
  if (awake || !navigator.wakeLock) return;
  awake = await navigator.wakeLock.request("screen").catch(() => null);
}

start.addEventListener("submit", (event) => {
  if (open().length || asking) {
    event.preventDefault();
    armed = true;
    say("It starts by itself when all files are here. Leave this page open.");
  } else if (!came()) {
    event.preventDefault();
    say("Choose photos or a video first.");
    document.getElementById("files").focus();
  }
});
document.getElementById("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.currentTarget.querySelector("span").textContent = paused ? "Go on" : "Pause";
  for (const item of items) {
    if (paused && item.state === "sending") {
      item.running.stop();
      item.state = "waiting";
    }
  }
  next();
});
addEventListener("online", next);
addEventListener("beforeunload", (event) => {
  if (open().length) event.preventDefault();
});
picking(document.getElementById("drop"), add);
if (Number(told.dataset.checking)) soon();
if (!scene) go.textContent = "Make the scene";
document.getElementById("title")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault(); // there are photos to choose yet
});
