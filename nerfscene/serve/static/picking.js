// The files that someone chose, or dropped, folders too.

const HIDDEN = /^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)/i; // what systems leave in folders

async function inside(entry) {
  if (HIDDEN.test(entry.name)) return [];
  if (entry.isFile) return [await new Promise((done, failed) => { entry.file(done, failed); })];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives its entries in parts, and an empty one at the end.
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length) return found;
    for (const one of some) found.push(...(await inside(one)));
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = await Promise.all(entries.map((entry) => inside(entry).catch(() => [])));
  return found.flat();
}

// chosen(files): called with what was picked. area: where files can be dropped, beside the whole window.
export function picking(area, chosen) {
  for (const input of area.querySelectorAll("input[type=file]")) {
    const take = () => {
      chosen([...input.files]);
      input.value = ""; // so that the same files can be chosen again
    };
    input.addEventListener("change", take);
    if (input.files.length) take(); // chosen before this script had come
  }
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (carries(event)) depth += 1;
    area.classList.toggle("over", depth > 0);
  });
  addEventListener("dragleave", (event) => {
    if (carries(event)) depth = Math.max(0, depth - 1);
    area.classList.toggle("over", depth > 0);
  });
  addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    depth = 0;
    area.classList.remove("over");
    chosen(await dropped(event.dataTransfer));
  });
}
