// The page around the map: choosing an item, what is shown of it, the list, and the keys. Whatever comes from the export
// is put on the page as text.

const content = JSON.parse(document.getElementById("content").textContent);
const part = id => document.getElementById(id);
const canvas = part("canvas");
const view = new View(canvas, content);
const SHOWN = 100;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

function element(name, properties = {}, ...inner) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inner);
  return made;
}

// Dates with hyphens at which no line is broken.
function days(i) {
  const own = content.dates[i].map(day => day.replaceAll("-", "\u2011"));
  if (!own.length) return "no date";
  return own.length === 1 ? own[0] : `${own[0]} to ${own[own.length - 1]}` + (own.length > 2 ? ` (${own.length} dates)` : "");
}

// As many decimals as tell the first neighbour from the last one.
function digits(scores) {
  return scores[0] - scores[scores.length - 1] < 0.01 ? 5 : 3;
}

function swatch(i) {
  const address = content.looks[i] || content.cells[i];
  if (address) return element("img", { className: "swatch" + (content.looks[i] ? "" : " cells"), src: address, alt: "" });
  const made = element("span", { className: "swatch" + (content.colours[i] ? "" : " none") });
  if (content.colours[i]) made.style.background = content.colours[i];
  return made;
}

// Position and distance -----------------------------------------------------------------------------------------------

function position(i) {
  const shape = view.shapes[i];
  if (!shape) return "no georeference";
  const lat = view.projection.lat(shape.y), lon = normal(view.projection.lon(shape.x));
  return `${degrees(lat, 0.0001, "NS")}, ${degrees(lon, 0.0001, "EW")}`;
}

function distance(i, j) {
  if (!view.shapes[i] || !view.shapes[j]) return "";
  const km = kilometres(view.shapes[i], view.shapes[j], view.projection);
  return km >= 10 ? `${Math.round(km).toLocaleString("en")} km` : km >= 1 ? `${km.toFixed(1)} km` : `${Math.round(km * 1000)} m`;
}

// Moving the map ------------------------------------------------------------------------------------------------------

function moveTo(frame) {
  if (!frame) return;
  if (calm.matches) { Object.assign(view, frame); view.redraw(); return; }
  const start = performance.now(), from = { x: view.x, y: view.y, scale: view.scale };
  const goal = moveTo.goal = frame;
  const step = now => {
    if (moveTo.goal !== goal) return;
    const t = Math.min(1, (now - start) / 250), s = t * t * (3 - 2 * t);
    view.x = from.x + (frame.x - from.x) * s;
    view.y = from.y + (frame.y - from.y) * s;
    view.scale = from.scale * (frame.scale / from.scale) ** s;
    view.redraw();
    if (t < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

const stay = () => { moveTo.goal = null; };

// Choosing ------------------------------------------------------------------------------------------------------------

function choose(i, { from = "map", among = 1 } = {}) {
  view.chosen = view.focused = i;
  const shape = view.shapes[i];
  if (shape && from !== "map") {
    const [px, py] = view.toScreen(shape.x, shape.y);
    if (px < 40 || py < 40 || px > view.width - 40 || py > view.height - 40) moveTo({ x: shape.x, y: shape.y, scale: view.scale });
  }
  view.redraw();
  part("chosen").hidden = false;
  part("hint").hidden = true;
  part("name").textContent = content.ids[i];
  part("facts").textContent = `${days(i)} · ${position(i)}`;
  part("actions").hidden = !shape;
  showPictures(i);
  const found = content.similar[i], shown = score => score.toFixed(digits(content.scores[i]));
  part("heading").textContent = found.length ? "Most similar places" : content.ids.length === 1 ? "There is no other item" : "No similar places: its vector cannot be compared";
  part("similar").replaceChildren(...found.map((j, rank) => row(j, {
    rank: rank + 1, score: shown(content.scores[i][rank]), more: [distance(i, j), days(j)].filter(Boolean).join(" · "),
    act: () => { choose(j, { from: "similar" }); part("name").focus({ preventScroll: true }); part("chosen").scrollIntoView({ block: "nearest" }); },
  })));
  part("status").textContent = `${content.ids[i]}, ${days(i)}.` + (among > 1 ? ` One of ${among} items here; the next click chooses another one.` : "") +
    (found.length ? ` ${plural(found.length, "similar place")}, the most similar one is ${content.ids[found[0]]}, ${shown(content.scores[i][0])}.` : "");
  markList();
}

function letGo() {
  view.chosen = view.focused = -1;
  part("chosen").hidden = true;
  part("hint").hidden = false;
  part("status").textContent = "Nothing is chosen.";
  markList();
  view.redraw();
}

function showPictures(i) {
  const pictures = [["looks", "Picture of the source"], ["cells", "Cells of its grid, principal components as colours"]];
  const made = pictures.filter(([kind]) => content[kind][i]).map(([kind, text]) => element("figure", {},
    element("img", { src: content[kind][i], className: kind, alt: `${text}: ${content.ids[i]}` }), element("figcaption", { textContent: text })));
  if (!made.length) {
    const mark = swatch(i);
    made.push(element("figcaption", {}, mark, ` ${content.colours[i] ? "Its colour on the map" : "Its vector has no colour"}. There is no picture of it in this page.`));
  }
  part("figures").replaceChildren(...made);
}

function row(i, { rank, score, more, act }) {
  const name = element("span", { className: "id" }, content.ids[i], element("span", { className: "more", textContent: more }));
  const button = element("button", { type: "button", onclick: act, className: rank ? "ranked" : "" },
    ...(rank ? [element("span", { className: "rank", textContent: rank })] : []), swatch(i), name, element("span", { className: "score", textContent: score ?? "" }));
  button.dataset.item = i;
  if (score !== undefined) button.setAttribute("aria-label", `${rank}: ${content.ids[i]}, similarity ${score}, ${more}`);
  return element("li", {}, button);
}

// The list ------------------------------------------------------------------------------------------------------------

const searched = content.ids.map((id, i) => `${id} ${content.dates[i].join(" ")}`.toLowerCase());

function list() {
  const wanted = part("find").value.trim().toLowerCase();
  const found = [];
  searched.forEach((text, i) => { if (text.includes(wanted)) found.push(i); });
  part("list").replaceChildren(...found.slice(0, SHOWN).map(i => row(i, { more: days(i) + (view.shapes[i] ? "" : " · no georeference"), 
    act: () => { choose(i, { from: "list" }); part("chosen").scrollIntoView({ block: "nearest" }); } })));
  const rest = found.length - SHOWN;
  part("more").textContent = !found.length ? "No item has this in its id or dates." : rest > 0 ? `and ${plural(rest, "more item")}: type a part of an id or date to find them.` : "";
  markList();
}

function markList() {
  for (const button of part("list").querySelectorAll("button")) {
    if (Number(button.dataset.item) === view.chosen) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  }
}

// Mouse and fingers ---------------------------------------------------------------------------------------------------

const fingers = new Map();
let moved = 0, last = { x: -1, y: -1, turn: 0 };

const place = event => { const box = canvas.getBoundingClientRect(); return { x: event.clientX - box.left, y: event.clientY - box.top }; };

canvas.addEventListener("pointerdown", event => {
  stay();
  canvas.setPointerCapture(event.pointerId);
  if (!fingers.size) moved = 0;
  fingers.set(event.pointerId, place(event));
});

canvas.addEventListener("pointermove", event => {
  const now = place(event), before = fingers.get(event.pointerId);
  if (!before) {
    const under = view.at(now.x, now.y, 6)[0] ?? -1;
    canvas.classList.toggle("over", under >= 0);
    canvas.title = under >= 0 ? content.ids[under] : "";
    if (under !== view.pointed) { view.pointed = under; view.redraw(); }
    return;
  }
  moved += Math.hypot(now.x - before.x, now.y - before.y);
  if (fingers.size === 2) {
    const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
    const gap = p => Math.hypot(p.x - other.x, p.y - other.y);
    view.pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    view.zoom(gap(now) / Math.max(gap(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
  } else if (moved > 4) {
    canvas.classList.add("dragged");
    view.pan(now.x - before.x, now.y - before.y);
  }
  fingers.set(event.pointerId, now);
});

canvas.addEventListener("pointerup", event => {
  const at = place(event);
  if (fingers.size === 1 && moved <= 4) {
    const under = view.at(at.x, at.y, event.pointerType === "touch" ? 18 : 8);
    const again = Math.hypot(at.x - last.x, at.y - last.y) < 5;
    last = { ...at, turn: again ? last.turn + 1 : 0 };
    if (under.length) choose(under[last.turn % under.length], { among: under.length }); else letGo();
  }
  fingers.delete(event.pointerId);
  canvas.classList.remove("dragged");
});
canvas.addEventListener("pointercancel", event => { fingers.delete(event.pointerId); canvas.classList.remove("dragged"); });
canvas.addEventListener("pointerleave", () => { view.pointed = -1; view.redraw(); });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  stay();
  const at = place(event);
  view.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0018)), at.x, at.y);
}, { passive: false });

// Keys ----------------------------------------------------------------------------------------------------------------

// Items in view from left to right, so that N goes through them in an order that the eye can follow.
function next(step) {
  const seen = view.placed.filter(i => view.seen(i)).sort((a, b) => view.shapes[a].x - view.shapes[b].x || view.shapes[a].y - view.shapes[b].y || a - b);
  if (!seen.length) { part("status").textContent = "There is no item in view."; return; }
  const now = seen.indexOf(view.focused);
  view.focused = seen[now < 0 ? (step > 0 ? 0 : seen.length - 1) : (now + step + seen.length) % seen.length];
  part("status").textContent = `${content.ids[view.focused]}, ${days(view.focused)}, ${seen.indexOf(view.focused) + 1} of ${seen.length} in view. Enter chooses it.`;
  view.redraw();
}

// Keys zoom about the item that they have reached.
function keyZoom(factor) {
  const shape = view.focused >= 0 && view.seen(view.focused) ? view.shapes[view.focused] : null;
  view.zoom(factor, ...(shape ? view.toScreen(shape.x, shape.y) : []));
}

const KEYS = {
  ArrowLeft: () => view.pan(80, 0), ArrowRight: () => view.pan(-80, 0), ArrowUp: () => view.pan(0, 80), ArrowDown: () => view.pan(0, -80),
  "+": () => keyZoom(1.5), "=": () => keyZoom(1.5), "-": () => keyZoom(1 / 1.5), "0": () => moveTo(view.framing(view.placed)),
  n: () => next(1), p: () => next(-1), Enter: () => { if (view.focused >= 0) choose(view.focused); }, Escape: letGo,
};

canvas.addEventListener("keydown", event => {
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  stay();
  act();
});

// The beginning -------------------------------------------------------------------------------------------------------

const count = content.ids.length;
part("title").textContent = content.title + (content.layer ? `, ${content.layer}` : "");
part("summary").textContent = [plural(count, "item"), ...content.notes.map(note => note[0].toUpperCase() + note.slice(1))].join(". ") + ".";
canvas.setAttribute("aria-label", `Map of ${plural(view.placed.length, "item")}`);
const colours = content.explained === null
  ? "Colours are the first principal components of the cells of all grids; seen from afar, an item has the mean colour of its cells. Like colours mean like embeddings."
  : `Colours are the first principal components of the vectors, ${Math.round(100 * content.explained)} % of their variance. Like colours mean like embeddings.` +
    (Object.keys(content.cells).length ? " Pictures of cells have colours of their own, alike on all pictures." : "");
part("about").append(...[
  colours,
  `Similarity is the cosine of the angle between ${content.vectors}: 1 is the same direction. It is compared in full, not approximated.`,
  content.tiles ? "Projection: Web Mercator." : "Projection: equirectangular, true to scale along the middle parallel. Graticule in degrees (WGS 84).",
].map(text => element("p", { textContent: text })));
if (content.tiles) { part("attribution").hidden = false; part("attribution").textContent = content.tiles.attribution; }
part("in").onclick = () => { stay(); view.zoom(1.5); };
part("out").onclick = () => { stay(); view.zoom(1 / 1.5); };
part("all").onclick = () => moveTo(view.framing(view.placed));
part("zoom").onclick = () => moveTo(view.framing([view.chosen]));
part("around").onclick = () => moveTo(view.framing([view.chosen, ...content.similar[view.chosen]]));
part("find").oninput = list;
part("finder").onsubmit = event => { event.preventDefault(); part("list").querySelector("button")?.click(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view.theme());
new ResizeObserver(() => view.resize()).observe(canvas);
list();
