// Original, A and B in one frame with two dividers, and side by side: one zoom and one place for all.

const view = { a: null, b: null, left: 33, right: 67, zoom: 0, cx: 0, cy: 0, size: [1, 1] };
const ZOOMS = [[0, "Fit"], [1, "1:1"], [2, "2:1"], [4, "4:1"], [8, "8:1"]];
let stage = null;

function buildViewer(holder) {
  const layers = ["original", "a", "b"].map((name) => el("div", { class: "layer " + name }, el("img", { alt: "", draggable: "false" })));
  const tags = ["original", "A", "B"].map((text, i) => el("span", { class: "tag tag" + i }, text));
  const lines = [0, 1].map((i) => el("div", { class: "divider", "data-divider": i }));
  const frame = el("div", { class: "stage", tabindex: 0, role: "group",
    "aria-label": "Original, A and B, divided; arrow keys move the picture, plus and minus zoom" }, layers, tags, lines);
  const dividers = [["left", "Divider between original and A"], ["right", "Divider between A and B"]].map(([side, label]) =>
    el("input", { type: "range", min: 0, max: 100, step: 1, value: view[side], "aria-label": label,
      on: { input: (event) => { setDivider(side, Number(event.target.value)); } } }));
  const panes = ["original", "A", "B"].map((text) => el("figure", {}, el("div", { class: "pane" }, el("img", { alt: "", draggable: "false" })),
    el("figcaption", {}, text)));
  const zooms = ZOOMS.map(([zoom, text]) => button(text, () => { view.zoom = zoom; layOut(); }, { class: "chip", "data-zoom": zoom }));
  const menus = el("span", { class: "menus" });
  stage = { frame, layers, tags, lines, dividers, panes, zooms, menus };
  holder.append(el("div", { class: "controls" }, menus, el("span", { class: "group", role: "group", "aria-label": "Zoom" }, zooms)),
    el("div", { class: "views" }, el("div", { class: "stage-side" }, frame, el("div", { class: "dividers" }, dividers)), el("div", { class: "panes" }, panes)),
    el("p", { class: "small" }, "Drag a divider or the picture. At 1:1 and above every pixel of a picture is a square of pixels of the screen."));
  frame.addEventListener("pointerdown", (event) => drag(event, frame));
  for (const pane of panes) pane.firstChild.addEventListener("pointerdown", (event) => drag(event, pane.firstChild));
  frame.addEventListener("keydown", steer);
  stage.room = holder;
  new ResizeObserver(() => layOut()).observe(holder);
}

function setDivider(side, value) {
  view[side] = Math.max(0, Math.min(100, value));
  if (side === "left" && view.right < view.left) view.right = view.left;
  if (side === "right" && view.left > view.right) view.left = view.right;
  layOut();
}

// Width for the divided picture: beside the panes where there is room for both.
function roomOf() {
  const whole = stage.room.clientWidth;
  return whole > 860 ? Math.round(0.68 * whole) : whole;
}

function zoomNow() {
  const [w, h] = view.size, room = roomOf();
  return view.zoom || Math.min(room / w, 520 / h);
}

function drag(event, target) {
  if (event.button) return;
  event.preventDefault();
  target.focus({ preventScroll: true });
  const box = target.getBoundingClientRect();
  const at = 100 * (event.clientX - box.left) / box.width;
  const near = target === stage.frame ? ["left", "right"].filter((s) => Math.abs(at - view[s]) * box.width / 100 < 16) : [];
  let side = near[0]; // of two at one place the one that the first move leads away
  let undecided = near.length === 2;
  const start = [event.clientX, event.clientY, view.cx, view.cy], zoom = zoomNow();
  const move = (e) => {
    if (undecided && e.clientX !== start[0]) { side = e.clientX > start[0] ? "right" : "left"; undecided = false; }
    if (side) return setDivider(side, 100 * (e.clientX - box.left) / box.width);
    view.cx = start[2] - (e.clientX - start[0]) / zoom;
    view.cy = start[3] - (e.clientY - start[1]) / zoom;
    return layOut();
  };
  const stop = () => { target.removeEventListener("pointermove", move); };
  target.setPointerCapture(event.pointerId);
  target.addEventListener("pointermove", move);
  target.addEventListener("pointerup", stop, { once: true });
  target.addEventListener("pointercancel", stop, { once: true });
}

function steer(event) {
  const step = 24 / zoomNow();
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  const at = Math.max(0, ZOOMS.findIndex(([z]) => z === view.zoom));
  if (moves) { view.cx += moves[0]; view.cy += moves[1]; } else if (event.key === "+") view.zoom = ZOOMS[Math.min(at + 1, ZOOMS.length - 1)][0];
  else if (event.key === "-") view.zoom = ZOOMS[Math.max(at - 1, 0)][0];
  else return;
  event.preventDefault();
  layOut();
}

// Put three pictures into the frame; null of one that was not kept.
function showPictures(files, names, size) {
  if (size && (size[0] !== view.size[0] || size[1] !== view.size[1])) {
    view.size = size;
    view.cx = size[0] / 2;
    view.cy = size[1] / 2;
    const whole = [8, 4, 2, 1].find((z) => z * size[0] <= roomOf() && z * size[1] <= 560);
    view.zoom = whole || 1;
  }
  files.forEach((file, i) => {
    for (const image of [stage.layers[i].firstChild, stage.panes[i].firstChild.firstChild]) {
      image.hidden = file === null;
      if (file !== null && image.getAttribute("src") !== kept.files[file]) image.src = kept.files[file];
      image.alt = names[i];
    }
    stage.tags[i].textContent = file === null ? names[i] + " (not kept)" : names[i];
    stage.panes[i].lastChild.textContent = stage.tags[i].textContent;
  });
  layOut();
}

function layOut() {
  if (!stage) return;
  const [w, h] = view.size, zoom = zoomNow(), room = roomOf();
  if (!room) return;
  const width = Math.min(room, Math.round(w * zoom)), height = Math.min(560, Math.round(h * zoom));
  const pane = stage.panes[0].firstChild, closer = view.zoom || 1, wide = stage.room.clientWidth > 860;
  const tall = wide ? Math.round(Math.max(height, 360) / 3) - 22 : Math.round(pane.clientWidth * 0.8);
  view.cx = within(view.cx, w, Math.min(width / zoom, pane.clientWidth / closer));
  view.cy = within(view.cy, h, Math.min(height / zoom, tall / closer));
  stage.frame.style.width = width + "px";
  stage.frame.style.height = height + "px";
  const cuts = [[0, view.left], [view.left, view.right], [view.right, 100]];
  stage.layers.forEach((layer, i) => {
    layer.style.clipPath = `inset(0 ${100 - cuts[i][1]}% 0 ${cuts[i][0]}%)`;
    put(layer.firstChild, width, height, zoom, within(view.cx, w, width / zoom), within(view.cy, h, height / zoom));
    const tag = stage.tags[i], room_ = (cuts[i][1] - cuts[i][0]) * width / 100;
    tag.style.left = cuts[i][0] * width / 100 + 6 + "px";
    tag.style.maxWidth = Math.max(0, room_ - 12) + "px";
    tag.hidden = room_ < 40;
  });
  stage.lines.forEach((line, i) => { line.style.left = (i ? view.right : view.left) + "%"; });
  stage.dividers.forEach((input, i) => { input.value = i ? view.right : view.left; });
  for (const { firstChild: box } of stage.panes) {
    box.style.height = tall + "px";
    put(box.firstChild, box.clientWidth, tall, closer, view.cx, view.cy);
  }
  for (const one of stage.zooms) one.setAttribute("aria-pressed", Number(one.dataset.zoom) === view.zoom);
}

// The middle of what is shown of a side of a picture: nothing beyond its ends, unless all of it is there.
function within(middle, side, part) {
  const half = Math.min(side, part) / 2;
  return Math.max(half, Math.min(side - half, middle));
}

// Place an image so that (cx, cy) of the picture is in the middle of a box.
function put(image, width, height, zoom, cx, cy) {
  const [w, h] = view.size;
  image.classList.toggle("pixels", Number.isInteger(zoom));
  image.style.width = w * zoom + "px";
  image.style.height = h * zoom + "px";
  image.style.left = Math.round(width / 2 - cx * zoom) + "px";
  image.style.top = Math.round(height / 2 - cy * zoom) + "px";
}
