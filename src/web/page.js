"use strict";
const by = (id) => document.getElementById(id);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const plural = (n, one) => `${n} ${n === 1 ? one : one + "s"}`;
const whole = new Intl.NumberFormat("en");
const rate = (value) => (value >= 99.95 ? value.toFixed(0) : value.toFixed(1));

/** "12 s", "5 min", "3 h" or "2 d". */
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 86400 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

/** Says to who does not see. */
const sayings = [];
function say(text) {
  sayings.push(text);
  by("said").textContent = sayings.splice(0).join(". ");
}

/** Asks for a change; an error says why it is not made. */
async function change(method, path, body) {
  const answer = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const told = await answer.json();
  if (!answer.ok) throw new Error([told.place, told.value, told.error].filter(Boolean).join(": "));
  return told;
}

let run = null, tiles = [], current = null, answers = true, started = false;
const VEILS = {
  connecting: "Connecting…", live: "Waiting for the first picture…", stalled: "No new frames", lost: "Lost; trying again", ended: "Ended",
};

/** A source on the page. */
class Tile {
  constructor(source) {
    this.number = source.number;
    this.name = source.name;
    this.element = by("tile").content.firstElementChild.cloneNode(true);
    this.at = (selector) => this.element.querySelector(selector);
    this.tag = this.blob = this.state = null;
    this.isHeld = this.isGone = false;
    this.isSeen = true;
    // A long address breaks after its slashes first.
    this.at("h2").append(...source.name.split(/(?<=[/?&=])/).flatMap((part) => [part, document.createElement("wbr")]));
    this.element.ariaLabel = source.name;
    this.at(".save").onclick = () => this.save();
    this.at(".hold").onclick = () => this.hold();
    this.at(".enlarge").onclick = () => this.enlarge();
    this.at(".edit").onclick = () => (this.plan ??= new Plan(this)).toggle();
    this.at(".pause").onclick = () => this.change("POST", this.isPaused ? "/resume" : "/pause");
    this.at(".remove").onclick = () => this.remove();
    this.at(".save").disabled = true;
    this.element.addEventListener("focusin", () => { current = this; });
    watcher.observe(this.element);
    this.follow();
  }

  show(source, ahead, mayChange) {
    const set = (selector, text) => {
      const element = this.at(selector);
      if (element.textContent !== text) element.textContent = text;
    };
    this.element.dataset.state = source.state;
    const lasts = Date.now() / 1000 + ahead - source.state_since;
    set(".state", `${source.state} ${span(lasts)}`);
    const failing = source.outputs.filter((output) => output.failing).map((output) => `not written: ${output.failing}`);
    set(".why", [source.why, ...failing].filter(Boolean).join("; "));
    this.isPaused = source.paused;
    this.element.classList.toggle("paused", source.paused);
    set(".veil", source.paused ? "Paused" : source.state === "live" && this.blob ? "" : VEILS[source.state]);
    this.at(".changes").hidden = this.at(".store").hidden = !mayChange;
    set(".pause", source.paused ? "Resume" : "Pause");
    set(".objects", source.state === "live" ? whole.format(source.objects_now) : "–");
    set(".fps", rate(source.fps));
    set(".inferred", rate(source.inferred_fps));
    set(".passed", whole.format(source.passed_over));
    set(".frames", whole.format(source.frames));
    set(".connections", whole.format(source.connections));
    const latency = source.latency_ms;
    this.at(".latency").replaceChildren(...(latency ? ["p50", "p95", "p99"] : []).map((name) => {
      const part = document.createElement("span"), label = document.createElement("b");
      label.textContent = `${name} `;
      part.append(label, latency[name].toFixed(latency[name] < 10 ? 1 : 0));
      return part;
    }));
    if (!latency) set(".latency", "none yet");
    this.draw(source.objects_each_second);
    if (this.state !== source.state) {
      if (this.state !== null) say(`${this.name}: ${source.state}${source.why ? `, ${source.why}` : ""}`);
      this.state = source.state;
    }
  }

  /** The timeline: a step for each second, bands where no frame came. */
  draw(seconds) {
    const most = Math.max(1, ...seconds), width = 300 / seconds.length, height = (n) => 38 - (36 * n) / most;
    let line = "", area = "", gap = "", isOpen = false;
    seconds.forEach((n, i) => {
      const [left, right] = [(i * width).toFixed(2), ((i + 1) * width).toFixed(2)];
      if (n === null) {
        gap += `M${left} 0H${right}V40H${left}Z`;
        isOpen = false;
        return;
      }
      const y = height(n).toFixed(2);
      line += `${isOpen ? "V" : `M${left} `}${y}H${right}`;
      area += `M${left} 40V${y}H${right}V40Z`;
      isOpen = true;
    });
    this.at(".timeline .line").setAttribute("d", line);
    this.at(".timeline .area").setAttribute("d", area);
    this.at(".timeline .gap").setAttribute("d", gap);
    const top = Math.max(0, ...seconds);
    this.at(".most").textContent = `${gap ? "grey: no frames · " : ""}at most ${top}`;
    this.at(".from").textContent = `${span(seconds.length)} ago`;
    this.at(".timeline svg").ariaLabel = `Objects in the last ${span(seconds.length)}: at most ${top}`;
  }

  /** Asks for the newest picture again and again, while somebody can see it. */
  async follow() {
    while (!this.isGone) {
      const began = performance.now();
      if (!this.isHeld && this.isSeen && !document.hidden && answers) await this.look().catch(() => wait(500));
      const among = tiles.filter((tile) => tile.isSeen && !tile.isHeld).length;
      await wait(Math.max(20, Math.max(80, 40 * among) - (performance.now() - began)));
    }
  }

  async look() {
    const headers = this.tag ? { "If-None-Match": this.tag } : {};
    const answer = await fetch(`sources/${this.number}/picture.jpg`, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
    if (answer.status !== 200) return answer.ok || answer.status === 304 ? null : wait(1000);
    const blob = await answer.blob(), bitmap = await createImageBitmap(blob);
    if (this.isHeld) return bitmap.close();
    const canvas = this.at(".picture"), frame = answer.headers.get("X-Frame"), objects = Number(answer.headers.get("X-Objects"));
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.style.setProperty("--aspect", `${bitmap.width} / ${bitmap.height}`);
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    // The picture, its frame and its objects are of one answer.
    this.at(".frame").textContent = `frame ${whole.format(frame)} · ${plural(objects, "object")}`;
    canvas.ariaLabel = `${this.name}: frame ${frame}, ${plural(objects, "object")}`;
    this.list(JSON.parse(answer.headers.get("X-Tracks")), objects);
    [this.tag, this.blob, this.frame] = [answer.headers.get("ETag"), blob, frame];
    if (this.state === "live" && !this.isPaused) this.at(".veil").textContent = "";
    this.at(".save").disabled = false;
  }

  /** The tracks of the picture shown, and how many objects there are. */
  list(tracks, objects) {
    const lines = tracks.map((track) => `#${track.id} ${track.state} ${span(track.age_s)}`);
    if (objects > tracks.length) lines.push(`${objects - tracks.length} more`);
    this.at(".tracked").hidden = !tracks.length;
    this.at(".tracked ul").replaceChildren(...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  }

  /** Where the picture is within its place: left, top, width, height. */
  part() {
    const canvas = this.at(".picture");
    const scale = Math.min(canvas.clientWidth / canvas.width, canvas.clientHeight / canvas.height);
    const [width, height] = [canvas.width * scale, canvas.height * scale];
    return [canvas.offsetLeft + (canvas.clientWidth - width) / 2, canvas.offsetTop + (canvas.clientHeight - height) / 2, width, height];
  }

  /** Frames a part of the picture, in shares of it; none with null. */
  mark(part) {
    const mark = this.at(".mark");
    mark.hidden = !part;
    if (!part) return;
    const [left, top, width, height] = this.part();
    const place = { left: left + part[0] * width, top: top + part[1] * height, width: (part[2] - part[0]) * width, height: (part[3] - part[1]) * height };
    for (const [name, value] of Object.entries(place)) mark.style.setProperty(name, `${value}px`);
  }

  /** Has the source changed; who may not is told why. */
  async change(method, what) {
    const changed = change(method, `sources/${this.number}${what}`).then(refresh);
    this.at(".about > .fault").textContent = await changed.then(() => "", (error) => error.message);
  }

  remove() {
    const dialog = by("removing");
    by("removing-title").textContent = `Remove ${this.name}?`;
    dialog.returnValue = "";
    dialog.onclose = () => dialog.returnValue === "yes" && this.change("DELETE", "");
    dialog.showModal();
  }

  save() {
    if (!this.blob) return;
    const link = document.createElement("a"), url = URL.createObjectURL(this.blob);
    const name = this.name.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|-+$/g, "").slice(-60) || "source";
    [link.href, link.download] = [url, `${name}-${this.frame}.jpg`];
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say(`Frame ${this.frame} of ${this.name} is saved`);
  }

  hold() {
    this.isHeld = !this.isHeld;
    this.at(".hold").ariaPressed = String(this.isHeld);
    this.at(".frame").classList.toggle("held", this.isHeld);
  }

  enlarge() {
    const is = this.element.classList.toggle("large");
    this.at(".enlarge").ariaPressed = String(is);
    for (const other of tiles) {
      if (other === this || !is) continue;
      other.element.classList.remove("large");
      other.at(".enlarge").ariaPressed = "false";
    }
    this.element.scrollIntoView({ block: "nearest" });
  }

  go() {
    current = this;
    this.element.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const tile = tiles.find((tile) => tile.element === entry.target);
    if (tile) tile.isSeen = entry.isIntersecting;
  }
});

// A tile for each source, the same as long as the source is there.
function build(sources, kept) {
  const old = tiles;
  tiles = sources.map((source) => kept.find((tile) => tile.number === source.number) ?? new Tile(source));
  for (const tile of old.filter((tile) => !tiles.includes(tile))) {
    tile.isGone = true;
    watcher.unobserve(tile.element);
  }
  if (!tiles.includes(current)) current = tiles[0] ?? null;
  by("sources").replaceChildren(...tiles.map((tile) => tile.element));
  if (tiles.length === 1 && !tiles[0].element.classList.contains("large")) tiles[0].enlarge();
}

async function refresh() {
  const answer = await fetch("sources", { cache: "no-store", signal: AbortSignal.timeout(5000) });
  // Started again with another token: the page at the door asks for it.
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(answer.statusText);
  const all = await answer.json();
  const isSame = run === all.run;
  if (!isSame || all.sources.map((source) => source.number).join() !== tiles.map((tile) => tile.number).join()) {
    build(all.sources, isSame ? tiles : []);
    run = all.run;
  }
  // The clock of the server may not be that of this machine.
  const ahead = Date.parse(answer.headers.get("Date")) / 1000 - Math.floor(Date.now() / 1000) || 0;
  all.sources.forEach((source, i) => tiles[i].show(source, ahead, all.may_change));
  by("add").hidden = !all.may_change;
  receivers(all.destinations);
  const live = all.sources.filter((source) => source.state === "live").length;
  by("summary").textContent = `${live} of ${all.sources.length} live`;
  document.title = `${live} of ${all.sources.length} live · mostream`;
  by("footer").textContent = `mostream ${all.version} · run ${all.run} · running for ${span(all.uptime_s)}`;
}

/** Who records are sent to, and how that goes. */
function receivers(destinations) {
  by("sent").hidden = !destinations.length;
  const bytes = new Intl.NumberFormat("en", { notation: "compact", style: "unit", unit: "byte", unitDisplay: "narrow" });
  by("sent").querySelector("tbody").replaceChildren(...destinations.map((to) => {
    const lost = Object.entries(to.lost).filter(([, n]) => n > 0).map(([cause, n]) => `${whole.format(n)} (${cause})`).join(", ");
    const waiting = to.waiting ? `${whole.format(to.waiting)}, ${bytes.format(to.waiting_bytes)}, ${span(to.oldest_age ?? 0)}` : "none";
    const row = document.createElement("tr");
    row.dataset.state = to.state;
    for (const text of [`${to.name} ${to.to}`, to.state, whole.format(to.acknowledged), waiting, lost || "none", to.last_error ?? ""]) {
      row.insertCell().textContent = text;
    }
    return row;
  }));
}

function reach(is) {
  if (is === answers && started) return;
  if (!is) {
    document.title = "no answer · mostream";
    say("mostream does not answer");
  } else if (started) say("mostream answers again");
  [answers, started] = [is, true];
  by("gone").hidden = is;
}

(async () => {
  for (;;) {
    await refresh().then(() => reach(true), () => reach(false));
    await wait(document.hidden ? 5000 : 1000);
  }
})();

by("help").onclick = () => by("keys").showModal();
by("add").onclick = () => by("adding").showModal();
by("adding").querySelector(".cancel").onclick = () => by("adding").close();
by("adding").querySelector("form").onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target, fault = by("adding").querySelector(".fault"), given = new FormData(form);
  // Who says no name has none.
  const source = Object.fromEntries([...given].filter(([, value]) => value.trim()));
  fault.textContent = await change("POST", "sources", source).then((told) => {
    by("adding").close();
    form.reset();
    say(`${told.added.map((source) => source.name).join(", ")} added`);
    return "";
  }, (error) => error.message);
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea, .plan")) return;
  const place = tiles.indexOf(current), key = event.key.toLowerCase();
  if (key === "?") by("keys").showModal();
  else if (key >= "1" && key <= "9") tiles[key - 1]?.go();
  else if (key === "arrowright") tiles[place + 1]?.go();
  else if (key === "arrowleft") tiles[place - 1]?.go();
  else if (key === "s") current?.save();
  else if (key === "p") current?.hold();
  else if (key === "f") current?.enlarge();
  else if (key === "e") (rows.querySelector("[tabindex='0']") ?? filters.source).focus();
  else return;
  event.preventDefault();
});
