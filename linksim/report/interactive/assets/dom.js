// Elements and texts. Names come from files of other people: they become text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

function byId(id) { return document.getElementById(id); }

function fill(node, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "css") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const kid of kids.flat(Infinity)) {
    if (kid === null || kid === undefined || kid === false) continue;
    node.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
  return node;
}

function el(tag, props, ...kids) { return fill(document.createElement(tag), props, kids); }

function svg(tag, props, ...kids) { return fill(document.createElementNS(SVG, tag), props, kids); }

function button(text, onclick, props) {
  return el("button", { type: "button", on: { click: onclick }, ...props }, text);
}

function select(label, options, value, onchange) {
  const menu = el("select", { "aria-label": label, on: { change: () => onchange(Number(menu.value)) } },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", { class: "field" }, el("span", {}, label), menu);
}

// Say something to screen readers.
function say(text) { byId("said").textContent = text; }

function number(value, unit) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (unit === "dB") return value.toFixed(2);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2).replace("e-", "e−").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

function withUnit(value, unit) { return number(value, unit) + (unit && value !== null ? " " + unit : ""); }

function percent(share) { return Number((100 * share).toPrecision(3)) + "%"; }

function ratio(value) {
  if (!value) return "0";
  const inverse = 1 / value;
  return "1/" + (inverse < 1000 ? Number(inverse.toPrecision(3)) : Math.round(inverse));
}
