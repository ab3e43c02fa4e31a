// The section of curves: a card per metric, a field per channel or all channels in one.

const cards = []; // {info, node, fields: [{field, curves, looks, title}]}

function curvesOf(info) { return data.curves[info.key][axis().x].filter((c) => state.channels.has(c.c)); }

// Fields of a card: by channel; of one channel with several schemes and swept values by scheme; or one.
function fieldsOf(info) {
  const all = curvesOf(info), shown = all.filter((c) => isChosen(c.s));
  const channels = [...new Set(all.map((c) => c.c))];
  if (state.together) return [{ title: "", curves: shown, alone: false }];
  if (channels.length > 1) return channels.map((c) => ({ title: data.channels[c], curves: shown.filter((k) => k.c === c), alone: false }))
    .filter((f) => f.curves.length);
  const schemes = [...new Set(shown.filter((c) => c.kind !== "bound").map((c) => familyOf(c.s)))];
  const crowded = schemes.length > 1 && new Set(all.map((c) => c.v)).size > 1 && !all.some((c) => c.kind === "step");
  if (!crowded) return [{ title: "", curves: shown, alone: false }];
  return schemes.map((f) => ({ title: data.schemes[inFamily(f)[0]].own, alone: true,
    curves: shown.filter((c) => familyOf(c.s) === f || c.kind === "bound") }));
}

// Whether fields have one scheme each: colours then stand for what is swept.
function isByScheme() { return cards.some((card) => fieldsOf(card.info).some((f) => f.alone)); }

// What tells lines of one colour apart: of all curves, so that none changes its looks when another is switched off.
function others() {
  const all = data.metrics.flatMap((info) => data.curves[info.key][axis().x]);
  return [...new Set(all.filter((c) => c.kind !== "step").map(otherOf))];
}

function looksOf(field, colours) {
  const alone = field.alone || coloured.length === 1;
  const keys = others();
  return field.curves.map((c) => look(c, keys, alone, colours));
}

// A switch of two positions of the state.
function choice(label, options, key) {
  const chips = options.map(([text, value]) => button(text, () => { state[key] = value; emit("shown"); }, { class: "chip" }));
  const show = () => chips.forEach((chip, i) => chip.setAttribute("aria-pressed", state[key] === options[i][1]));
  on("shown", show);
  show();
  return el("span", { class: "group", id: key, role: "group", "aria-label": label }, el("span", { class: "small" }, label), chips);
}

// Shares of outage by cause stand in the section of what did not arrive.
function isCause(info) { return info.name.startsWith("outage_") && !info.against; }

const causeCards = el("div", { class: "cards" });

function buildCurves() {
  const section = byId("curves");
  const controls = el("div", { class: "controls" });
  if (data.axes.length > 1) controls.append(select("Over", data.axes.map((a, i) => [i, a.label]), state.axis, setAxis));
  if (data.channels.length > 1) {
    controls.append(choice("Channels", [["side by side", false], ["in one field", true]], "together"));
  }
  controls.append(choice("Intervals", [["everywhere", true], ["at the dial", false]], "intervals"));
  controls.append(el("p", { class: "hint" }, "Click a field to move the dial there; arrow keys move it where a field has the focus."));
  section.append(controls, el("div", { id: "lines-legend", class: "legend" }), el("div", { id: "cards", class: "cards" }));
  for (const info of data.metrics) cards.push(buildCard(info));
  for (const card of cards) (isCause(card.info) ? causeCards : byId("cards")).append(card.node);
  on("shown", drawCurves);
  on("dial", moveDials);
  let width = 0;
  new ResizeObserver(() => {
    const now = byId("cards").clientWidth;
    if (now !== width) { width = now; drawCurves(); }
  }).observe(byId("cards"));
}

function buildCard(info) {
  const trained = info.trained.map((s) => data.schemes[s].name).join(", ");
  const command = el("code", { class: "command", hidden: true }, info.pdf);
  const card = { info, fields: [] };
  card.node = el("article", { class: "card metric", "data-metric": info.key },
    el("h3", {}, info.axis, el("span", { class: "better" }, info.against ? " above 0 is more than it" : " " + arrow(info) + " " + info.better)),
    el("div", { class: "fields" }),
    trained && el("p", { class: "small trained" }, `† trained on this measure, no evidence of quality: ${trained}`),
    el("p", { class: "small note-line" }, info.note), el("p", { class: "small marks" }),
    el("p", { class: "buttons" },
      button("SVG", () => saveSvg(card), { "aria-label": `Save ${info.title} as SVG` }),
      button("CSV", () => saveCsv(info), { "aria-label": `Save ${info.title} as CSV` }),
      button("LaTeX", () => saveLatex(info), { "aria-label": `Save ${info.title} as LaTeX table` }),
      button("PDF", () => { command.hidden = !command.hidden; }, { "aria-label": `Command that draws ${info.title} as PDF` }), command));
  return card;
}

function arrow(info) { return info.higher === null ? "→0" : info.higher ? "↑" : "↓"; }

function drawCurves() {
  for (const card of cards) drawCard(card);
  drawLegend();
}

function drawCard(card) {
  const { info } = card, holder = card.node.querySelector(".fields"), colours = palette();
  const fields = fieldsOf(info), all = fields.flatMap((f) => f.curves);
  card.node.classList.toggle("wide", fields.length > 1);
  holder.replaceChildren();
  card.fields = [];
  if (!all.length) { holder.append(el("p", { class: "small" }, "Nothing of this measure is chosen.")); }
  const domain = all.length ? extentY(info, all, all.map((c) => pointsOf(info.key, c))) : null;
  const most = fields.length > 1 && holder.clientWidth > 760 ? Math.min(fields.length, 3) : 1;
  const width = Math.floor((holder.clientWidth - 1 - 18 * (most - 1)) / most);
  for (const one of fields.filter((f) => f.curves.length)) {
    const looks = looksOf(one, colours);
    const field = drawField(info, one.curves, looks, { width: Math.max(width, 260), height: width < 420 ? 250 : 290 }, domain, colours, axis().label);
    Object.assign(field, { looks, title: one.title, info });
    card.fields.push(field);
    drawDial(field, looks, colours);
    const figure = el("figure", { tabindex: 0, role: "group", "aria-label": fieldText(field) },
      one.title && el("figcaption", {}, one.title), field.root);
    field.root.setAttribute("aria-hidden", "true");
    listen(figure, field);
    holder.append(figure);
  }
  card.node.querySelector(".marks").textContent = marksText(info, all);
}

// What hollow marks and carets in a card mean.
function marksText(info, curves) {
  const limits = curves.flatMap((c) => c.limits || []), said = [];
  if (limits.includes(1)) said.push("▼ none seen: upper limit.");
  if (limits.includes(2)) said.push("▽ at the edge: none seen, too few for a limit below the curves.");
  if (!info.is_rate && curves.some((c) => c.lost)) said.push("Hollow: no picture arrived, all are grey; no line leads there.");
  const gone = curves.filter((c) => c.kind === "step" && c.lost && c.lost.every(Boolean)).map((c) => data.schemes[c.s].name);
  if (gone.length) said.push(`Not drawn, no picture arrives: ${gone.join(", ")}.`);
  return said.join(" ");
}

function fieldText(field) {
  const values = valuesAt(field, state.stop).slice(0, 8).map((v) => `${v.name} ${v.text}`);
  return `${field.info.axis}${field.title ? ", " + field.title : ""} at ${stopText()}: ${values.join("; ")}`;
}

// Values of a field at a stop, the best first.
function valuesAt(field, stop) {
  const { info } = field, found = [];
  field.lists.forEach((points, i) => {
    const p = points.find((q) => q.stop === stop && q.y !== null);
    if (!p) return;
    const curve = field.curves[i], interval = p.low !== null ? ` [${number(p.low, info.unit)}, ${number(p.high, info.unit)}]` : "";
    const text = p.limit === 3 ? "0" : p.limit ? `none seen, < ${number(p.high)}` : number(p.y, info.unit) + interval;
    const lost = p.row[LOST] ? `, ${percent(p.row[LOST] / (p.row[LOST] + p.row[ARRIVED]))} lost` : "";
    found.push({ y: p.limit ? 0 : p.y, name: nameOf(curve, field), text, lost, look: field.looks[i] });
  });
  const sign = info.higher === null ? 0 : info.higher ? -1 : 1;
  return found.sort((a, b) => (sign ? sign * (a.y - b.y) : Math.abs(a.y) - Math.abs(b.y)));
}

function nameOf(curve, field) {
  const parts = [data.schemes[curve.s].name + (field.info.trained.includes(curve.s) ? " †" : "")];
  if (state.together && state.channels.size > 1) parts.push(data.channels[curve.c]);
  if (axis().variants[curve.v]) parts.push(axis().variants[curve.v]);
  return parts.join(", ");
}

function nearestStop(field, x) {
  let best = null, distance = Infinity;
  for (const p of field.lists.flat()) {
    if (p.stop === null || p.stop === undefined) continue;
    const d = Math.abs(field.sx(p.x) - x);
    if (d < distance) { distance = d; best = p.stop; }
  }
  return best;
}

function listen(figure, field) {
  const place = (event) => {
    const box = field.root.getBoundingClientRect();
    return nearestStop(field, (event.clientX - box.left) * field.root.viewBox.baseVal.width / box.width);
  };
  field.root.addEventListener("pointermove", (event) => showTip(field, place(event), event.clientX, event.clientY));
  field.root.addEventListener("pointerleave", hideTip);
  field.root.addEventListener("click", (event) => { const stop = place(event); if (stop !== null) setStop(stop); });
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { event.preventDefault(); setStop(state.stop + step); showTipAtDial(field); }
    if (event.key === "Escape") hideTip();
  });
  figure.addEventListener("focus", () => { if (figure.matches(":focus-visible")) showTipAtDial(field); });
  figure.addEventListener("blur", hideTip);
}

function showTipAtDial(field) {
  const box = field.root.getBoundingClientRect();
  const x = field.dial && field.dial.getAttribute("data-x");
  showTip(field, state.stop, box.left + Number(x || box.width / 2) * box.width / field.root.viewBox.baseVal.width, box.top + 30);
}

const tip = el("div", { id: "tip", hidden: true });

function showTip(field, stop, x, y) {
  if (stop === null) return;
  tip.replaceChildren(el("b", {}, [field.title, axis().stops[stop]].filter(Boolean).join(", ")),
    el("table", {}, valuesAt(field, stop).map((v) => el("tr", {}, el("td", {}, swatch(v.look.colour, v.look.dash, v.look.mark)),
      el("td", {}, v.name), el("td", { class: "n" }, v.text + v.lost)))));
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight, room = document.documentElement.clientWidth;
  const left = x + 16 + width < room ? x + 16 : Math.max(4, x - width - 16);
  const top = Math.min(Math.max(4, y - height / 2), window.innerHeight - height - 4);
  tip.style.left = left + window.scrollX + "px";
  tip.style.top = top + window.scrollY + "px";
}

function hideTip() { tip.hidden = true; }

function moveDials() {
  for (const card of cards) for (const field of card.fields) {
    drawDial(field, field.looks, palette());
    field.root.parentNode.setAttribute("aria-label", fieldText(field));
  }
}

// Which dashes, or colours where a field has one scheme, stand for which channel, swept value or run.
function drawLegend() {
  const holder = byId("lines-legend"), fields = cards.flatMap((card) => fieldsOf(card.info)), keys = others();
  holder.replaceChildren();
  const there = new Set(fields.flatMap((f) => f.curves).map(otherOf));
  const named = keys.filter((key) => there.has(key));
  if (keys.length < 2 || !named.length) return;
  for (const key of named) {
    const [c, v, run] = key.split("/").map(Number);
    const text = [several ? data.runs[run] : "", state.together && state.channels.size > 1 ? data.channels[c] : "", axis().variants[v]];
    holder.append(el("span", {}, swatchOf(key, fields), text.filter(Boolean).join(", ")));
  }
}

// The line of a key of others(): its dashes, or its colour and mark.
function swatchOf(key, fields) {
  const i = others().indexOf(key), colours = palette();
  if (coloured.length !== 1 && !fields.some((f) => f.alone)) return swatch(colours.muted, DASHES[i % DASHES.length], null);
  return swatch(colours.series[i % colours.series.length], "", markOf(i));
}
