// Parts of a page that change while something runs: [data-live], with the time between looks in ms.
// The page is asked for again, and what is new in these parts takes the place of what is there.

const seen = new Map(); // by id: what the server last said

// Changes ``now`` into ``next`` with as few touches as possible, so that focus, open parts and pictures stay.
export function become(now, next) {
  if (now.nodeName !== next.nodeName || now.childNodes.length !== next.childNodes.length) {
    now.replaceWith(document.importNode(next, true));
    return;
  }
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.data !== next.data) now.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && name !== "open") now.removeAttribute(name);
  }
  const pairs = [...now.childNodes].map((child, i) => [child, next.childNodes[i]]);
  for (const [child, wanted] of pairs) become(child, wanted);
}

// The page at an address as the server has it now; null if it can't be had.
export async function fetched(address) {
  try {
    const answer = await fetch(address, { cache: "no-store" });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    if (!answer.ok) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null; // no connection; asked again later
  }
}

function typing() {
  return document.activeElement?.matches("input, select, textarea") || document.querySelector("video[data-played]");
}

function heard(text) {
  const place = document.getElementById("heard-stage");
  if (place && text && place.textContent !== text) place.textContent = text;
}

function update(next) {
  const stage = document.getElementById("stage");
  const wanted = next.getElementById("stage");
  // Another state has other parts around it, too; but nobody's typing is lost for that.
  if (stage && wanted && stage.dataset.state !== wanted.dataset.state) {
    if (!typing()) location.reload();
    return;
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const told = next.getElementById(part.id);
    if (!told || seen.get(part.id) === told.outerHTML) continue;
    seen.set(part.id, told.outerHTML);
    become(part, told);
  }
  heard(document.getElementById("stage-name")?.textContent.trim());
}

export function live() {
  for (const part of document.querySelectorAll("[data-live]")) seen.set(part.id, part.outerHTML);
  document.addEventListener("play", (event) => { event.target.dataset.played = "1"; }, true);
  const every = () => Math.min(
    ...[...document.querySelectorAll("[data-live]")].map((part) => Number(part.dataset.live) || Infinity),
  );
  let failures = 0;
  async function look() {
    const wait = every();
    if (!Number.isFinite(wait)) return;
    if (!document.hidden) {
      const next = await fetched(location.pathname + location.search);
      failures = next ? 0 : Math.min(failures + 1, 6);
      if (next) update(next);
    }
    setTimeout(look, wait * 2 ** failures);
  }
  if (Number.isFinite(every())) setTimeout(look, every());
}
