// Draws how far uploads are: for all, and for each.
import { count, length, size } from "./words.js";

const EVERY = 250; // ms between drawings
const HEARD = 15000; // ms between what a screen reader hears
const WINDOW = 20000; // ms over which the speed is taken
const MOST_ROWS = 600;

// items, as upload.js has them; mood: a function that says {paused, lost}. Returns a function that draws soon.
export function drawer(items, mood) {
  const by = (id) => document.getElementById(id);
  const rows = new Map();
  const speeds = []; // [time, bytes sent by then]
  let pending = null;
  let heard = 0;

  function row(item) {
    let found = rows.get(item);
    if (!found && rows.size < MOST_ROWS) {
      found = document.createElement("li");
      found.innerHTML = '<span class="name"></span><span class="muted"></span><progress max="1"></progress>';
      found.firstChild.textContent = item.file.name;
      found.lastChild.setAttribute("aria-label", item.file.name);
      by("rows").append(found);
      rows.set(item, found);
    }
    return found;
  }

  function drawRow(item) {
    const li = row(item);
    if (!li || li.dataset.state === "over") return;
    const share = item.file.size ? item.sent / item.file.size : 0;
    const said = { waiting: "waits", done: "sent", refused: "not used" }[item.state];
    li.children[1].textContent = said ?? `${Math.floor(share * 100)} %`;
    if (li.lastChild.nodeName === "PROGRESS") li.lastChild.value = share;
    if (item.state === "done" || item.state === "refused") {
      li.dataset.state = "over";
      li.lastChild.remove();
    }
    if (item.state === "refused") {
      const why = document.createElement("span");
      why.className = "bad";
      why.textContent = item.why;
      li.append(why);
    }
  }

  function left(sent, total) {
    const now = performance.now();
    speeds.push([now, sent]);
    while (speeds.length > 2 && now - speeds[0][0] > WINDOW) speeds.shift();
    const [first, before] = speeds[0];
    const speed = (sent - before) / Math.max(now - first, 1); // bytes per ms
    return speed > 0 && now - first > 2000 ? `, ${length((total - sent) / speed / 1000)} left` : "";
  }

  function draw() {
    pending = null;
    const used = items.filter((item) => item.state !== "refused");
    const refused = items.filter((item) => item.state === "refused");
    const total = used.reduce((sum, item) => sum + item.file.size, 0);
    const sent = used.reduce((sum, item) => sum + item.sent, 0);
    const done = used.filter((item) => item.state === "done").length;
    const { paused, lost } = mood();
    const over = done === used.length;
    by("sum").hidden = !items.length;
    by("pause").hidden = over;
    by("sum-bar").value = total ? sent / total : 0;
    by("sum-count").textContent = over
      ? `${count(done, "file")} uploaded`
      : `${done} of ${count(used.length, "file")} uploaded`;
    by("sum-left").textContent = over ? size(total)
      : `${size(sent)} of ${size(total)}${paused || lost ? "" : left(sent, total)}`;
    by("connection").textContent = lost && !paused
      ? "The connection is gone. It goes on by itself when it is back." : "";
    for (const item of items) drawRow(item);
    refusals(refused);
    const now = performance.now();
    if (now - heard > HEARD || over) {
      heard = now;
      const text = over ? `All ${count(done, "file")} uploaded` : `${done} of ${count(used.length, "file")} uploaded`;
      if (by("heard").textContent !== text) by("heard").textContent = text;
    }
  }

  // What the server refused before it was sent isn't in its list; it is told here.
  function refusals(refused) {
    let place = by("refused");
    if (!refused.length) return;
    if (!place) {
      place = document.createElement("section");
      place.id = "refused";
      place.className = "alert wrong";
      place.setAttribute("role", "alert");
      place.innerHTML = '<div><h2></h2><ul class="plain-list"></ul></div>';
      by("heard").after(place);
    }
    place.querySelector("h2").textContent = `${count(refused.length, "file")} not used`;
    const list = place.querySelector("ul");
    for (const item of refused.filter((one) => !one.told)) {
      item.told = true;
      const li = document.createElement("li");
      const text = document.createElement("span");
      const name = document.createElement("strong");
      name.textContent = item.file.name;
      text.append(name, ` ${item.why}`);
      li.append(text);
      list.append(li);
    }
  }

  return () => { pending ??= setTimeout(draw, EVERY); };
}
