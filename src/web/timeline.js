"use strict";
// What happened: a row for each event, the newest first, from /events.json and then, as they come, from /events.
const timeline = by("timeline"), rows = by("rows"), filters = timeline.querySelector("form");
const MOST_ROWS = 500, RECENT_MS = 60000;
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const at = (line) => line.zone ?? "a zone";
/** What is said of each event while it goes on, and once it is over. */
const SAYINGS = {
  object: [() => "something came", () => "something came and left"],
  stopped: [() => "something stopped", () => "something stood"],
  zone: [(line) => `something entered ${at(line)}`, (line) => `something was in ${at(line)}`],
  stay: [(line) => `something stays in ${at(line)}`, (line) => `something stayed in ${at(line)}`],
  line: [null, (line) => `something crossed ${line.zone ?? "a line"}${line.side ? ` to the ${line.side}` : ""}`],
  left_behind: [() => "something was left behind", () => "something left behind is gone"],
  taken_away: [null, () => "something was taken away"],
  camera_moved: [() => "the camera moves", () => "the camera was moved"],
  covered: [() => "the camera is covered", () => "the camera was covered"],
  light: [null, () => "the light changed"],
};
let known = new Map(), chosen = null, stream = null, turn = 0, oldest = null, newest = null, until = null, followed = [];

/** An event; its line is the last that is known of it. */
class Happening {
  constructor(line) {
    this.element = by("row").content.firstElementChild.cloneNode(true);
    this.element.onfocus = () => this.choose();
    this.element.onclick = () => this.element.focus();
    this.element.onkeydown = (event) => event.key === "Enter" && this.tile()?.go();
    this.show(line);
  }

  show(line) {
    this.line = line;
    const set = (selector, text) => { this.element.querySelector(selector).textContent = text; };
    const isOpen = line.phase !== "end", lasted = (line.pts_ns - line.since_ns) / 1e9, time = this.element.querySelector("time");
    this.begun = line.at_unix_ns === undefined ? null : new Date(line.at_unix_ns / 1e6 - 1000 * lasted);
    if (this.begun) {
      const date = day.format(this.begun);
      [time.dateTime, time.textContent] = [this.begun.toISOString(), `${date === day.format(new Date()) ? "" : `${date} `}${clock.format(this.begun)}`];
    } else time.textContent = `at ${span(line.since_ns / 1e9)}`;
    this.said = (SAYINGS[line.event]?.[isOpen ? 0 : 1] ?? (() => line.event))(line);
    set(".who", line.source);
    set(".what", this.said);
    set(".lasts", isOpen ? "goes on" : line.interrupted ? `${span(lasted)}, interrupted` : lasted > 0 ? span(lasted) : "");
    this.element.dataset.event = line.event;
    this.element.classList.toggle("open", isOpen);
    this.element.classList.toggle("pictured", line.picture !== undefined);
    if (chosen === this) this.mark();
  }

  /** Its best picture; of another line of the same event it may be another. */
  picture() {
    const shot = this.element.querySelector("img"), { picture, seq, source, width, height } = this.line;
    shot.hidden = chosen !== this || picture === undefined;
    if (shot.hidden) return;
    [shot.width, shot.height, shot.alt] = [width, height, `Picture: ${source}, ${this.said}`];
    shot.onerror = () => { shot.hidden = true; };
    shot.src = `events/${seq}.jpg`;
  }

  tile() {
    return tiles.find((tile) => tile.name === this.line.source);
  }

  choose() {
    for (const other of [chosen, this]) other?.element.setAttribute("aria-selected", String(other === this));
    const last = chosen;
    chosen = this;
    if (last) last.element.tabIndex = -1;
    this.element.tabIndex = 0;
    last?.picture();
    this.mark();
  }

  /** Shows its picture, and where it is in the picture of now: only as long as that may still be so. */
  mark() {
    this.picture();
    for (const tile of tiles) tile.mark(null);
    const { bbox, width, height, phase, pts_ns, since_ns } = this.line;
    const ended = this.begun && Number(this.begun) + (pts_ns - since_ns) / 1e6;
    if (bbox && (phase !== "end" || Date.now() - ended < RECENT_MS)) {
      this.tile()?.mark([bbox[0] / width, bbox[1] / height, bbox[2] / width, bbox[3] / height]);
    }
  }
}

/** A word to choose by, once. */
function offer(select, word) {
  if (word && ![...select.options].some((option) => option.value === word)) select.add(new Option(word, word));
}

function put(line, isOlder) {
  const key = JSON.stringify([line.run, line.source, line.id]), row = known.get(key);
  offer(filters.source, line.source);
  offer(filters.zone, line.zone);
  if (!row) {
    const row = new Happening(line);
    known.set(key, row);
    isOlder ? rows.append(row.element) : rows.prepend(row.element);
    rows.firstElementChild.tabIndex = chosen ? -1 : 0;
    if (chosen) chosen.element.tabIndex = 0;
  } else if (line.seq > row.line.seq) row.show(line);
  else if (line.phase === "start") rows.append(row.element);
  while (!isOlder && known.size > MOST_ROWS) {
    const last = [...known].find(([, row]) => row.element === rows.lastElementChild);
    if (last[1] === chosen) chosen = null;
    known.delete(last[0]);
    last[1].element.remove();
  }
  by("nothing").hidden = true;
  return known.get(key);
}

/** What is asked for, as the address has it. */
function question() {
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) {
    if (value) asked.set(name, filters[name].type === "datetime-local" ? new Date(value).toISOString() : value);
  }
  return asked;
}

async function list(asked, more) {
  const answer = await fetch(`events.json?${new URLSearchParams([...asked, ...Object.entries(more)])}`, { cache: "no-store" });
  timeline.hidden = answer.status === 204;
  if (answer.status === 204) return null;
  if (!answer.ok) throw new Error(await answer.text());
  const listed = await answer.json();
  oldest = listed.events.at(-1)?.seq ?? oldest;
  by("older").hidden = !listed.has_more;
  return listed;
}

/** Asks anew, and follows from there. */
async function load() {
  const mine = ++turn, asked = question();
  stream?.close();
  newest = null;
  const listed = await list(asked, { limit: 200 }).catch(() => null);
  if (mine !== turn) return;
  if (!listed) {
    await wait(5000);
    return mine === turn ? load() : null;
  }
  [known, chosen] = [new Map(), null];
  rows.replaceChildren();
  tiles.forEach((tile) => tile.mark(null));
  by("nothing").hidden = false;
  listed.events.reverse().forEach((line) => put(line, false));
  [newest, until] = [listed.newest, filters.to.value && new Date(filters.to.value)];
  followed = [...asked].filter(([name]) => name !== "from" && name !== "to");
  follow();
}

/** From the newest that is known, while somebody can see it: a browser has few connections for all pages of a host. */
function follow() {
  stream?.close();
  if (document.hidden || newest === null) return;
  const mine = turn;
  stream = new EventSource(`events?${new URLSearchParams([...followed, ["after", newest]])}`);
  stream.onmessage = (event) => {
    const line = JSON.parse(event.data);
    newest = line.seq;
    if (until && !(line.at_unix_ns / 1e6 < until)) return;
    const row = put(line, false);
    if (line.phase === "start" || line.since_ns === line.pts_ns) say(`${line.source}: ${row.said}`);
  };
  stream.onerror = async (event) => {
    // It comes back by itself where it was, unless it was refused.
    if (event.target.readyState !== EventSource.CLOSED) return;
    await wait(5000);
    if (mine === turn) load();
  };
}

document.addEventListener("visibilitychange", follow);
filters.onchange = load;
filters.onsubmit = (event) => event.preventDefault();
filters.onreset = () => setTimeout(load);
filters.source.onfocus = () => tiles.forEach((tile) => offer(filters.source, tile.name));
by("older").onclick = () => list(question(), { limit: 200, before: oldest }).then((listed) => listed.events.forEach((line) => put(line, true)), () => {});
rows.addEventListener("keydown", (event) => {
  const all = [...rows.children], place = all.indexOf(document.activeElement);
  const to = { ArrowDown: place + 1, ArrowUp: place - 1, PageDown: place + 10, PageUp: place - 10, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  all[Math.max(0, Math.min(all.length - 1, to))]?.focus();
  event.preventDefault();
});
load();
