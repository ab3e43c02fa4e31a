// Files for papers: SVG of a card, CSV, LaTeX with booktabs. All are made here and saved by the browser.

function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type: type + ";charset=utf-8" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  say(`${name} saved`);
}

function fileName(text) { return text.replace(/[^A-Za-z0-9.+=-]+/g, "-").replace(/^-+|-+$/g, "") || "report"; }

function csvLine(cells) {
  return cells.map((c) => {
    const text = c === null || c === undefined ? "" : String(c);
    return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
  }).join(",");
}

function fieldNames() { return [...new Set(data.places.flatMap(([point]) => point.map(([name]) => name)))]; }

function placeCells(place, fields) {
  const swept = new Map(data.places[place][0].map(([name, value]) => [name, value]));
  return [...fields.map((f) => (swept.has(f) ? swept.get(f) : "")), data.places[place][1]];
}

// Columns of names: of several runs the run has one of its own.
const NAMES = [...(several ? ["run"] : []), "channel", "scheme"];

function nameCells(channel, scheme) {
  const s = data.schemes[scheme];
  return [...(several ? [data.runs[s.run]] : []), data.channels[channel], s.own];
}

// Rows of a metric; without one those of all metrics where the dial stands.
function saveCsv(info) {
  const rows = (info ? [info] : data.metrics).flatMap((m) => data.rows[m.key].filter((r) => isShown(r[CHANNEL], r[SCHEME])
    && (info || isHere(r[PLACE]))).map((r) => [m.key, r]));
  const fields = fieldNames(), stops = rows.some(([, r]) => r[STOPPED]);
  const head = [...NAMES, ...fields, "snr_db", "metric", "mean", "ci_low", "ci_high", "num_images", "num_trials", "num_failures",
    "cbr_data", "cbr_total", "mean_ok", ...(stops ? ["stopped_by"] : [])];
  const lines = rows.map(([key, r]) => csvLine([...nameCells(r[CHANNEL], r[SCHEME]), ...placeCells(r[PLACE], fields), key, r[MEAN], r[LOW],
    r[HIGH], r[PICTURES], r[TRIALS], r[LOST], r[CBR_DATA], r[CBR_TOTAL], r[MEAN_OK], ...(stops ? [r[STOPPED]] : [])]));
  save(fileName(info ? info.key : "results-" + hereText()) + ".csv", [csvLine(head), ...lines].join("\n") + "\n", "text/csv");
}

function saveLedger() {
  const fields = fieldNames(), { categories, entries } = data.ledger;
  const lines = entries.map((e) => csvLine([...nameCells(e[0], e[1]), ...placeCells(e[2], fields), ...e[3], e[4]]));
  save("ledger.csv", [csvLine([...NAMES, ...fields, "snr_db", ...categories.map((c) => c.replace(/ /g, "_")), "outage"]), ...lines]
    .join("\n") + "\n", "text/csv");
}

function saveUnits() {
  const fields = fieldNames(), u = data.units, values = Object.keys(u.values), facts = Object.keys(u.info);
  const head = [...NAMES, ...fields, "snr_db", "image", "trial", "state", ...values, ...facts.map((f) => "info." + f)];
  const lines = u.scheme.map((s, i) => csvLine([...nameCells(u.channel[i], s), ...placeCells(u.place[i], fields),
    data.images[u.image[i]], u.trial[i], data.states[u.state[i]], ...values.map((n) => u.values[n][i]), ...facts.map((n) => u.info[n][i])]));
  save("units.csv", [csvLine(head), ...lines].join("\n") + "\n", "text/csv");
}

const TEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "†": "$^\\dagger$", "±": "$\\pm$", "<": "$<$",
  ">": "$>$", "–": "--", "−": "$-$", "·": "$\\cdot$", "°": "$^\\circ$", "×": "$\\times$", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "→": "$\\to$" };

function tex(text) { return String(text).replace(/[\\~^†±<>–−·°×↑↓→]|[&%$#_{}]/g, (c) => TEX[c] || "\\" + c); }

function latexTable(info) {
  const heads = nameHeads(), shown = tableOf(info);
  const body = shown.lines.map((line) => [...line.names, ...line.cells.map((cell) => cell.text)]);
  const table = [`\\begin{tabular}{${"l".repeat(heads.length)}${"r".repeat(shown.heads.length)}}`, "\\toprule",
    [...heads, ...shown.heads].map(tex).join(" & ") + " \\\\", "\\midrule", ...body.map((line) => line.map(tex).join(" & ") + " \\\\"),
    "\\bottomrule", "\\end{tabular}"];
  return `% ${tex(shown.caption)}; needs \\usepackage{booktabs}\n${table.join("\n")}\n`;
}

function saveLatex(info) { save(fileName(info ? info.key : "results-" + hereText()) + ".tex", latexTable(info), "text/x-tex"); }

// The fields of a card side by side in one file, on white, with title and legend.
function svgOf(card) {
  const { info } = card, width = 460, height = 300, fields = fieldsOf(info).filter((f) => f.curves.length);
  const all = fields.flatMap((f) => f.curves), domain = extentY(info, all, all.map((c) => pointsOf(info.key, c)));
  const parts = [];
  let tallest = 0;
  fields.forEach((one, i) => {
    const looks = looksOf(one, LIGHT), field = drawField(info, one.curves, looks, { width, height }, domain, LIGHT, axis().label);
    const group = svg("g", { transform: `translate(${i * width} 34)` }, [...field.root.childNodes]);
    group.append(svg("text", { x: width / 2, y: -2, "text-anchor": "middle", "font-size": 13, fill: LIGHT.ink }, one.title));
    let y = height + 16;
    one.curves.forEach((curve, k) => {
      if (curve.kind === "step" || curve.kind === "theory") return;
      group.append(svg("path", { d: `M52 ${y}H76`, stroke: looks[k].colour, "stroke-width": looks[k].width, "stroke-dasharray": looks[k].dash || null }));
      if (looks[k].mark) group.append(svg("path", { d: looks[k].mark, fill: looks[k].colour, transform: `translate(64 ${y})` }));
      const where = state.together && state.channels.size > 1 ? `, ${data.channels[curve.c]}` : "";
      group.append(svg("text", { x: 84, y: y + 4, fill: LIGHT.ink }, curve.label + where));
      y += 17;
    });
    tallest = Math.max(tallest, y);
    parts.push(group);
  });
  const w = width * Math.max(1, fields.length), h = tallest + 40;
  const root = svg("svg", { xmlns: SVG, viewBox: `0 0 ${w} ${h}`, width: w, height: h, "font-size": 12, "font-family": "system-ui, sans-serif" },
    svg("rect", { width: w, height: h, fill: "#ffffff" }), svg("text", { x: 14, y: 18, "font-size": 14, "font-weight": 600, fill: LIGHT.ink },
      `${info.axis}, ${info.better}`), parts);
  return new XMLSerializer().serializeToString(root);
}

function saveSvg(card) { save(fileName(card.info.key) + ".svg", '<?xml version="1.0" encoding="UTF-8"?>\n' + svgOf(card) + "\n", "image/svg+xml"); }
