// The bar with the dial and the choices, the theme, and the start.

function buildBar() {
  const dial = el("input", { id: "dial", type: "range", min: 0, step: 1, on: { input: () => setStop(Number(dial.value)) } });
  const value = el("output", { id: "dial-value", for: "dial" }), name = el("label", { for: "dial", id: "dial-name" });
  const rest = el("span", { class: "menus" });
  const step = (by, text, label) => button(text, () => setStop(state.stop + by), { class: "step", "aria-label": label });
  const show = () => {
    const a = axis();
    dial.max = a.stops.length - 1;
    dial.value = state.stop;
    dial.disabled = a.stops.length < 2;
    dial.setAttribute("aria-valuetext", stopText());
    value.textContent = stopText();
    name.textContent = a.x === "snr_db" ? "SNR" : a.x.startsWith("cbr") ? "Bandwidth ratio" : a.label;
  };
  const showVariants = () => rest.replaceChildren(axis().variants.length > 1
    ? select("Pictures and tables at", axis().variants.map((v, i) => [i, v]), state.variant, (v) => { state.variant = v; emit("dial"); }) : "");
  on("dial", show);
  on("axis", () => { show(); showVariants(); });
  const theme = button("", () => { state.dark = !state.dark; showTheme(true); emit("shown"); }, { id: "theme", class: "step" });
  byId("bar").append(el("div", { class: "dial-line" }, name, step(-1, "‹", "One step down"), dial, step(1, "›", "One step up"), value, rest,
    el("span", { class: "space" }), button("Print", () => window.print(), { class: "step print" }), theme), buildChips());
  show();
  showVariants();
}

// Switches of runs, channels and schemes; a scheme of several runs is one, those of fixed MCS are one.
function buildChips() {
  const chips = el("div", { class: "chips", role: "group", "aria-label": `${several ? "Runs, channels" : "Channels"} and schemes that are shown` });
  const redraw = [];
  const chip = (text, key, isOn, flip, always) => {
    const one = button("", () => { flip(); emit("shown"); }, { class: "chip" });
    const show = () => { one.replaceChildren(...[key && (always || !isByScheme()) && key(), text].filter(Boolean)); one.setAttribute("aria-pressed", isOn()); };
    redraw.push(show);
    show();
    return one;
  };
  const gap = () => chips.append(el("span", { class: "bar-gap", "aria-hidden": "true" }));
  if (several) {
    data.runs.forEach((name, run) => chips.append(chip(name, () => runSwatch(run), () => !state.hiddenRuns.has(run), () => {
      if (state.hiddenRuns.size < data.runs.length - 1 || state.hiddenRuns.has(run)) toggle(state.hiddenRuns, run);
    }, true)));
    gap();
  }
  if (data.channels.length > 1) {
    data.channels.forEach((name, c) => chips.append(chip(name, null, () => state.channels.has(c), () => {
      if (state.channels.size > 1 || !state.channels.has(c)) toggle(state.channels, c);
    })));
    gap();
  }
  const steps = data.schemes.map((_, i) => i).filter((i) => data.schemes[i].kind === "step");
  families.forEach((_, f) => {
    const own = inFamily(f), scheme = data.schemes[own[0]];
    if (scheme.kind === "step") return;
    const key = () => swatch(schemeColour(own[0]), scheme.kind === "bound" ? DOTS[bounds.indexOf(f) % DOTS.length] : "",
      scheme.kind === "bound" ? null : markOf(coloured.indexOf(f)));
    chips.append(chip(scheme.own, coloured.length > 1 || scheme.kind === "bound" ? key : null, () => !state.hidden.has(own[0]),
      () => own.forEach((s) => toggle(state.hidden, s))));
  });
  if (steps.length) chips.append(chip(`fixed MCS (${steps.length})`, () => swatch(palette().step, "", null), () => !state.hidden.has(steps[0]),
    () => steps.forEach((s) => toggle(state.hidden, s))));
  on("shown", () => redraw.forEach((show) => show()));
  return chips;
}

// What tells the curves of a run from those of others, where nothing else does so.
function runSwatch(run) {
  const keys = others().filter((key) => key.endsWith("/" + run));
  return keys.length === 1 ? swatchOf(keys[0], cards.flatMap((card) => fieldsOf(card.info))) : null;
}

function showTheme(asked) {
  document.documentElement.dataset.theme = state.dark ? "dark" : "light";
  byId("theme").textContent = state.dark ? "☀" : "☾";
  byId("theme").setAttribute("aria-label", state.dark ? "Light theme" : "Dark theme");
  for (const name of document.querySelectorAll("b.of-run")) {
    const old = name.querySelector("svg"), key = runSwatch(Number(name.dataset.run));
    if (old) old.remove();
    if (key) name.prepend(key, " ");
  }
  for (const name of document.querySelectorAll("b.scheme")) {
    const s = data.schemes.findIndex((scheme) => scheme.name === name.dataset.scheme);
    if (s >= 0) name.style.setProperty("border-color", schemeColour(s));
  }
  if (asked) say(state.dark ? "Dark theme" : "Light theme");
}

// What the resolved scenario of a run is saved by.
function addSaving() {
  for (const text of document.querySelectorAll("pre.scenario")) {
    text.before(button("Save as YAML", () => save(fileName(text.dataset.name) + ".yaml", text.textContent, "application/yaml")));
  }
}

buildBar();
buildCurves();
showTheme(false);
emit("shown");
buildPictures();
buildCosts();
buildOutage();
buildTable();
buildUnits();
addSaving();
document.body.append(tip);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  state.dark = event.matches;
  showTheme(false);
  emit("shown");
});
