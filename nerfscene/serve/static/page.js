// What every page has: menus that close, links that are copied, notes, and parts that keep up to date.
import { copying } from "./copying.js";
import { fetched, live } from "./live.js";
import { notes } from "./notes.js";

const menus = () => document.querySelectorAll("details.menu[open]");

document.addEventListener("click", (event) => {
  for (const menu of menus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.querySelector("details.rename")?.addEventListener("toggle", (event) => {
  if (event.target.open) event.target.querySelector("input[name=title]").select();
});

// A second press while the first is on its way asks for nothing more.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.matches("[data-note]")) return;
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});
addEventListener("pageshow", (event) => {
  // A page from the browser's history may be an old one, or another person's. Chosen files stay.
  if (event.persisted && document.getElementById("upload")) fetched(location.pathname);
  else if (event.persisted) location.reload();
  for (const button of document.querySelectorAll("form button:disabled")) button.disabled = false;
});

copying();
notes();
live();
