// Pictures that the runs kept: a grid at the dial, the worst, median or best of a scheme, and a comparison.

const shownAt = new Map(), originalOf = new Map();
for (const [c, s, p, i, file, text] of kept.shown) shownAt.set([c, s, p, i].join("/"), { file, text });
for (const [run, image, file] of kept.originals) originalOf.set(run + "/" + image, file);

function keptHere(scheme) {
  for (let place = 0; place < data.places.length; place++) {
    if (!isHere(place)) continue;
    const found = shownAt.get([state.channel, scheme, place, state.image].join("/"));
    if (found) return found;
  }
  return null;
}

// The original of a run; of another one where it kept none.
function originalFile(run) {
  const all = [run, ...data.runs.keys()].map((r) => originalOf.get(r + "/" + state.image)).filter((file) => file !== undefined);
  return all.length ? all[0] : null;
}

// Whether two runs have other pixels under the name of the picture.
function isOther(a, b) { return originalFile(a) !== originalFile(b); }

function schemesShown() {
  return byFamily(data.schemes.map((_, i) => i).filter((i) => data.schemes[i].kind !== "derived" && isChosen(i)));
}

function buildPictures() {
  const section = byId("pictures");
  if (!kept.files.length) {
    section.append(el("p", { class: "note" }, !data.ledger.of_pictures ? "Frames of these runs carry random bits, no pictures."
      : "These runs kept no pictures: panel.images and panel.snr_db of the scenario say which are kept."));
    return;
  }
  const controls = el("div", { class: "controls" }), grid = el("div", { id: "grid", class: "grid" }), holder = el("div", { id: "viewer" });
  const images = data.images.map((name, i) => [i, kept.shown.some((s) => s[3] === i) ? name : name + " (not kept)"]);
  const choose = el("div", { class: "menus" });
  const menus = () => choose.replaceChildren(
    data.channels.length > 1 ? select("Channel", data.channels.map((c, i) => [i, c]), state.channel, (c) => { state.channel = c; emit("picture"); }) : "",
    select("Picture", images, state.image, (i) => { state.image = i; emit("picture"); }));
  controls.append(choose, buildPicker());
  section.append(el("p", { class: "small" }, `Of the first trial, as they were shown, at the dial. Embedded as ${kept.how}.`), controls,
    el("p", { id: "picked", role: "status" }), grid, el("h3", {}, "Compare"), holder);
  buildViewer(holder);
  const draw = () => { menus(); drawGrid(grid); drawViewer(); };
  for (const event of ["dial", "picture", "shown", "axis"]) on(event, draw);
  draw();
}

function buildPicker() {
  const u = data.units, names = Object.keys(u.values).filter((n) => metric(n)), schemes = schemesShown();
  const pick = { scheme: schemes[0], metric: 0 };
  if (!names.length) return "";
  const only = el("input", { type: "checkbox" });
  const find = (which) => {
    const info = metric(names[pick.metric]), found = ranked(info, pick.scheme, only.checked);
    const said = byId("picked"), scheme = data.schemes[pick.scheme].name;
    if (!found.length) {
      said.textContent = `No ${only.checked ? "kept " : ""}picture of ${scheme} at ${hereText()} on ${data.channels[state.channel]}.`;
      return;
    }
    const one = found[{ worst: 0, median: Math.floor(found.length / 2), best: found.length - 1 }[which]];
    state.image = one.image;
    view.b = pick.scheme;
    emit("picture");
    said.textContent = `${which} of ${found.length} by ${info.title} of ${scheme} at ${hereText()} on ${data.channels[state.channel]}: `
      + `${data.images[one.image]}, ${withUnit(one.value, info.unit)}${one.state ? ", " + data.states[one.state] : ""}.`;
  };
  return el("div", { class: "menus picker", role: "group", "aria-label": "Find a picture" },
    select("Scheme", schemes.map((s) => [s, data.schemes[s].name]), pick.scheme, (s) => { pick.scheme = s; }),
    select("By", names.map((n, i) => [i, metric(n).title]), 0, (i) => { pick.metric = i; }),
    el("span", { class: "group" }, ["worst", "median", "best"].map((which) => button(which, () => find(which), { class: "chip" }))),
    el("label", { class: "check" }, only, " kept ones only"));
}

// Pictures of a scheme at the dial in its first trial, the worst first.
function ranked(info, scheme, only) {
  const u = data.units, found = [];
  for (let i = 0; i < u.scheme.length; i++) {
    const value = u.values[info.name][i];
    if (u.scheme[i] !== scheme || u.channel[i] !== state.channel || u.trial[i] !== 0 || !isHere(u.place[i]) || value === null) continue;
    if (only && !shownAt.has([state.channel, scheme, u.place[i], u.image[i]].join("/"))) continue;
    found.push({ image: u.image[i], value, state: u.state[i] });
  }
  const badness = (v) => (info.higher === null ? Math.abs(v) : info.higher ? -v : v);
  return found.sort((a, b) => badness(b.value) - badness(a.value));
}

function drawGrid(grid) {
  const schemes = schemesShown(), found = schemes.map(keptHere), name = data.images[state.image];
  const runs = [...new Set(schemes.map(runOf))], originals = [...new Set(runs.map(originalFile))];
  grid.replaceChildren();
  if (!found.some(Boolean)) grid.append(notKept(name));
  if (originals.length > 1) grid.append(el("p", { class: "note not-kept" }, `The runs have other pictures under the name ${name}.`));
  for (const file of originals) {
    const owners = runs.filter((run) => originalFile(run) === file).map((run) => data.runs[run]).join(", ");
    if (file !== null) grid.append(figureOf(originals.length > 1 ? "original of " + owners : "original", file, name, null));
  }
  if (!found.some(Boolean)) return;
  schemes.forEach((s, i) => grid.append(figureOf(data.schemes[s].name, found[i] && found[i].file, found[i] ? found[i].text : "", s)));
}

function figureOf(title, file, text, scheme) {
  const picture = file === null || file === undefined ? el("div", { class: "gone" }, "not kept")
    : el("img", { src: kept.files[file], alt: `${data.images[state.image]}, ${title}`, width: kept.sizes[file][0], height: kept.sizes[file][1] });
  const compare = () => { if (view.b !== scheme) { view.a = view.b; view.b = scheme; } drawViewer(); byId("viewer").scrollIntoView({ block: "nearest" }); };
  const held = scheme !== null && file !== null && file !== undefined
    ? el("button", { type: "button", class: "frame", "aria-label": `Compare ${title}`, on: { click: compare } }, picture) : picture;
  const key = scheme === null ? null : el("i", { class: "box", css: { background: schemeColour(scheme) } });
  return el("figure", { "data-scheme": title }, held, el("figcaption", {}, key, el("b", {}, title), " ", text));
}

// What is said where the run kept no picture, with the stops and pictures that it has.
function notKept(name) {
  const rows = kept.shown.filter((s) => s[0] === state.channel && axis().variant[s[2]] === state.variant);
  const stops = [...new Set(rows.map((s) => axis().stop[s[2]]))].sort((a, b) => a - b), images = [...new Set(rows.map((s) => s[3]))];
  return el("div", { class: "note not-kept" },
    el("p", {}, `No picture of ${name} was kept at ${hereText()} on ${data.channels[state.channel]}.`),
    stops.length > 0 && el("p", { class: "group" }, "Kept at: ", stops.map((s) => button(axis().stops[s], () => setStop(s), { class: "chip" }))),
    images.length > 0 && el("p", { class: "group" }, "Kept are: ", images.map((i) => button(data.images[i], () => { state.image = i; emit("picture"); }, { class: "chip" }))),
    el("p", { class: "small" }, "panel.images and panel.snr_db of the scenario say which are kept; linksim replay makes any other."));
}

function drawViewer() {
  const there = schemesShown().filter((s) => keptHere(s));
  byId("viewer").classList.toggle("empty", !there.length);
  if (!there.length) return;
  const partner = (s) => (there.includes(s) ? there.find((o) => o !== s && familyOf(o) === familyOf(s)) : undefined);
  if (!there.includes(view.a) && !there.includes(view.b) && several) view.a = there.find((s) => partner(s) !== undefined);
  if (!there.includes(view.a)) view.a = partner(view.b) ?? there.find((s) => s !== view.b) ?? there[0];
  if (!there.includes(view.b)) view.b = partner(view.a) ?? there.find((s) => s !== view.a) ?? there[0];
  const options = there.map((s) => [s, data.schemes[s].name]);
  stage.menus.replaceChildren(select("A", options, view.a, (s) => { view.a = s; drawViewer(); }),
    select("B", options, view.b, (s) => { view.b = s; drawViewer(); }), several && inPairs(there));
  const files = [originalFile(runOf(view.a)), keptHere(view.a).file, keptHere(view.b).file];
  const names = ["original", data.schemes[view.a].name, data.schemes[view.b].name];
  if (isOther(runOf(view.a), runOf(view.b))) { files[2] = null; names[2] += ", another picture"; }
  showPictures(files, names, kept.sizes[files[1]]);
}

// Switches that put one scheme of two runs beside each other; pressed again the next two.
function inPairs(there) {
  const found = families.map((_, f) => there.filter((s) => familyOf(s) === f)).filter((own) => own.length > 1);
  if (!found.length) return null;
  return el("span", { class: "group", id: "in-pairs", role: "group", "aria-label": "One scheme of two runs" },
    el("span", { class: "small" }, "of two runs"), found.map((own) => {
      const isOn = own.includes(view.a) && own.includes(view.b);
      const next = () => {
        const at = isOn ? own.indexOf(view.b) : 0, b = own[(at + 1) % own.length];
        view.a = b === own[0] ? own[1] : own[0];
        view.b = b;
        drawViewer();
        const again = [...document.querySelectorAll("#in-pairs button")].find((one) => one.textContent === data.schemes[own[0]].own);
        if (again) again.focus();
      };
      return button(data.schemes[own[0]].own, next, { class: "chip", "aria-pressed": String(isOn) });
    }));
}
