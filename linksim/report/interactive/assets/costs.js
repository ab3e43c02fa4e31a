// What channel uses are spent on, and which pictures did not arrive, for what cause.

const CATEGORY = ["#0072b2", "#56b4e9", "#b9b4a9", "#cc79a7", "#e69f00", "#f0d264", "#009e73", "#d55e00"];

function buildCosts() {
  const section = byId("costs"), holder = el("div", { id: "ledger" }), { categories, entries } = data.ledger;
  const used = categories.map((_, i) => i).filter((i) => entries.some((e) => e[3][i] > 0));
  section.append(el("p", { class: "small" }, data.ledger.of_pictures
    ? "Mean channel uses over 3·H·W of a picture, at the dial; they add up to the CBR in all." : "Mean channel uses of a frame, at the dial."),
    el("div", { class: "legend" }, used.map((i) => el("span", {}, el("i", { class: "box", css: { background: CATEGORY[i] } }), categories[i]))),
    holder, el("p", { class: "buttons" }, button("CSV", saveLedger, { "aria-label": "Save the ledger as CSV" })));
  const draw = () => {
    const here = entries.filter((e) => isShown(e[0], e[1]) && isHere(e[2]));
    const total = (e) => e[3].reduce((a, b) => a + b, 0), most = Math.max(...entries.map(total));
    holder.replaceChildren(...[...state.channels].sort((a, b) => a - b).map((c) => el("div", { class: "ledger" },
      data.channels.length > 1 && el("h3", {}, data.channels[c]), here.filter((e) => e[0] === c).sort(runsTogether).map((e) => bar(e, total(e), most, used, categories)))));
    if (!here.length) holder.replaceChildren(el("p", { class: "small" }, `Nothing was run at ${hereText()}.`));
  };
  on("shown", draw);
  on("dial", draw);
  draw();
}

function runsTogether(a, b) { return several ? familyOf(a[1]) - familyOf(b[1]) || runOf(a[1]) - runOf(b[1]) : 0; }

function bar(entry, total, most, used, categories) {
  const parts = used.filter((i) => entry[3][i] > 0);
  const said = parts.map((i) => `${categories[i]} ${percent(entry[3][i] / total)}`).join(", ");
  return el("div", { class: "bar-line" }, el("span", { class: "bar-name" }, data.schemes[entry[1]].name),
    el("span", { class: "bar", role: "img", "aria-label": said, title: said }, parts.map((i) => el("i", { css: {
      width: percent(entry[3][i] / most), background: CATEGORY[i] } }))),
    el("span", { class: "bar-value" }, (data.ledger.of_pictures ? ratio(total) : total.toFixed(0)) + (entry[4] ? `, ${percent(entry[4])} lost` : "")));
}

function buildOutage() {
  const section = byId("outage"), seen = new Map();
  for (const info of data.metrics.filter((m) => !m.against && !m.name.startsWith("outage_"))) {
    for (const row of data.rows[info.key]) {
      const key = row.slice(0, 3).join("/");
      const known = seen.get(key);
      if (!known || known[LOST] + known[ARRIVED] < row[LOST] + row[ARRIVED]) seen.set(key, row);
    }
  }
  const lost = [...seen.values()].filter((row) => row[LOST]);
  if (!lost.length) { section.append(el("p", {}, "Every picture arrived."), causeCards); return; }
  const causes = [...new Set(lost.flatMap((row) => row[CAUSES].map(([cause]) => cause)))];
  const holder = el("div", {});
  const draw = () => {
    const rows = lost.filter((row) => isShown(row[CHANNEL], row[SCHEME]));
    const lines = rows.map((row) => [data.channels[row[CHANNEL]], data.schemes[row[SCHEME]].name,
      placeCell(row[PLACE]), { value: row[LOST] / (row[LOST] + row[ARRIVED]),
        text: `${row[LOST]} of ${row[LOST] + row[ARRIVED]} (${percent(row[LOST] / (row[LOST] + row[ARRIVED]))})` },
      ...causes.map((cause) => (row[CAUSES].find(([c]) => c === cause) || [0, 0])[1])]);
    holder.replaceChildren(lines.length ? sortable(["channel", "scheme", "swept and SNR", "not arrived", ...causes.map((c) => data.states[c])],
      lines, 40, "Pictures that did not arrive") : el("p", {}, "Every picture of what is chosen arrived."));
  };
  section.append(el("p", { class: "small" }, "They are shown grey and stay in every mean. Points that are not listed lost none."), holder, causeCards);
  on("shown", draw);
  draw();
}
