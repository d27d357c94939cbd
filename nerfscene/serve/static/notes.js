// Notes of work that ended, as they come: GET /api/notes.

const EVERY = 20000; // ms
const place = () => document.getElementById("notes");
const token = () => document.querySelector("meta[name=token]")?.content ?? "";

function ended(text) {
  const told = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(told) ? told : `${told}.`;
}

function shown(note) {
  const form = document.createElement("form");
  form.className = "note";
  form.method = "post";
  form.action = `/notes/${note.id}/read`;
  form.dataset.note = note.id;
  const link = document.createElement("a");
  link.href = `/scenes/${note.scene}`;
  link.textContent = ended(note.text);
  const button = document.createElement("button");
  button.className = "plain";
  button.setAttribute("aria-label", "Put this note away");
  button.textContent = "✕";
  form.append(link, button);
  return form;
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/api/notes", { headers: { Accept: "application/json" } });
      if (answer.ok) {
        const told = await answer.json();
        for (const note of Array.isArray(told) ? told : told.notes ?? []) {
          if (!place().querySelector(`[data-note="${Number(note.id)}"]`)) place().append(shown(note));
        }
      }
    } catch {
      // no connection; asked again later
    }
  }
  setTimeout(look, EVERY);
}

async function away(form) {
  form.remove();
  const body = new URLSearchParams({ token: token() });
  await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {});
}

export function notes() {
  if (!place()) return;
  place().addEventListener("submit", (event) => {
    event.preventDefault();
    away(event.target);
  });
  // Who goes to the scene has read it.
  place().addEventListener("click", (event) => {
    const form = event.target.closest("a")?.closest("form");
    if (form) navigator.sendBeacon(form.action, new URLSearchParams({ token: token() }));
  });
  setTimeout(look, EVERY);
}
