// Pictures that turn: a strip of twelve views beside each other, fetched when it is first wanted.
// On a mouse: while it points there, and as it moves across a large picture. On a phone: what is in view.

const VIEWS = 12;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const points = matchMedia("(hover: hover)");

function strip(picture) {
  let image = picture.querySelector("img.strip");
  if (!image) {
    image = document.createElement("img");
    image.className = "strip";
    image.alt = "";
    image.draggable = false;
    image.src = picture.dataset.turning;
    picture.append(image);
  }
  return image;
}

async function turn(picture) {
  if (still.matches) return;
  const image = strip(picture);
  picture.dataset.wanted = "1";
  try {
    await image.decode();
  } catch {
    return; // it is gone; the still picture stays
  }
  if (picture.dataset.wanted) picture.classList.add("turns");
}

function stop(picture) {
  delete picture.dataset.wanted;
  picture.classList.remove("turns", "held");
}

// Dragging, or moving the mouse across: the view follows.
function follow(picture, event) {
  const image = strip(picture);
  const box = picture.getBoundingClientRect();
  const share = Math.min(0.999, Math.max(0, (event.clientX - box.left) / box.width));
  picture.classList.remove("turns");
  picture.classList.toggle("held", image.complete && image.naturalWidth > 0);
  image.style.transform = `translateX(${(-100 / VIEWS) * Math.floor(share * VIEWS)}%)`;
}

function watch(picture) {
  if (picture.dataset.watched) return;
  picture.dataset.watched = "1";
  const card = picture.closest(".card");
  const around = card ?? picture;
  if (points.matches) {
    around.addEventListener("pointerenter", () => turn(picture));
    around.addEventListener("pointerleave", () => stop(picture));
    around.addEventListener("focusin", () => turn(picture));
    around.addEventListener("focusout", () => stop(picture));
  } else {
    // One that is wholly in view, near the middle of the screen.
    const seen = new IntersectionObserver(
      ([entry]) => (entry.isIntersecting ? turn(picture) : stop(picture)),
      { rootMargin: "-22% 0px -22% 0px", threshold: 0.6 },
    );
    seen.observe(picture);
  }
  if (!card) {
    picture.addEventListener("pointermove", (event) => follow(picture, event));
    picture.addEventListener("pointerleave", () => stop(picture));
  }
}

function all() {
  for (const picture of document.querySelectorAll(".picture[data-turning]")) watch(picture);
}
all();
new MutationObserver(all).observe(document.getElementById("main"), { childList: true, subtree: true });
