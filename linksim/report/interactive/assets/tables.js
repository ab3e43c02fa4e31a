// Tables: results of a metric by scheme and stop, every row of results, every unit.

// Names in front of rows of results; of several runs each has a column of its own.
function nameHeads() { return [...(several ? ["run"] : []), "channel", "scheme", ...(hasVariants() ? ["swept"] : [])]; }

function namesOf(curve, mark) {
  const s = data.schemes[curve.s];
  return [...(several ? [data.runs[s.run]] : []), data.channels[curve.c], s.own + mark, ...(hasVariants() ? [axis().variants[curve.v]] : [])];
}

// One scheme of several runs line below line.
function sideBySide(curves) {
  return several ? [...curves].sort((a, b) => a.c - b.c || familyOf(a.s) - familyOf(b.s) || a.v - b.v || runOf(a.s) - runOf(b.s)) : curves;
}

// Curves of a metric with results, as rows of a table: their names, and a row of results for every stop.
function pivot(info) {
  const curves = sideBySide(data.curves[info.key][axis().x].filter((c) => c.rows && isShown(c.c, c.s)));
  return curves.map((curve) => {
    const cells = axis().stops.map(() => null);
    for (const i of curve.rows) {
      const row = data.rows[info.key][i];
      if (axis().stop[row[PLACE]] !== null) cells[axis().stop[row[PLACE]]] = row;
    }
    const mark = info.trained.includes(curve.s) ? " †" : "";
    return { names: namesOf(curve, mark), cells, scheme: curve.s, key: [curve.c, curve.s, curve.v].join("/") };
  });
}

// The table of a metric over the stops, or of all metrics at the dial: heads, the one that is here, lines of texts.
function tableOf(info) {
  if (info) {
    return { caption: `${info.axis}, ${info.better}`, heads: axis().stops, here: state.stop,
      lines: pivot(info).map((line) => ({ names: line.names, cells: line.cells.map((row) => cellText(row, info)) })) };
  }
  const infos = data.metrics.filter((m) => !m.against && !isCause(m)), lines = new Map();
  infos.forEach((m, i) => pivot(m).forEach((line) => {
    const key = line.key, names = line.names.map((n) => n.replace(/ †$/, ""));
    if (!lines.has(key)) lines.set(key, { names, cells: infos.map(() => cellText(null, m)) });
    const cell = cellText(line.cells[state.stop], m);
    if (m.trained.includes(line.scheme) && line.cells[state.stop]) cell.text += " †";
    lines.get(key).cells[i] = cell;
  }));
  return { caption: `All measures at ${stopText()}`, heads: infos.map((m) => `${m.axis} ${arrow(m)}`), here: -1, lines: [...lines.values()] };
}

function cellText(row, info) { return row ? { text: meanText(row, info), title: `not arrived: ${lostText(row)}` } : { text: "–", title: null }; }

const ALL = data.metrics.length; // of the menu of measures

function hasVariants() { return axis().variants.some(Boolean); }

function meanText(row, info) {
  if (info.is_rate && row[MEAN] === 0) return row[HIGH] === null ? "0" : "< " + number(row[HIGH]);
  if (row[LOW] === null) return number(row[MEAN], info.unit);
  const half = (row[HIGH] - row[LOW]) / 2;
  return `${number(row[MEAN], info.unit)} ± ${info.unit === "dB" ? half.toFixed(2) : Number(half.toPrecision(2))}`;
}

function lostText(row) {
  if (!row[LOST]) return "0";
  const causes = row[CAUSES].map(([cause, n]) => `${n} ${data.states[cause]}`).join(", ");
  return `${row[LOST]} (${percent(row[LOST] / (row[LOST] + row[ARRIVED]))}: ${causes})`;
}

function buildTable() {
  const section = byId("table"), holder = el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Means by scheme" });
  const whole = el("details", { id: "rows" }, el("summary", {}, "Every row of results: intervals, counts, losses, bandwidth"));
  const options = [...data.metrics.map((m, i) => [i, m.title]), [ALL, "all, at the dial"]];
  const menu = select("Measure", options, state.metric, (i) => { state.metric = i; draw(); });
  const draw = () => {
    const info = data.metrics[state.metric];
    holder.replaceChildren(pivotTable(info));
    whole.hidden = !info;
    whole.replaceChildren(whole.firstChild);
    if (whole.open && info) whole.append(rowsTable(info));
  };
  whole.addEventListener("toggle", draw);
  section.append(el("div", { class: "controls" }, menu,
    button("CSV", () => saveCsv(data.metrics[state.metric])), button("LaTeX (booktabs)", () => saveLatex(data.metrics[state.metric]))),
  holder, el("p", { class: "small" }, "± is half of the interval; < an upper limit where no error was seen. † trained on this measure."), whole);
  on("shown", draw);
  on("dial", draw);
  draw();
}

function pivotTable(info) {
  const table = tableOf(info), here = (i) => (i === table.here ? "n here" : "n");
  return el("table", { class: "pivot" }, el("caption", {}, table.caption),
    el("thead", {}, el("tr", {}, nameHeads().map((h) => el("th", { scope: "col" }, h)),
      table.heads.map((s, i) => el("th", { scope: "col", class: here(i) }, s)))),
    el("tbody", {}, table.lines.map((line) => el("tr", {}, line.names.map((n) => el("td", {}, n)),
      line.cells.map((cell, i) => el("td", { class: here(i), title: cell.title }, cell.text))))));
}

const ROW_HEADS = ["channel", "scheme", "swept and SNR", "mean", "low", "high", "images × trials", "not arrived", "mean without them",
  "CBR data", "CBR in all"];

function rowsTable(info) {
  const rows = data.rows[info.key].filter((r) => isShown(r[CHANNEL], r[SCHEME]));
  const cells = rows.map((r) => [data.channels[r[CHANNEL]], data.schemes[r[SCHEME]].name + (info.trained.includes(r[SCHEME]) ? " †" : ""),
    placeCell(r[PLACE]), ...[MEAN, LOW, HIGH].map((i) => ({ value: r[i], text: number(r[i], info.unit) })),
    { value: r[PICTURES] * r[TRIALS], text: `${r[PICTURES]} × ${r[TRIALS]}` }, { value: r[LOST], text: lostText(r) },
    { value: r[MEAN_OK], text: r[LOST] ? number(r[MEAN_OK], info.unit) : "–" },
    { value: r[CBR_DATA], text: ratio(r[CBR_DATA]) }, { value: r[CBR_TOTAL], text: ratio(r[CBR_TOTAL]) }]);
  const stops = rows.some((r) => r[STOPPED]);
  if (stops) rows.forEach((r, i) => cells[i].push(r[STOPPED].replace(/_/g, " ")));
  return sortable(stops ? [...ROW_HEADS, "stopped by"] : ROW_HEADS, cells, 200, "Every row of results");
}

// A table that is sorted by a click on a head; cells are texts, numbers, or {value, text}. Shows `page` lines, and more on demand.
function sortable(heads, lines, page, label) {
  const value = (cell) => (cell !== null && typeof cell === "object" ? cell.value : cell);
  const numeric = (cell) => typeof value(cell) === "number" && !cell.left;
  const text = (cell) => (cell === null ? "–" : typeof cell === "object" ? cell.text : String(cell));
  let shown = page, by = -1, up = true;
  const body = el("tbody", {}), more = button("", () => { shown += 10 * page; draw(); });
  const cells = heads.map((h, i) => el("th", { scope: "col", class: lines.some((line) => numeric(line[i])) ? "n" : null }, button(h, () => { up = by === i ? !up : true; by = i; sort(); })));
  const compare = (a, b) => {
    const one = value(a[by]), two = value(b[by]);
    if (one === null || two === null) return (one === null) - (two === null);
    const order = typeof one === "number" && typeof two === "number" ? one - two : String(one).localeCompare(String(two));
    return up ? order : -order;
  };
  const sort = () => {
    lines = [...lines].sort(compare);
    cells.forEach((th, i) => th.setAttribute("aria-sort", i === by ? (up ? "ascending" : "descending") : "none"));
    draw();
  };
  const draw = () => {
    body.replaceChildren(...lines.slice(0, shown).map((line) => el("tr", {}, line.map((cell) =>
      el("td", { class: numeric(cell) ? "n" : null }, text(cell))))));
    more.hidden = shown >= lines.length;
    more.textContent = `${lines.length - shown} more`;
  };
  draw();
  return el("div", {}, el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": label },
    el("table", { class: "sortable" }, el("thead", {}, el("tr", {}, cells)), body)), more);
}

function buildUnits() {
  const section = byId("units"), u = data.units, holder = el("div", {});
  const only = el("input", { type: "checkbox", checked: true, on: { change: () => draw() } });
  const names = Object.keys(u.values), facts = Object.keys(u.info), several = data.axes[0].variants.length > 1 || data.places.length > 1;
  const draw = () => {
    const lines = [];
    for (let i = 0; i < u.scheme.length; i++) {
      if (!isShown(u.channel[i], u.scheme[i]) || (only.checked && !isHere(u.place[i]))) continue;
      lines.push([data.channels[u.channel[i]], data.schemes[u.scheme[i]].name, placeCell(u.place[i]),
        data.images[u.image[i]], u.trial[i], data.states[u.state[i]],
        ...names.map((n) => cellOf(u.values[n][i], (metric(n) || {}).unit)), ...facts.map((n) => cellOf(u.info[n][i], ""))]);
    }
    holder.replaceChildren(sortable(["channel", "scheme", "swept and SNR", "picture", "trial", "state",
      ...names.map((n) => (metric(n) || { axis: n }).axis), ...facts], lines, 50, "Units"));
  };
  section.append(el("div", { class: "controls" }, several && el("label", { class: "check" }, only, " at the dial only"),
    button("CSV", () => saveUnits())), u.left_out && el("p", { class: "note" }, u.left_out), holder);
  on("shown", draw);
  on("dial", () => { if (only.checked) draw(); });
  draw();
}

function placeCell(place) { return { value: place, text: placeText(place), left: true }; }

// Fractions of a column have one number of digits.
function cellOf(value, unit) {
  if (typeof value !== "number") return value;
  const text = number(value, unit);
  return { value, text: Number.isInteger(value) || /[.e]\d{4}|e/.test(text) || unit === "dB" ? text : value.toPrecision(4) };
}
