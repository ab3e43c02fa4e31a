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

// Switches of channels and schemes; those of fixed MCS are one.
function buildChips() {
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Channels and schemes that are shown" });
  const redraw = [];
  const chip = (text, key, isOn, flip) => {
    const one = button("", () => { flip(); emit("shown"); }, { class: "chip" });
    const show = () => { one.replaceChildren(...[key && !isByScheme() && key(), text].filter(Boolean)); one.setAttribute("aria-pressed", isOn()); };
    redraw.push(show);
    show();
    return one;
  };
  if (data.channels.length > 1) {
    data.channels.forEach((name, c) => chips.append(chip(name, null, () => state.channels.has(c), () => {
      if (state.channels.size > 1 || !state.channels.has(c)) toggle(state.channels, c);
    })));
    chips.append(el("span", { class: "bar-gap", "aria-hidden": "true" }));
  }
  const steps = data.schemes.map((_, i) => i).filter((i) => data.schemes[i].kind === "step");
  data.schemes.forEach((scheme, s) => {
    if (scheme.kind === "step") return;
    const key = () => swatch(schemeColour(s), scheme.kind === "bound" ? DOTS[bounds.indexOf(s) % DOTS.length] : "",
      scheme.kind === "bound" ? null : MARKS[coloured.indexOf(s) % MARKS.length]);
    chips.append(chip(scheme.name, coloured.length > 1 || scheme.kind === "bound" ? key : null, () => !state.hidden.has(s), () => toggle(state.hidden, s)));
  });
  if (steps.length) chips.append(chip(`fixed MCS (${steps.length})`, () => swatch(palette().step, "", null), () => !state.hidden.has(steps[0]),
    () => steps.forEach((s) => toggle(state.hidden, s))));
  on("shown", () => redraw.forEach((show) => show()));
  return chips;
}

function showTheme(asked) {
  document.documentElement.dataset.theme = state.dark ? "dark" : "light";
  byId("theme").textContent = state.dark ? "☀" : "☾";
  byId("theme").setAttribute("aria-label", state.dark ? "Light theme" : "Dark theme");
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
showTheme(false);
buildCurves();
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
