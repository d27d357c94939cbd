// Buttons that copy a link, or hand it to the phone's own list of apps.

function text(id) {
  return document.getElementById(id);
}

// Without https, browsers offer no clipboard; the old way still works.
async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.focus();
    field.select();
    return document.execCommand("copy");
  }
}

export function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-share]");
    if (event.target.matches("[data-select]")) event.target.select();
    if (!button) return;
    if (button.dataset.share) {
      const url = text(button.dataset.share).value;
      navigator.share({ url, title: button.dataset.title }).catch(() => {}); // closed without choosing
      return;
    }
    const before = button.textContent;
    button.textContent = (await copy(text(button.dataset.copy))) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = before; }, 2000);
  });
}
