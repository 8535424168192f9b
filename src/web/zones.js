"use strict";
// Zones, lines, ignored areas and masks, drawn over a source's picture. Places are shares of it.
const KINDS = { zone: "zone", line: "line", ignore: "ignored area", mask: "privacy mask" };
const LEAST = (kind) => (kind === "line" ? 2 : 3), MOST_CORNERS = 128, LEAST_AREA = 1e-5;
/** Of the cross-hair, and how near to a corner it takes hold of it. */
const STEP = 0.01, LARGE_STEP = 0.1, NEAR = 0.015, NEAR_PX = 12;
const percent = (share) => `${(100 * share).toFixed(1).replace(/\.0$/, "")} %`;
const place = ([x, y]) => `${percent(x)} across, ${percent(y)} down`;
const within = (share) => Math.round(1e4 * Math.min(1, Math.max(0, share))) / 1e4;
const cornersOf = (kind) => (kind === "line" ? "points" : "polygon");

/** Whether two pieces have a point in common. */
function doCross([a, b], [c, d]) {
  const turn = (a, b, c) => Math.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]));
  const isOn = (a, b, at) => turn(a, b, at) === 0 && [0, 1].every((k) => Math.min(a[k], b[k]) <= at[k] && at[k] <= Math.max(a[k], b[k]));
  if (isOn(a, b, c) || isOn(a, b, d) || isOn(c, d, a) || isOn(c, d, b)) return true;
  return turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0;
}

/** What is wrong with corners; empty where nothing is. */
function faultOf(kind, points) {
  const n = points.length, isLine = kind === "line";
  if (n < LEAST(kind)) return `a ${KINDS[kind]} has ${LEAST(kind)} corners or more`;
  const edges = points.map((point, i) => [point, points[(i + 1) % n]]).slice(0, isLine ? n - 1 : n);
  if (edges.some(([a, b]) => a[0] === b[0] && a[1] === b[1])) return "two corners lie on each other";
  if (isLine) return "";
  const isCrossed = edges.some((edge, a) => edges.some((other, b) => b > a + 1 && (b + 1) % n !== a && doCross(edge, other)));
  if (isCrossed) return "its outline crosses itself";
  const twice = edges.reduce((sum, [a, b]) => sum + a[0] * b[1] - b[0] * a[1], 0);
  return Math.abs(twice) / 2 < LEAST_AREA ? "it has no area" : "";
}

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The editor of one source. A shape is a kind, and a table as the file has it. */
class Plan {
  constructor(tile) {
    this.tile = tile;
    this.plan = tile.at(".plan");
    this.form = tile.at(".editor");
    this.isOpen = this.isChanged = false;
    [this.shapes, this.draft, this.chosen, this.held, this.cross] = [[], [], null, null, [0.5, 0.5]];
    this.loaded = {};
    const { kind, name } = this.form.elements, on = (selector, act) => { tile.at(selector).onclick = act; };
    kind.onchange = () => this.show();
    name.oninput = () => this.rename();
    this.form.onsubmit = (event) => { event.preventDefault(); this.draft.length ? this.close() : this.plan.focus(); };
    on(".fresh", () => { this.choose(null); this.plan.focus(); });
    on(".finish", () => this.close());
    on(".back", () => this.back());
    on(".delete", () => this.drop());
    on(".copy", () => this.copy());
    on(".store", () => this.store());
    on(".leave", () => this.toggle());
    this.plan.onkeydown = (event) => this.key(event);
    this.plan.onfocus = () => this.show();
    this.plan.onblur = () => { this.plan.classList.remove("keys"); this.show(); };
    this.plan.onpointerdown = (event) => this.press(event);
    this.plan.onpointermove = (event) => this.drag(event);
    this.plan.onpointerup = this.plan.onpointercancel = () => this.release();
    this.sizes = new ResizeObserver(() => this.show());
  }

  async toggle() {
    this.isOpen = !this.isOpen;
    this.plan.toggleAttribute("hidden", !this.isOpen);
    this.form.hidden = !this.isOpen;
    this.tile.element.classList.toggle("edited", this.isOpen);
    this.tile.at(".edit").ariaExpanded = String(this.isOpen);
    if (!this.isOpen) {
      this.sizes.disconnect();
      return this.tile.at(".edit").focus();
    }
    this.plan.ariaLabel = `Picture of ${this.tile.name} to draw on. Arrow keys move the cross-hair, with Shift by more; Space sets a corner, or takes and puts down one; Enter closes the shape.`;
    if (!this.tile.element.classList.contains("large")) this.tile.enlarge();
    this.sizes.observe(this.tile.at(".picture"));
    // What is drawn and not saved is not lost.
    if (!this.isChanged) await this.load().catch((error) => this.say(error.message));
    this.show();
    this.form.elements.kind.focus();
  }

  async load() {
    const answer = await fetch(`sources/${this.tile.number}/regions`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    this.loaded = await answer.json();
    this.shapes = Object.keys(KINDS).flatMap((kind) => (this.loaded[kind] ?? []).map((table) => ({ kind, table })));
    this.choose(null);
  }

  /** Tells what is wrong, or nothing. */
  say(fault) {
    this.form.querySelector(".fault").textContent = fault;
    return !fault;
  }

  points(shape) {
    return shape.table[cornersOf(shape.kind)];
  }

  /** "zone lawn", "privacy mask 2". */
  title(shape) {
    const alike = this.shapes.filter((other) => other.kind === shape.kind);
    return `${KINDS[shape.kind]} ${shape.table.name ?? alike.indexOf(shape) + 1}`;
  }

  hasName(kind) {
    return kind === "zone" || kind === "line";
  }

  /** What is wrong with a name; empty where nothing is. */
  faultOfName(kind, name, own) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) return "a name is 1 to 64 letters, digits, - and _";
    const isTaken = this.shapes.some((shape) => shape !== own && shape.kind === kind && shape.table.name === name);
    return isTaken ? `there is a ${kind} ${name} already` : "";
  }

  choose(shape) {
    [this.chosen, this.draft, this.held] = [shape, [], null];
    const { kind, name } = this.form.elements;
    if (shape) [kind.value, this.cross] = [shape.kind, [...this.points(shape)[0]]];
    name.value = shape?.table.name ?? "";
    this.say("");
    this.show();
    if (shape) say(`${this.title(shape)} is chosen`);
  }

  rename() {
    if (!this.chosen || !this.hasName(this.chosen.kind)) return;
    const name = this.form.elements.name.value.trim();
    if (!this.say(this.faultOfName(this.chosen.kind, name, this.chosen))) return;
    this.chosen.table.name = name;
    this.isChanged = true;
    this.show();
  }

  /** Sets a corner of the shape that is drawn. */
  set(at) {
    const last = this.draft.at(-1);
    if (last && last[0] === at[0] && last[1] === at[1]) return;
    if (this.draft.length === MOST_CORNERS) return this.say(`${MOST_CORNERS} corners are the most`);
    if (this.chosen) this.choose(null);
    this.draft.push(at);
    this.say("");
    say(`Corner ${this.draft.length}: ${place(at)}`);
    this.show();
  }

  /** Ends the shape that is drawn: it is one of the source's now. */
  close() {
    if (!this.draft.length) return;
    const { kind: { value: kind }, name } = this.form.elements, table = {};
    if (!this.say(faultOf(kind, this.draft))) return;
    if (this.hasName(kind)) {
      const free = (number) => (this.faultOfName(kind, `${kind}-${number}`) ? free(number + 1) : `${kind}-${number}`);
      table.name = name.value.trim() || free(1);
      if (!this.say(this.faultOfName(kind, table.name))) return name.focus();
    }
    table[cornersOf(kind)] = this.draft;
    const shape = { kind, table };
    this.shapes.push(shape);
    this.isChanged = true;
    this.choose(shape);
  }

  /** Takes the last corner back. */
  back() {
    if (!this.draft.pop()) return;
    say(`${plural(this.draft.length, "corner")} left`);
    this.show();
  }

  drop() {
    if (!this.chosen) return;
    say(`${this.title(this.chosen)} is deleted`);
    this.shapes = this.shapes.filter((shape) => shape !== this.chosen);
    this.isChanged = true;
    this.choose(null);
  }

  /** What is drawn, or moved, is let be; then what is chosen. */
  cancel() {
    if (this.held) this.points(this.chosen)[this.held.corner] = this.held.from;
    else if (!this.draft.length) return this.choose(null);
    [this.held, this.draft] = [null, []];
    this.say("");
    this.show();
  }

  /** Takes hold of a corner of the chosen shape, or of none. */
  hold(corner) {
    this.held = { corner, from: this.points(this.chosen)[corner] };
    say(`Corner ${corner + 1} is taken`);
  }

  move(at) {
    this.points(this.chosen)[this.held.corner] = at;
    this.show();
  }

  release() {
    if (!this.held || this.held.byKey) return;
    const at = this.points(this.chosen)[this.held.corner], from = this.held.from;
    if (at[0] !== from[0] || at[1] !== from[1]) this.isChanged = true;
    this.held = null;
    say(`Corner at ${place(at)}`);
    this.show();
  }

  /** Of an event of the mouse, in shares. */
  spot(event) {
    const { left, top, width, height } = this.plan.getBoundingClientRect();
    return [within((event.clientX - left) / width), within((event.clientY - top) / height)];
  }

  press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.plan.focus({ preventScroll: true });
    this.plan.classList.remove("keys");
    const { corner, shape } = event.target.dataset, at = this.cross = this.spot(event);
    const { width, height } = this.plan.getBoundingClientRect();
    const isNear = (other) => Math.hypot((other[0] - at[0]) * width, (other[1] - at[1]) * height) < NEAR_PX;
    if (this.draft.length) {
      const [first] = this.draft;
      // The second click of a double click.
      if (isNear(this.draft.at(-1))) return this.draft.length < LEAST(this.form.elements.kind.value) ? null : this.close();
      const closes = this.form.elements.kind.value !== "line" && this.draft.length >= 3 && isNear(first);
      return closes ? this.close() : this.set(at);
    }
    if (corner !== undefined) {
      this.plan.setPointerCapture(event.pointerId);
      return this.hold(Number(corner));
    }
    return shape === undefined ? this.set(at) : this.choose(this.shapes[shape]);
  }

  drag(event) {
    if (this.held && !this.held.byKey) this.move(this.spot(event));
    else if (this.draft.length) {
      this.cross = this.spot(event);
      this.show();
    }
  }

  /** Space: puts down the corner that is held, takes the one under the cross-hair, or sets one. */
  space() {
    if (this.held) {
      this.held.byKey = false;
      return this.release();
    }
    const isNear = (at) => Math.hypot(at[0] - this.cross[0], at[1] - this.cross[1]) < NEAR;
    const corner = this.chosen ? this.points(this.chosen).findIndex(isNear) : -1;
    if (corner < 0) return this.set([...this.cross]);
    this.hold(corner);
    this.held.byKey = true;
    this.cross = [...this.points(this.chosen)[corner]];
    this.show();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    const [x, y] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (x || y) {
      this.cross = [within(this.cross[0] + x), within(this.cross[1] + y)];
      say(place(this.cross));
      if (this.held) this.move([...this.cross]);
    } else if (event.key === " ") this.space();
    else if (event.key === "Enter") this.held ? this.space() : this.close();
    else if (event.key === "Backspace") this.back();
    else if (event.key === "Delete") this.drop();
    else if (event.key === "Escape") this.cancel();
    else return;
    event.preventDefault();
    this.plan.classList.add("keys");
    this.show();
  }

  /** The source's tables, as the file has them. */
  toml() {
    const written = (value) => (Array.isArray(value) ? `[${value.map(written).join(", ")}]` : JSON.stringify(value));
    const of = (kind) => this.shapes.filter((shape) => shape.kind === kind);
    // Without it the source would have those of all.
    const none = Object.keys(KINDS).filter((kind) => this.loaded[kind]?.length && !of(kind).length).map((kind) => `${kind} = []\n`);
    const tables = Object.keys(KINDS).flatMap(of).map(({ kind, table }) =>
      `[[source.${kind}]]\n${Object.entries(table).map(([key, entry]) => `${key} = ${written(entry)}\n`).join("")}`);
    return [none.join(""), ...tables].filter(Boolean).join("\n");
  }

  async copy() {
    const text = this.form.elements.toml;
    text.select();
    // A page without TLS has no clipboard but on this machine.
    await (navigator.clipboard?.writeText(text.value) ?? Promise.reject()).catch(() => document.execCommand("copy"));
    say("Copied");
  }

  async store() {
    const body = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, this.shapes.filter((shape) => shape.kind === kind).map((shape) => shape.table)]));
    const stored = this.form.querySelector(".stored"), saved = change("PUT", `sources/${this.tile.number}/regions`, body);
    stored.textContent = "";
    this.say(await saved.then((told) => {
      this.isChanged = false;
      stored.textContent = told.saved_to ? `Saved in ${told.saved_to}, and it holds now.` : "It holds now, until this run ends: to keep it, copy the lines into the file.";
      this.show();
      return "";
    }, (error) => error.message));
  }

  /** Where the picture is, and all that is over it. */
  show() {
    if (!this.isOpen) return;
    const [left, top, width, height] = this.tile.part();
    for (const [name, value] of Object.entries({ left, top, width, height })) this.plan.style.setProperty(name, `${value}px`);
    this.plan.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const px = ([x, y]) => [x * width, y * height], path = (points) => points.map((at) => px(at).join(",")).join(" ");
    const { kind, name, toml } = this.form.elements, parts = [];
    const faults = this.shapes.map((shape) => faultOf(shape.kind, this.points(shape)));
    this.shapes.forEach((shape, i) => {
      const points = this.points(shape), tag = shape.kind === "line" ? "polyline" : "polygon", isChosen = shape === this.chosen;
      const group = svg("g", { class: `shape ${isChosen ? "chosen" : ""} ${faults[i] ? "wrong" : ""}`, "data-kind": shape.kind });
      const outline = (of) => svg(tag, { class: of, points: path(points), "data-shape": i });
      group.append(outline("under"), outline("outline"), outline("grip"));
      if (shape.kind === "line") group.append(this.arrow(points.slice(-2).map(px)));
      const middle = shape.kind === "line" ? [0, 1].map((k) => (points[0][k] + points[1][k]) / 2) : [0, 1].map((k) => points.reduce((sum, at) => sum + at[k], 0) / points.length);
      const [x, y] = px(middle);
      group.append(svg("text", { x, y: y - (shape.kind === "line" ? 8 : -5), "data-shape": i }, shape.table.name ?? this.title(shape)));
      if (isChosen) {
        points.map(px).forEach(([cx, cy], corner) => {
          const isHeld = this.held?.corner === corner;
          group.append(svg("circle", { cx, cy, r: 6, class: isHeld ? "corner held" : "corner" }), svg("circle", { cx, cy, r: NEAR_PX, class: "grip", "data-corner": corner }));
        });
      }
      parts.push(group);
    });
    if (this.draft.length) {
      const group = svg("g", { class: "shape draft", "data-kind": kind.value });
      const all = [...this.draft, this.cross];
      group.append(svg("polyline", { class: "under", points: path(all) }), svg("polyline", { class: "outline", points: path(all) }));
      for (const [cx, cy] of this.draft.map(px)) group.append(svg("circle", { cx, cy, r: 5, class: "corner" }));
      parts.push(group);
    }
    const [x, y] = px(this.cross), cross = `M${x} 0V${height}M0 ${y}H${width}`;
    parts.push(svg("path", { class: "cross under", d: cross }), svg("path", { class: "cross", d: cross }));
    this.plan.replaceChildren(...parts);
    kind.disabled = Boolean(this.chosen);
    name.disabled = !this.hasName(kind.value);
    for (const [selector, is] of [[".finish", this.draft.length], [".back", this.draft.length], [".delete", this.chosen]]) this.tile.at(selector).disabled = !is;
    this.tile.at(".fresh").ariaPressed = String(!this.chosen);
    this.list();
    const wrong = faults.findIndex(Boolean);
    this.form.querySelector(".wrong").textContent = wrong < 0 ? "" : `${this.title(this.shapes[wrong])}: ${faults[wrong]}`;
    toml.value = wrong < 0 ? this.toml() : "";
    toml.rows = Math.min(14, Math.max(3, toml.value.split("\n").length));
    this.tile.at(".copy").disabled = wrong >= 0;
    this.tile.at(".store").disabled = wrong >= 0 || !this.isChanged;
    if (this.isChanged) this.form.querySelector(".stored").textContent = "";
  }

  /** Where a line goes to. */
  arrow([[ax, ay], [bx, by]]) {
    const turn = (Math.atan2(by - ay, bx - ax) * 180) / Math.PI;
    return svg("path", { class: "arrow", d: "M2 0L-12 7V-7Z", transform: `translate(${bx} ${by}) rotate(${turn})` });
  }

  /** A button for each shape. */
  list() {
    const list = this.form.querySelector(".shapes");
    while (list.children.length > this.shapes.length) list.lastChild.remove();
    this.shapes.forEach((shape, i) => {
      if (!list.children[i]) list.append(document.createElement("li"));
      const button = list.children[i].firstChild ?? list.children[i].appendChild(document.createElement("button"));
      button.type = "button";
      button.textContent = this.title(shape);
      button.ariaPressed = String(shape === this.chosen);
      button.onclick = () => { this.choose(shape === this.chosen ? null : shape); };
      button.onkeydown = (event) => event.key === "Delete" && shape === this.chosen && (this.drop(), this.form.elements.kind.focus());
    });
  }
}
