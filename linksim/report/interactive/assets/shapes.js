// Colours, marks, dashes and scales. Colours: Okabe & Ito, "Color Universal Design", 2008; lighter on dark ground.

const LIGHT = { ink: "#1d1d1f", muted: "#66625a", grid: "#e6e3dc", ground: "#ffffff", step: "#7fa8c9", dial: "#1d1d1f",
  series: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#8a8a8a"],
  bounds: ["#1d1d1f", "#696969", "#8d8d8d"] };
const DARK = { ink: "#ececea", muted: "#a9a69f", grid: "#34373e", ground: "#1c1f24", step: "#5f88aa", dial: "#ececea",
  series: ["#4fb0ee", "#ff8d4f", "#2fd0a0", "#e8a0c8", "#f2bd4c", "#9bd6fb", "#cfa195", "#bdbdbd"],
  bounds: ["#f2f2f0", "#b5b5b2", "#8f8f8c"] };
const DASHES = ["", "6 4", "8 3 2 3", "5 2 1 2 1 2", "10 4", "3 2", "1 3", "14 3 3 3"];
const DOTS = ["1.5 3", "1.5 6", "3 3", "5 3 1.5 3", "1 2", "6 4"];

function palette() { return state.dark ? DARK : LIGHT; }

const coloured = families.map((_, f) => f).filter((f) => /^(line|derived)\//.test(families[f]));
const bounds = families.map((_, f) => f).filter((f) => families[f].startsWith("bound/"));

// Of more series than colours the marks are others, too.
function markOf(i) { return MARKS[(i + Math.floor(i / LIGHT.series.length)) % MARKS.length]; }

function schemeColour(scheme, colours) {
  const kind = data.schemes[scheme].kind, c = colours || palette();
  if (kind === "step") return c.step;
  if (kind === "bound") return c.bounds[bounds.indexOf(familyOf(scheme)) % c.bounds.length];
  return c.series[coloured.indexOf(familyOf(scheme)) % c.series.length];
}

// Marks of 5 pixels around (0, 0), in the order of matplotlib's "os^DvPX*".
const MARKS = [
  "M-3.4 0A3.4 3.4 0 1 0 3.4 0A3.4 3.4 0 1 0 -3.4 0Z", "M-3.1 -3.1H3.1V3.1H-3.1Z", "M0 -4L3.8 3H-3.8Z",
  "M0 -4.4L4.4 0L0 4.4L-4.4 0Z", "M0 4L3.8 -3H-3.8Z",
  "M-1.4 -4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4V-1.4H-1.4Z",
  "M-4 -2.2L-2.2 -4L0 -1.8L2.2 -4L4 -2.2L1.8 0L4 2.2L2.2 4L0 1.8L-2.2 4L-4 2.2L-1.8 0Z",
  "M0 -4.6L1.2 -1.5L4.5 -1.4L1.9 0.7L2.8 3.9L0 2L-2.8 3.9L-1.9 0.7L-4.5 -1.4L-1.2 -1.5Z"];
const CARET = "M-4.5 -5H4.5L0 0Z"; // its tip is the value

// What tells curves of one scheme apart: channel, swept values, run.
function otherOf(curve) { return [state.together ? curve.c : 0, curve.v, runOf(curve.s)].join("/"); }

// How a curve is drawn: colour by scheme, dashes by what else differs; in a field of one scheme colours by that.
function look(curve, others, alone, colours) {
  const c = colours || palette(), i = coloured.indexOf(familyOf(curve.s));
  const other = Math.max(0, others.indexOf(otherOf(curve)));
  if (curve.kind === "bound") {
    const at = bounds.indexOf(familyOf(curve.s));
    return { colour: schemeColour(curve.s, c), dash: DOTS[(at + bounds.length * other) % DOTS.length], width: 1.8, mark: null };
  }
  if (curve.kind === "step") return { colour: c.step, dash: several ? DASHES[runOf(curve.s) % DASHES.length] : "", width: 1, mark: null };
  const colour = c.series[(alone ? other : i) % c.series.length];
  if (curve.kind === "theory") return { colour, dash: "", width: 1.1, mark: null };
  return { colour, dash: alone ? "" : DASHES[other % DASHES.length], width: 2, mark: markOf(alone ? other : i) };
}

function swatch(colour, dash, mark, colours) {
  return svg("svg", { width: 26, height: 12, viewBox: "-13 -6 26 12", "aria-hidden": "true", class: "swatch" },
    svg("path", { d: "M-12 0H12", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash || null, fill: "none" }),
    mark && svg("path", { d: mark, fill: colour }));
}

// From values to pixels.
function scaleOf(kind, low, high, from, to, linearTo) {
  const warp = kind === "log" ? (v) => Math.log10(v)
    : kind === "symlog" ? (v) => (v <= linearTo ? 0.5 * v / linearTo : 0.5 + Math.log10(v / linearTo)) : (v) => v;
  const a = warp(low), b = warp(high), span = b - a || 1;
  return (v) => from + (to - from) * (warp(v) - a) / span;
}

function roundTicks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function decades(low, high) {
  const ticks = [];
  for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) ticks.push(10 ** e);
  return ticks;
}

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function decadeText(value) {
  const e = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** e - 1) > 1e-6) return number(value);
  if (e >= -2 && e <= 3) return String(Number((10 ** e).toPrecision(3)));
  return "10" + (e < 0 ? "⁻" : "") + [...String(Math.abs(e))].map((d) => RAISED[Number(d)]).join("");
}
