"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [rows, cols] = data.grid, count = rows * cols;
const [width, height] = data.picture.size, [imageWidth, imageHeight] = data.image;
const by = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const features = floats(data.features), dim = data.dim;
const scales = data.scales.map((s) => ({ ...s, entropies: floats(s.entropies), votes: bytes(s.votes) }));
const attention = data.attention.map(floats), eigenvector = floats(data.tokencut.eigenvector);
const candidates = data.candidates, limits = data.limits;
const past = data.past;
const drawnBoxes = past ? [{ method: "time", boxes: past.objects }, ...data.methods] : data.methods;
const NAMES = { time: "run", most: "MOST", lost: "LOST", tokencut: "TokenCut", "dino-seg": "DINO-seg" };
const hue = (method) => `var(--${method})`;
const clusterOf = new Map(data.seeds.map((seed, i) => [seed, data.clusters[i]]));
const voteCount = Array.from({ length: count }, (_, i) => scales.reduce((sum, s) => sum + s.votes[i], 0));
const needed = Math.ceil(scales.length / 2);
const byDegree = data.degrees.slice().sort((a, b) => a - b);

/** Makes an element; `children` are elements or text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
const rgb = (colour) => `rgb(${colour.map(Math.round).join(" ")})`;
const clusterColour = (cluster) => data.colours.clusters[cluster % data.colours.clusters.length];
function ramp(stops, t) {
  const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1), from = Math.min(Math.floor(at), stops.length - 2);
  return stops[from].map((c, i) => c + (stops[from + 1][i] - c) * (at - from));
}
const { sequential, diverging } = data.colours;
const number = (value, digits = 4) => String(+value.toPrecision(digits)).replace(/^-/, "−");
const place = (patch) => `row ${Math.floor(patch / cols)}, column ${patch % cols}`;
const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;

/** A[i, j]: the product in f64, summed from the first column to the last, as the localizer does near zero. */
function affinity(i, j) {
  let sum = 0;
  for (let c = 0; c < dim; c++) sum += features[i * dim + c] * features[j * dim + c];
  return sum;
}
const norm = (i) => Math.sqrt(affinity(i, i));

const state = {
  view: "boxes", boxesOf: "view", kernel: -1, head: data.dinoSeg.head, signs: false, object: 0,
  pointed: 0, other: 0, moves: "pointed",
};

// What can be looked at as a mask: every candidate of MOST, then what the other methods found.
const objects = candidates.map((c, i) => ({
  name: `MOST, cluster ${c.cluster}${c.fate.kind === "drawn" ? ` (box ${c.fate.object + 1})` : " (no box)"}`, method: "most",
  seed: c.core, pool: c.pool, mask: c.patches, bbox: c.bbox, candidate: i, is_drawn: c.fate.kind === "drawn",
}));
const boxOf = (method) => data.methods.find((m) => m.method === method).boxes[0]?.bbox ?? null;
for (const [method, seed, pool, mask] of [
  ["lost", data.lost.seed, data.lost.pool, data.lost.patches],
  ["tokencut", data.tokencut.seed, [], data.tokencut.patches],
  ["dino-seg", null, data.dinoSeg.kept, data.dinoSeg.patches],
]) objects.push({ name: NAMES[method], method, seed, pool, mask, bbox: boxOf(method), is_drawn: boxOf(method) !== null });

/** A map: `value(patch)` to show in the legend, `colour(patch)` or null where the picture shows through. */
function ranged(values, stops, low, high) {
  const span = high - low || 1;
  return { colour: (p) => ramp(stops, (values[p] - low) / span), scale: [number(low, 3), number(high, 3)], stops };
}
function spread(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  return [low, high];
}
function signed(values) {
  const [low, high] = spread(values), most = Math.max(-low, high, 0);
  const map = ranged(values, diverging, -most, most);
  map.scale = [number(-most, 3), "0", number(most, 3)];
  return map;
}
const ORANGE = data.colours.clusters[0], BLUE = data.colours.clusters[1];
const views = {
  boxes: {
    label: "Picture",
    text: () => past
      ? "The boxes that run draws in this frame of the video: what moves and what is new, from the frames before it. Choose another view to see what they are made from, or the boxes of another method."
      : "The boxes as they are drawn: those that repeat a better one (IoU above " + limits.sameIou + ") are merged into it, and MOST's are left out whose score is below " + +limits.minScore.toFixed(3) + ". Choose another view to see what they are made from.",
    map: () => null,
  },
  affinity: {
    label: "Affinity",
    text: () => "How alike the pointed patch and every other are: the product of their features, A = F·Fᵀ. MOST and LOST start from its sign alone: orange patches are like the pointed one, blue ones are not. Point at an object, then at its background.",
    map() {
      const row = Array.from({ length: count }, (_, j) => affinity(state.pointed, j));
      if (!state.signs) return signed(row);
      return {
        colour: (p) => diverging[row[p] > 0 ? 3 : 1],
        keys: [["positive: alike", diverging[3]], ["zero or negative: not alike", diverging[1]]],
      };
    },
    options: () => [check("Signs only", state.signs, (on) => { state.signs = on; })],
  },
  degree: {
    label: "Degree", method: "lost",
    text: () => "How many other patches each patch is like. What belongs to an object is like few, since objects are smaller than their background: LOST grows its box from the patch of lowest degree, MOST from the lowest in each cluster.",
    map: () => ranged(data.degrees, sequential, ...spread(data.degrees)),
    marks: () => [data.lost.seed],
  },
  votes: {
    label: "Box counting",
    text: () => "Does a patch's affinity map look like an object? MOST pools the map with k×k kernels and takes the entropy of its values. On an object most windows see nothing alike: many equal values, low entropy. Below 1 + log₂(rows of windows) bits the scale votes for an object; half of the scales make a seed.",
    map() {
      if (state.kernel >= 0) {
        const scale = scales[state.kernel];
        return {
          colour: (p) => scale.votes[p] ? ORANGE : sequential[0],
          keys: [["votes for an object", ORANGE], ["does not", sequential[0]]],
        };
      }
      return ranged(voteCount, sequential, 0, scales.length);
    },
    options: () => [choose("Scale", [["-1", "all scales: number of votes"], ...scales.map((s, i) => [String(i), `kernel ${s.kernel}×${s.kernel}`])],
      String(state.kernel), (value) => { state.kernel = +value; })],
  },
  clusters: {
    label: "Seeds and clusters",
    text: () => data.seeds.length
      ? `The ${plural(data.seeds.length, "patch", "patches")} that pass box counting, in the colour of their cluster: seeds at most two steps apart belong together (DBSCAN). A dot marks the core of each cluster, its seed of lowest degree.`
      : "No patch passes box counting, so MOST sees no object here.",
    map: () => ({
      colour: (p) => clusterOf.has(p) ? clusterColour(clusterOf.get(p)) : null,
      keys: candidates.slice(0, 12).map((c) => [`cluster ${c.cluster}`, clusterColour(c.cluster)]),
    }),
    marks: () => candidates.map((c) => c.core),
  },
  mask: {
    label: "Masks",
    text() {
      const o = objects[state.object];
      return {
        most: "The pool: those seeds of the cluster that are like its core (the dot). The mask: where the pool's summed affinity is positive, connected with the core. Its bounding box is the cluster's candidate.",
        lost: `The pool: of the ${limits.expansion} patches of lowest degree, those like the seed (the dot). The mask: where the pool's summed affinity is positive, connected with the seed.`,
        tokencut: "The mask: the side of the cut that holds the seed (the dot, the eigenvector's largest entry), as far as it is connected with it.",
        "dino-seg": `Kept are the patches that hold the top ${limits.mass * 100} % of the CLS attention of head ${data.dinoSeg.head}; the largest connected part is the object.`,
      }[o.method];
    },
    map() {
      const o = objects[state.object], pool = new Set(o.pool), mask = new Set(o.mask);
      const pooled = o.method === "dino-seg" ? "kept, elsewhere" : "pool";
      return {
        colour: (p) => o.method === "dino-seg" ? (mask.has(p) ? BLUE : pool.has(p) ? ORANGE : null) : (pool.has(p) ? ORANGE : mask.has(p) ? BLUE : null),
        keys: [["mask", BLUE], ...(o.method === "tokencut" ? [] : [[pooled, ORANGE]])],
      };
    },
    marks: () => { const { seed } = objects[state.object]; return seed === null ? [] : [seed]; },
    options: () => [choose("Object", objects.map((o, i) => [String(i), o.name]), String(state.object), (value) => { state.object = +value; })],
  },
  tokencut: {
    label: "TokenCut", method: "tokencut",
    text: () => eigenvector.some((v) => v !== 0)
      ? `Patches are joined where their cosine is above ${limits.tau}. The second-smallest eigenvector of that graph's normalised cut says which side each patch falls on: above the mean is foreground. The dot marks its largest entry, the seed.`
      : `Every patch is joined to every other (all cosines are above ${limits.tau}), so that no cut is best: TokenCut finds nothing.`,
    map: () => signed(eigenvector),
    marks: () => data.tokencut.patches.length ? [data.tokencut.seed] : [],
  },
  attention: {
    label: "CLS attention", method: "dino-seg",
    text: () => `Where each head of the CLS token looks in the last block. DINO-seg reads head ${data.dinoSeg.head}.`,
    map: () => ranged(attention[state.head], sequential, 0, spread(attention[state.head])[1]),
    options: () => [choose("Head", attention.map((_, i) => [String(i), i === data.dinoSeg.head ? `${i} (read by DINO-seg)` : String(i)]),
      String(state.head), (value) => { state.head = +value; })],
  },
};

if (past) {
  const shaken = past.camera === "shaking" ? " The camera shakes: this is laid back on the first picture of its view." : "";
  const novelty = floats(past.novelty), foreground = bytes(past.foreground);
  if (novelty.length) views.novelty = {
    label: "Novelty",
    text: () => `How new each patch is: how far its key in the middle of the network is from what it usually is, in units of what it usually varies by. Above 1 it is new.${shaken}`,
    map: () => ranged(novelty, sequential, 0, Math.max(1, spread(novelty)[1])),
  };
  if (foreground.length) views.pixels = {
    label: "New pixels",
    text: () => `Pixels like nothing that was seen at their place, and no shadow. Joined, split at their seams, and kept where patches are new, they become objects.${shaken}`,
    map: () => ({ size: past.size, colour: (p) => foreground[p] ? ORANGE : null, keys: [["new", ORANGE]] }),
  };
  if (past.against) {
    const { size: [squareRows, squareCols], first, step, noise, pixels } = past.against, lengths = floats(pixels);
    views.motion = {
      label: "Motion",
      text: () => `How far each square has moved against the camera's own movement, in pixels of the picture at ${past.size[0]}×${past.size[1]}, over the frames that were looked back. Where nothing else moves it is off by ${number(noise, 2)}.`,
      map: () => ({
        ...ranged(lengths, sequential, 0, spread(lengths)[1]), size: [squareCols, squareRows],
        area: [first - step / 2, first - step / 2, step * squareCols, step * squareRows].map((v, i) => v / past.size[i % 2] * 100),
      }),
    };
  }
}

function check(label, on, change) {
  const input = make("input", { type: "checkbox", checked: on });
  input.addEventListener("change", () => { change(input.checked); drawMap(); });
  return make("label", { className: "field" }, input, make("span", {}, label));
}
function choose(label, options, value, change) {
  const select = make("select", { id: `choose-${label.toLowerCase()}` });
  for (const [key, text] of options) select.append(make("option", { value: key }, text));
  select.value = value;
  select.addEventListener("change", () => { change(select.value); showView(false); });
  return make("label", { className: "field" }, make("span", {}, label), select);
}

/** Paints one pixel per cell and lays the canvas over the picture, which may end within the last patches. Cells are patches, or `size` of them
 * in an `area` (left, top, width, height) in percent of the picture. */
function paint(canvas, { colour, size, area }) {
  const [wide, high] = size ?? [cols, rows];
  const [left, top, right, bottom] = area
    ?? (size ? [0, 0, 100, 100] : [0, 0, cols * data.patch / imageWidth * 100, rows * data.patch / imageHeight * 100]);
  Object.assign(canvas, { width: wide, height: high });
  Object.assign(canvas.style, { left: `${left}%`, top: `${top}%`, width: `${right}%`, height: `${bottom}%` });
  const pixels = new ImageData(wide, high);
  for (let p = 0; p < wide * high; p++) {
    const c = colour(p);
    if (c) pixels.data.set([...c, 255], 4 * p);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
/** Places an element over patch `p` or over a box of the picture. */
function lay(element, left, top, right, bottom, wide, high) {
  Object.assign(element.style, {
    left: `${left / wide * 100}%`, top: `${top / high * 100}%`,
    width: `${(right - left) / wide * 100}%`, height: `${(bottom - top) / high * 100}%`,
  });
  return element;
}
function patchElement(p, name) {
  const x = p % cols * data.patch, y = Math.floor(p / cols) * data.patch;
  const [right, bottom] = [Math.min(x + data.patch, imageWidth), Math.min(y + data.patch, imageHeight)];
  return lay(make("div", { className: `patch ${name}` }), x, y, right, bottom, imageWidth, imageHeight);
}
function boxElement(bbox, method, label, faint) {
  const box = lay(make("div", { className: `box ${method}${faint ? " faint" : ""}` }), ...bbox, width, height);
  box.style.setProperty("--hue", hue(method));
  if (label) box.append(make("b", {}, label));
  return box;
}

function drawMap() {
  const map = views[state.view].map(), legend = by("legend");
  by("stage").classList.toggle("mapped", map !== null);
  by("map").style.display = map ? "" : "none";
  by("map").style.opacity = by("opacity").value / 100;
  by("opacity").disabled = !map;
  legend.replaceChildren();
  if (!map) return;
  paint(by("map"), map);
  for (const [text, colour] of map.keys ?? []) {
    const swatch = make("i");
    swatch.style.background = rgb(colour);
    legend.append(make("span", { className: "key" }, swatch, text));
  }
  if (map.scale) {
    const bar = make("span", { className: "bar" });
    bar.style.background = `linear-gradient(to right, ${map.stops.map(rgb).join(", ")})`;
    legend.append(make("span", { className: "scale" }, make("span", {}, map.scale[0]), bar, make("span", {}, map.scale.at(-1)),
      ...(map.scale.length === 3 ? [make("span", {}, "(pale: zero)")] : [])));
  }
}

function drawOverlay() {
  const overlay = by("overlay"), view = views[state.view];
  overlay.replaceChildren();
  const chosen = state.view === "mask" ? objects[state.object] : null;
  if (chosen?.bbox) overlay.append(boxElement(chosen.bbox, chosen.method, chosen.is_drawn ? NAMES[chosen.method] : "no box", !chosen.is_drawn));
  else if (!chosen) for (const { method, boxes } of drawnBoxes) {
    const shown = state.boxesOf === "view" ? view.method ?? (past ? "time" : "most") : state.boxesOf;
    if (shown !== method && shown !== "all") continue;
    boxes.forEach((b, i) => overlay.append(boxElement(b.bbox, method, shown === "most" || shown === "time" ? `${i + 1} · ${b.score.toFixed(2)}` : NAMES[method])));
  }
  for (const mark of view.marks?.() ?? []) overlay.append(patchElement(mark, "mark"));
  overlay.append(patchElement(state.pointed, "pointed"));
  if (state.other !== state.pointed) overlay.append(patchElement(state.other, "other"));
}

function showView(and_controls = true) {
  const view = views[state.view];
  by("view-title").textContent = view.label;
  by("view-text").textContent = view.text();
  if (and_controls) by("options").replaceChildren(...(view.options?.() ?? []));
  const radio = document.querySelector(`#views input[value="${state.view}"]`);
  radio.checked = true;
  for (const button of document.querySelectorAll("button[data-object]")) {
    button.setAttribute("aria-pressed", String(state.view === "mask" && +button.dataset.object === state.object));
  }
  drawMap();
  drawOverlay();
}

function showNumbers() {
  const { pointed: p, other: q } = state;
  by("pointed-place").textContent = `${place(p)} (patch ${p})`;
  by("other-place").textContent = q === p ? "the same patch" : `${place(q)} (patch ${q})`;
  const rank = byDegree.indexOf(data.degrees[p]) + 1;
  const facts = [
    ["Degree", `${data.degrees[p]} of ${count - 1}`],
    ["Rank by degree", `${rank} of ${count}`],
    ["TokenCut's eigenvector", number(eigenvector[p])],
    [`CLS attention, head ${state.head}`, number(attention[state.head][p])],
  ];
  by("numbers").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

  const value = affinity(p, q), length = norm(p) * norm(q);
  by("affinity").textContent = number(value, 6);
  by("affinity").dataset.value = value;
  const sign = by("affinity-sign");
  sign.textContent = value > 0 ? "positive: alike" : value < 0 ? "negative: not alike" : "zero: not alike";
  sign.className = `badge ${value > 0 ? "yes" : "no"}`;
  by("affinity-note").textContent = `The product of their ${dim} features. Cosine ${length > 0 ? number(value / length, 3) : "not defined"}.`;

  by("votes").replaceChildren(...scales.map((s) => {
    const entropy = s.entropies[p], top = Math.max(Math.log2(s.windows[0] * s.windows[1]), s.threshold, 1e-9);
    const fill = make("span", { className: "fill" }), limit = make("span", { className: "limit" });
    fill.style.width = `${Math.max(entropy, 0) / top * 100}%`;
    limit.style.left = `${s.threshold / top * 100}%`;
    const row = make("div", { className: `vote${s.votes[p] ? " for" : ""}` },
      make("span", {}, `${s.kernel}×${s.kernel}`), make("span", { className: "track" }, fill, limit),
      make("span", { className: "says" }, s.votes[p] ? "object" : "no"),
      make("small", {}, `entropy ${Math.max(entropy, 0).toFixed(3)}, threshold ${s.threshold.toFixed(3)} bits`));
    row.dataset.kernel = s.kernel;
    return row;
  }));
  const cluster = clusterOf.get(p);
  const verdict = cluster === undefined ? "not a seed" : `a seed, in cluster ${cluster}`;
  by("verdict").textContent = `${voteCount[p]} of ${plural(scales.length, "vote")}, ${needed} needed: ${verdict}.`;
  by("spoken").textContent = `Pointed: ${place(p)}, ${verdict}. Affinity ${number(value, 4)} with ${q === p ? "itself" : place(q)}.`;
}

/** Moves the pointed or the compared patch. */
function point(which, patch, follow) {
  if (which === "pointed" && (follow || state.other === state.pointed)) state.other = patch;
  state[which] = patch;
  if (which === "pointed" && state.view === "affinity") drawMap();
  drawOverlay();
  showNumbers();
  if (follow) document.querySelector(`#overlay .${state.other === state.pointed ? "pointed" : which}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
function patchAt(event) {
  const area = by("stage").getBoundingClientRect();
  const at = (offset, length, pixels, most) => Math.min(Math.max(Math.floor(offset / length * pixels / data.patch), 0), most - 1);
  return at(event.clientY - area.top, area.height, imageHeight, rows) * cols + at(event.clientX - area.left, area.width, imageWidth, cols);
}
function listen() {
  const stage = by("stage");
  stage.addEventListener("click", (event) => point(state.moves, patchAt(event)));
  stage.addEventListener("pointermove", (event) => {
    const patch = patchAt(event);
    if (event.pointerType === "mouse" && patch !== state.other) point("other", patch);
  });
  stage.addEventListener("keydown", (event) => {
    const which = event.shiftKey ? (state.moves === "pointed" ? "other" : "pointed") : state.moves;
    const row = Math.floor(state[which] / cols), col = state[which] % cols;
    const to = {
      ArrowLeft: [row, col - 1], ArrowRight: [row, col + 1], ArrowUp: [row - 1, col], ArrowDown: [row + 1, col],
      Home: [row, 0], End: [row, cols - 1],
    }[event.key];
    if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const clamp = (v, most) => Math.min(Math.max(v, 0), most - 1);
    point(which, clamp(to[0], rows) * cols + clamp(to[1], cols), true);
  });
  by("opacity").addEventListener("input", drawMap);
  by("moves").addEventListener("change", (event) => { state.moves = event.target.value; });
  by("boxes-of").addEventListener("change", (event) => { state.boxesOf = event.target.value; drawOverlay(); });
}

/** A small picture, with a map over it where `colour` is given. */
function frame(boxes, colour, most) {
  const element = make("div", { className: `frame${colour ? " mapped" : ""}` });
  element.style.width = `min(100%, ${Math.max(most * width / height, 4)}px)`;
  element.style.aspectRatio = `${width} / ${height}`;
  element.append(make("img", { src: data.picture.url, alt: "" }));
  if (colour) { const canvas = make("canvas"); paint(canvas, { colour }); element.append(canvas); }
  element.append(...boxes);
  return element;
}
function lookAt(object) {
  state.object = object;
  state.view = "mask";
  if (objects[object].seed !== null) { state.pointed = state.other = objects[object].seed; }
  showView();
  showNumbers();
  document.querySelector(".look").scrollIntoView({ block: "start" });
  by("stage").focus({ preventScroll: true });
}
function objectButton(object, text) {
  const button = make("button", { type: "button" }, text);
  button.dataset.object = object;
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => lookAt(object));
  return button;
}
const corners = ([xmin, ymin, xmax, ymax]) => `${xmax - xmin}×${ymax - ymin} px at (${xmin}, ${ymin})`;
const NOTHING = {
  most: "no box: no cluster gave one (see below)",
  lost: "no box: the seed's features are all zero",
  tokencut: "no box: every patch is joined to every other, so that no cut is best",
  "dino-seg": "no box: this head attends to nothing",
};
function showMethods() {
  for (const { method, boxes } of data.methods) {
    const title = make("h3", {}, make("i"), NAMES[method], make("span", { className: "badge" }, plural(boxes.length, "box", "boxes")));
    const list = make("div", { className: "list" });
    boxes.forEach((b, i) => {
      const object = objects.findIndex((o) => o.method === method && (method !== "most" || o.seed === b.seed));
      list.append(objectButton(object, `${method === "most" ? `Box ${i + 1}: s` : "S"}core ${b.score.toFixed(2)}, ${corners(b.bbox)}`));
    });
    if (!boxes.length) list.append(make("p", {}, NOTHING[method]));
    const card = make("div", { className: "card" }, frame(boxes.map((b, i) => boxElement(b.bbox, method, method === "most" ? String(i + 1) : "")), null, 230), title, list);
    card.style.setProperty("--hue", hue(method));
    card.dataset.method = method;
    by("methods").append(card);
  }
}
function fateOf({ fate, size, bbox }) {
  const share = size[0] * size[1] / (imageWidth * imageHeight);
  switch (fate.kind) {
    case "drawn": return [`Box ${fate.object + 1}`, `Drawn, with a score of ${fate.score.toFixed(2)}.`];
    case "merged": return [`Same as box ${fate.into + 1}`, `Merged: its IoU with box ${fate.into + 1} is ${fate.iou.toFixed(2)} (above ${limits.sameIou}), and its score of ${fate.score.toFixed(2)} is not higher.`];
    case "unsure": return ["Unsure", `Its score of ${fate.score.toFixed(2)} is below ${+limits.minScore.toFixed(3)}: it hardly stands out from its surroundings. The paper would draw it (--paper).`];
    case "too-small": return ["Too small", `${size[0]}×${size[1]} px of the model's input: not more than ${limits.minSide} px wide or high.`];
    case "too-large": return ["Too large", `${(share * 100).toFixed(0)} % of the image: ${limits.maxShare * 100} % or more is taken for background.`];
    default: return ["No patches", "The core's features are all zero: it is like no patch, not even itself."];
  }
}
const CUES = [
  ["novelty", "Novelty of its patches"], ["pixels", "New pixels"], ["familiar", "Share that comes and goes here"], ["unrest", "Restlessness of its place"],
  ["contour", "Contour, beyond its surroundings"], ["scene_contour", "Contour in the empty scene"], ["motion", "Motion against the camera, in units of noise"], ["appearance", "Score by appearance alone"],
];
const CAMERAS = { still: data.colours.clusters[1], shaking: data.colours.clusters[5], moving: data.colours.clusters[0] };
function showPast() {
  by("past").hidden = false;
  const frames = past.history, most = Math.max(1, ...frames.map(([, , n]) => n));
  const counts = Object.keys(CAMERAS).map((camera) => [camera, frames.filter((f) => f[1] === camera).length]).filter(([, n]) => n);
  const cameras = counts.map(([camera, n]) => `${camera} in ${n}`).join(", ");
  by("past-lead").textContent = `Frame ${past.frame}, seen after ${plural(past.frame, "frame")} before it. The camera is ${past.camera}. `
    + `Of the last ${plural(frames.length, "frame")} it was ${cameras}; below are their objects, up to ${most} in one, the newest at the right.`;
  const canvas = by("history"), high = 46;
  Object.assign(canvas, { width: frames.length, height: high });
  canvas.setAttribute("aria-label", `Objects in each of the last ${plural(frames.length, "frame")}`);
  const pen = canvas.getContext("2d");
  frames.forEach(([, camera, n], x) => {
    pen.fillStyle = rgb(CAMERAS[camera]);
    const length = 4 + Math.round((high - 4) * n / most);
    pen.fillRect(x, high - length, 1, length);
  });
  for (const [camera] of counts) {
    const swatch = make("i");
    swatch.style.background = rgb(CAMERAS[camera]);
    by("history-legend").append(make("span", { className: "key" }, swatch, `camera ${camera}`));
  }
  past.objects.forEach((o, i) => {
    const title = make("h3", {}, make("i"), `Object ${i + 1}`, make("span", { className: "badge" }, `score ${o.score.toFixed(2)}`));
    const stands = CUES.filter(([cue]) => o.cues[cue]).flatMap(([cue, name]) => [make("dt", {}, name), make("dd", {}, number(o.cues[cue], 3))]);
    const card = make("div", { className: "card" }, frame([boxElement(o.bbox, "time", String(i + 1))], null, 170), title,
      make("p", {}, corners(o.bbox)), make("dl", { className: "numbers" }, ...stands));
    card.style.setProperty("--hue", hue("time"));
    by("objects").append(card);
  });
  if (!past.objects.length) by("objects").append(make("p", {}, "Nothing moves, and nothing is new: run draws no box in this frame."));
}
const SHOWN = 12;
function showCandidates(from, to) {
  candidates.slice(from, to).forEach((c, i) => {
    const [title, why] = fateOf(c), seeds = data.clusters.filter((k) => k === c.cluster).length;
    const pool = new Set(c.pool), mask = new Set(c.patches), colour = clusterColour(c.cluster);
    const drawn = c.fate.kind === "drawn";
    const picture = frame(c.bbox ? [boxElement(c.bbox, "most", "", !drawn)] : [], (p) => pool.has(p) ? colour : mask.has(p) ? colour.map((v) => v * 0.5 + 60) : null, 170);
    const heading = make("h3", {}, make("i"), `Cluster ${c.cluster}`, make("span", { className: `badge ${drawn ? "drawn" : "gone"}` }, title));
    const facts = make("p", {}, `${plural(seeds, "seed")}, ${c.pool.length} of them in the pool; a mask of ${plural(c.patches.length, "patch", "patches")}.`);
    const card = make("div", { className: "card" }, picture, heading, make("p", {}, why), facts, objectButton(from + i, "Show it above"));
    card.style.setProperty("--hue", rgb(colour));
    card.dataset.cluster = c.cluster;
    by("candidates").append(card);
  });
  by("more").hidden = candidates.length <= to;
  by("more").textContent = `Show the other ${candidates.length - to}`;
}

function start() {
  const time = data.time === null ? "" : `, at ${data.time.toFixed(3)} s`;
  by("name").textContent = data.name + time;
  by("facts").textContent = `${width}×${height} px; the model sees ${imageWidth}×${imageHeight} px as ${cols}×${rows} = ${plural(count, "patch", "patches")} of ${data.patch} px.`;
  by("footer").textContent = `Backbone ${data.model}, feature ${data.feature} of its last block, ${dim} numbers per patch. Rows and columns count from 0 at the top left; boxes are in pixels of the picture. This page holds all it shows and asks nothing of the network.`;
  by("picture").src = data.picture.url;
  const stage = by("stage"), aspect = width / height;
  const least = Math.min(6000, Math.max(120, 120 * aspect));
  stage.style.width = `max(${least}px, min(100%, ${(72 * aspect).toFixed(3)}vh))`;
  stage.style.aspectRatio = `${width} / ${height}`;
  for (const [key, view] of Object.entries(views)) {
    const input = make("input", { type: "radio", name: "view", value: key, checked: key === state.view });
    input.addEventListener("change", () => { state.view = key; showView(); });
    by("views").append(make("label", {}, input, make("span", {}, view.label)));
  }
  for (const [key, text] of [["view", "the view's method"], ["none", "no method"], ...drawnBoxes.map((m) => [m.method, NAMES[m.method]]), ["all", "all methods"]]) {
    by("boxes-of").append(make("option", { value: key }, text));
  }
  by("boxes-of").value = state.boxesOf;
  state.pointed = state.other = data.methods[0].boxes[0]?.seed ?? data.lost.seed;
  const drawn = data.methods[0].boxes.length;
  by("candidates-lead").textContent = candidates.length
    ? `${plural(candidates.length, "cluster")}, ${plural(drawn, "box", "boxes")}. A dashed box was not drawn; its card says why.`
    : "There is none: no patch passes box counting.";
  if (past) showPast();
  showMethods();
  showCandidates(0, SHOWN);
  by("more").addEventListener("click", () => showCandidates(SHOWN, candidates.length));
  listen();
  showView();
  showNumbers();
}
start();
