// One field of curves as SVG: axes, bands, lines, marks, limits, and the dial.

function rowOf(key, curve, i) { return curve.rows ? data.rows[key][curve.rows[i]] : null; }

// Points of a curve as {x, y, low, high, lost, limit, stop, row}; limit: 1 a telling upper limit, 2 a mute one.
function pointsOf(key, curve) {
  return curve.x.map((x, i) => {
    const row = rowOf(key, curve, i);
    return {
      x, row, y: row ? row[MEAN] : curve.y[i], low: row && row[LOW], high: row && row[HIGH],
      lost: Boolean(curve.lost && curve.lost[i]), limit: curve.limits ? curve.limits[i] : 0,
      stop: row ? axis().stop[row[PLACE]] : null,
    };
  });
}

// Where the curves of an axis lie: the positions of its stops, and its ends.
function extentX(lists) {
  const xs = lists.flat().map((p) => p.x).filter((x) => x !== null);
  const low = Math.min(...xs), high = Math.max(...xs);
  if (low !== high) return [low, high];
  return axis().scale === "log" ? [low / 2, high * 2] : [low - 1, high + 1];
}

// Means and a third as much again, as far as intervals reach: those of two pictures go far beyond everything.
function extentY(info, curves, lists) {
  if (info.is_rate) {
    const seen = lists.flat().flatMap((p) => (p.limit === 1 ? [p.high] : p.limit ? [] : [p.y])).filter((v) => v > 0);
    const results = lists.filter((_, i) => curves[i].kind !== "theory").flat()
      .flatMap((p) => (p.limit === 1 ? [p.high] : p.limit ? [] : [p.y])).filter((v) => v > 0);
    if (!seen.length) return [1e-3, 1];
    const low = results.length ? Math.max(Math.min(...seen), 0.1 * Math.min(...results)) : Math.min(...seen);
    return [low / 1.7, Math.min(1, Math.max(...seen)) * 1.4];
  }
  const means = lists.flatMap((list, i) => list.filter((p) => curves[i].kind !== "step" || !p.lost).map((p) => p.y))
    .filter((v) => v !== null);
  if (!means.length) return [0, 1];
  let low = Math.min(...means), high = Math.max(...means);
  if (info.against) { low = Math.min(low, 0); high = Math.max(high, 0); }
  const room = 0.3 * (high - low) || Math.abs(high) * 0.05 || 1;
  const ends = lists.flatMap((list, i) => (curves[i].kind === "line" ? list : [])).filter((p) => p.low !== null && p.low !== undefined);
  const bottom = Math.min(low, ...ends.map((p) => p.low)), top = Math.max(high, ...ends.map((p) => p.high));
  const margin = 0.06 * room + 1e-12;
  return [Math.max(bottom, low - room) - margin, Math.min(top, high + room) + margin];
}

// Stretches of points that a line may join: none between a lost and a decoded one, none across a limit.
function stretches(points, logarithmic) {
  const found = [];
  let last = null;
  for (const p of points) {
    const drawn = p.y !== null && !p.limit && !p.lost && !(logarithmic && p.y <= 0);
    if (drawn && last) found[found.length - 1].push(p);
    else if (drawn) found.push([p]);
    last = drawn;
  }
  return found;
}

function pathOf(points, sx, sy) {
  return points.map((p, i) => (i ? "L" : "M") + sx(p.x).toFixed(1) + " " + sy(p.y).toFixed(1)).join("");
}

// A field. `size` {width, height}; `domain` from extentY, shared by fields side by side; `colours` a palette.
function drawField(info, curves, looks, size, domain, colours, xText) {
  const lists = curves.map((c) => pointsOf(info.key, c));
  const narrow = size.width < 420;
  const box = { left: 50, right: size.width - 14, top: 10, bottom: size.height - (xText ? 42 : 26) };
  const [x0, x1] = extentX(lists), pad = 14;
  const sx = scaleOf(axis().scale, x0, x1, box.left + pad, box.right - pad, axis().linear_to);
  const clampY = scaleOf(info.is_rate ? "log" : "linear", domain[0], domain[1], box.bottom, box.top);
  const sy = (v) => clampY(info.is_rate && !(v > 0) ? domain[0] : v);
  const root = svg("svg", { viewBox: `0 0 ${size.width} ${size.height}`, width: size.width, height: size.height,
    xmlns: SVG, "font-family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "font-size": 12 });
  const clip = "clip" + (drawField.count = (drawField.count || 0) + 1);
  root.append(svg("clipPath", { id: clip }, svg("rect", { x: box.left, y: box.top - 4, width: box.right - box.left,
    height: box.bottom - box.top + 8 })));
  drawAxes(root, info, box, sx, sy, domain, [x0, x1], colours, narrow, xText);
  const inner = svg("g", { "clip-path": `url(#${clip})` }), edge = svg("g", {});
  const banded = curves.filter((c) => c.kind === "line").length, opacity = Math.max(0.05, Math.min(0.16, 0.32 / banded));
  curves.forEach((curve, i) => {
    if (curve.kind !== "line" || !state.intervals) return;
    const bars = curves.some((c) => c.kind === "theory" && c.s === curve.s && c.c === curve.c);
    drawInterval(inner, lists[i], looks[i], sx, sy, bars, opacity);
  });
  curves.forEach((curve, i) => drawCurve(inner, edge, info, curve, lists[i], looks[i], curves, sx, sy, box, colours));
  root.append(inner, edge);
  return { root, box, sx, sy, lists, curves, info };
}

function drawAxes(root, info, box, sx, sy, domain, xs, colours, narrow, xText) {
  const line = (x1, y1, x2, y2, colour) => svg("path", { d: `M${x1} ${y1}L${x2} ${y2}`, stroke: colour, fill: "none" });
  let ys = info.is_rate ? decades(domain[0], domain[1]) : roundTicks(domain[0], domain[1], 6);
  if (info.is_rate && ys.length < 2) ys = roundTicks(domain[0], domain[1], 4).filter((v) => v > 0);
  for (const y of ys) {
    const at = sy(y).toFixed(1);
    root.append(line(box.left, at, box.right, at, colours.grid));
    root.append(svg("text", { x: box.left - 7, y: Number(at) + 4, "text-anchor": "end", fill: colours.muted },
      info.is_rate ? decadeText(y) : number(y)));
  }
  if (info.against && domain[0] < 0 && domain[1] > 0) root.append(line(box.left, sy(0), box.right, sy(0), colours.muted));
  const a = axis();
  const ticks = a.ticks.length ? a.ticks : roundTicks(xs[0], xs[1], narrow ? 4 : 7);
  let last = -1e9;
  ticks.forEach((x, i) => {
    const at = sx(x), text = a.tick_labels.length ? a.tick_labels[i] : number(x);
    root.append(line(at.toFixed(1), box.bottom, at.toFixed(1), box.bottom + 4, colours.muted));
    if (at - last < 7 * text.length + 8) return;
    last = at;
    root.append(svg("text", { x: at.toFixed(1), y: box.bottom + 18, "text-anchor": "middle", fill: colours.muted }, text));
  });
  root.append(line(box.left, box.bottom, box.right, box.bottom, colours.muted));
  if (xText) root.append(svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle",
    fill: colours.muted }, xText));
}

function drawInterval(group, points, style, sx, sy, bars, opacity) {
  const has = (p) => p.low !== null && p.high !== null;
  for (const stretch of stretches(points)) {
    const with_ = stretch.filter(has);
    if (bars || with_.length === 1) {
      for (const p of with_) group.append(svg("path", { stroke: style.colour, "stroke-width": 1.5, opacity: 0.55, fill: "none",
        d: `M${sx(p.x).toFixed(1)} ${sy(p.low).toFixed(1)}V${sy(p.high).toFixed(1)}` }));
    } else if (with_.length) {
      const up = with_.map((p) => ({ x: p.x, y: p.high })), down = with_.map((p) => ({ x: p.x, y: p.low })).reverse();
      group.append(svg("path", { d: pathOf(up, sx, sy) + pathOf(down, sx, sy).replace("M", "L") + "Z", class: "band", fill: style.colour, opacity }));
    }
  }
}

function drawCurve(group, edge, info, curve, points, style, curves, sx, sy, box, colours) {
  const stroke = { stroke: style.colour, "stroke-width": style.width, "stroke-dasharray": style.dash || null, fill: "none",
    "stroke-linejoin": "round", class: "curve" };
  if (curve.path) {
    let d = "", pen = "M";
    curve.path[0].forEach((x, i) => {
      const y = curve.path[1][i];
      if (x === null || y === null || (info.is_rate && y <= 0)) { pen = "M"; return; }
      d += pen + sx(x).toFixed(1) + " " + sy(y).toFixed(1);
      pen = "L";
    });
    if (d) group.append(svg("path", { ...stroke, d }));
    return;
  }
  const exact = curve.kind === "line" && curves.some((c) => c.kind === "theory" && c.s === curve.s && c.c === curve.c && c.v === curve.v);
  const join = info.is_rate ? points.map((p) => ({ ...p, lost: false })) : points;
  if (!exact) for (const stretch of stretches(join, info.is_rate)) {
    if (stretch.length > 1) group.append(svg("path", { ...stroke, d: pathOf(stretch, sx, sy) }));
    else if (!style.mark) group.append(svg("circle", { cx: sx(stretch[0].x), cy: sy(stretch[0].y), r: 2.2, fill: style.colour }));
  }
  for (const p of join) {
    if (!style.mark || p.y === null || (info.is_rate && p.y <= 0 && !p.limit)) continue;
    const at = (y) => `translate(${sx(p.x).toFixed(1)} ${y.toFixed(1)})`;
    if (p.limit === 1) group.append(svg("path", { d: CARET, class: "limit", fill: style.colour, transform: at(sy(p.high)) }));
    else if (p.limit === 2) edge.append(svg("path", { d: CARET, class: "limit mute", fill: colours.ground, stroke: style.colour,
      transform: at(box.bottom - 1) }));
    else group.append(svg("path", { d: style.mark, class: p.lost ? "lost" : null, fill: p.lost ? colours.ground : style.colour,
      stroke: p.lost ? style.colour : null, "stroke-width": p.lost ? 1.5 : null, transform: at(sy(p.y)) }));
  }
}

// The dial in a field: a line where all curves share their positions, and a ring around the point of each curve.
function drawDial(field, looks, colours) {
  if (field.dial) field.dial.remove();
  const group = svg("g", { class: "dial", "pointer-events": "none" });
  const here = field.lists.map((list) => list.filter((p) => p.stop === state.stop && p.y !== null));
  const xs = [...new Set(here.flat().map((p) => p.x))];
  if (xs.length === 1) {
    const x = field.sx(xs[0]).toFixed(1);
    group.append(svg("path", { d: `M${x} ${field.box.top}V${field.box.bottom}`, stroke: colours.dial, "stroke-width": 1.2,
      "stroke-dasharray": "2 3" }));
    group.setAttribute("data-x", x);
  }
  const barred = here.map((_, i) => i).filter((i) => field.curves[i].kind === "line" && here[i].length);
  here.forEach((points, i) => {
    const aside = (barred.indexOf(i) - (barred.length - 1) / 2) * Math.min(4, 28 / barred.length); // bars beside each other
    for (const p of points) {
      if (!state.intervals && !p.limit && p.low !== null && field.curves[i].kind === "line") {
        const ends = [p.low, p.high].map((v) => Math.max(field.box.top, Math.min(field.box.bottom, field.sy(v))).toFixed(1));
        group.append(svg("path", { d: `M${(field.sx(p.x) + aside).toFixed(1)} ${ends[0]}V${ends[1]}`, stroke: looks[i].colour, "stroke-width": 2, opacity: 0.6 }));
      }
      const value = p.limit === 1 ? p.high : p.y, y = field.sy(value);
      if (p.limit > 1 || (field.info.is_rate && value <= 0) || y < field.box.top - 4 || y > field.box.bottom + 4) continue;
      group.append(svg("circle", { cx: field.sx(p.x).toFixed(1), cy: y.toFixed(1), r: 6.5, fill: "none", stroke: looks[i].colour,
        "stroke-width": 2 }));
    }
  });
  field.dial = group;
  field.root.append(group);
}
