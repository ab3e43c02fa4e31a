// What the page shows now, and who wants to know when it changes.

const data = JSON.parse(byId("data").textContent);
const kept = JSON.parse(byId("kept").textContent);

// Columns of a row of results.
const CHANNEL = 0, SCHEME = 1, PLACE = 2, MEAN = 3, LOW = 4, HIGH = 5, PICTURES = 6, TRIALS = 7, ARRIVED = 8, LOST = 9,
  MEAN_OK = 10, CBR_DATA = 11, CBR_TOTAL = 12, CAUSES = 13, STOPPED = 14;

const state = {
  axis: 0,
  stop: 0,
  variant: 0,
  channels: new Set(data.channels.map((_, i) => i)),
  hidden: new Set(), // schemes
  hiddenRuns: new Set(),
  together: false, // channels in one field
  intervals: data.runs.length === 1, // those of several runs cover each other
  metric: 0,
  channel: 0, // of the pictures
  image: 0,
  dark: window.matchMedia("(prefers-color-scheme: dark)").matches,
};

const listeners = {};

function on(event, listener) { (listeners[event] = listeners[event] || []).push(listener); }

function emit(event) { for (const listener of listeners[event] || []) listener(); }

function axis() { return data.axes[state.axis]; }

function metric(key) { return data.metrics.find((m) => m.key === key); }

function stopText() { return axis().stops[state.stop]; }

function variantText() { return axis().variants.length > 1 ? axis().variants[state.variant] : ""; }

// What the dial stands at, in words.
function hereText() { return [stopText(), variantText()].filter(Boolean).join(", "); }

// Whether a place (swept values and SNR) is the one that the dial stands at.
function isHere(place) { return axis().stop[place] === state.stop && axis().variant[place] === state.variant; }

function placeText(place) {
  const [point, snr] = data.places[place];
  return [...point.map(([name, value]) => name.split(".").slice(-1)[0] + " " + value), number(snr) + " dB"].join(", ");
}

const several = data.runs.length > 1;

function runOf(scheme) { return data.schemes[scheme].run; }

function isChosen(scheme) { return !state.hidden.has(scheme) && !state.hiddenRuns.has(runOf(scheme)); }

function isShown(channel, scheme) { return state.channels.has(channel) && isChosen(scheme); }

// Schemes of one name and kind in several runs are a family: one colour, one switch.
const families = [...new Set(data.schemes.map((s) => s.kind + "/" + s.own))];

function familyOf(scheme) { return families.indexOf(data.schemes[scheme].kind + "/" + data.schemes[scheme].own); }

function inFamily(family) { return data.schemes.map((_, s) => s).filter((s) => familyOf(s) === family); }

// Schemes by family, runs side by side.
function byFamily(schemes) { return [...schemes].sort((a, b) => familyOf(a) - familyOf(b) || runOf(a) - runOf(b)); }

function setStop(stop) {
  const there = Math.max(0, Math.min(axis().stops.length - 1, stop));
  if (there === state.stop) return;
  state.stop = there;
  emit("dial");
}

function setAxis(index) {
  state.axis = index;
  state.variant = 0;
  state.stop = firstStop();
  emit("axis");
  emit("shown");
  emit("dial");
}

// Where the dial begins: at pictures, if there are any, else in the middle.
function firstStop() {
  const middle = Math.floor((axis().stops.length - 1) / 2);
  const stops = kept.shown.filter((s) => axis().variant[s[2]] === state.variant).map((s) => axis().stop[s[2]]);
  stops.sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle) || a - b);
  return stops.length ? stops[0] : middle;
}

function toggle(set, value) { if (!set.delete(value)) set.add(value); }

state.stop = firstStop();
if (kept.shown.length) { state.channel = kept.shown[0][0]; state.image = kept.shown[0][3]; }
