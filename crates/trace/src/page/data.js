'use strict';
// The events as the page was given them: columns of numbers, used as they are.

const NONE = 0xffffffff;
const READY = 0, RUNNING = 1, WAITING = 2, ENDED = 3;
const WOKEN_BY = ['', 'a timer', 'I/O', 'another OS thread'];
const NOTES = ['timer late by', 'blocking call in line for', 'blocking call ran for',
  "waited for the interpreter's lock for", 'events lost'];
const LOST = 4;
// What the loop of a hub waits for: nobody's trouble.
const IDLE = 'timers and I/O';

function decode(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text).buffer;
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes.buffer;
}

function load() {
  const shape = JSON.parse(document.getElementById('shape').textContent);
  const buffer = decode(document.getElementById('columns').textContent);
  let at = 0;
  const column = (kind, length) => {
    const view = new kind(buffer, at, length);
    at += view.byteLength;
    return view;
  };
  const { tracks, changes, arrows, notes } = shape;
  const data = {
    ...shape,
    time: column(Float64Array, changes), arrowTime: column(Float64Array, arrows), noteTime: column(Float64Array, notes),
    hub: column(Uint32Array, tracks), name: column(Uint32Array, tracks), madeBy: column(Uint32Array, tracks),
    id: column(Uint32Array, tracks), count: column(Uint32Array, tracks), what: column(Uint32Array, changes),
    arrowFrom: column(Uint32Array, arrows), arrowTo: column(Uint32Array, arrows),
    noteTrack: column(Uint32Array, notes), noteKind: column(Uint32Array, notes), noteValue: column(Uint32Array, notes),
  };
  // Where the changes of each track begin; those of the next one follow.
  data.first = new Uint32Array(tracks + 1);
  for (let track = 0; track < tracks; track++) data.first[track + 1] = data.first[track] + data.count[track];
  data.end = Math.max(1, ...data.hubs.map(hub => hub.end));
  // How long a track has run before each of its changes. Whatever is drawn smaller than its changes is drawn by this.
  data.ran = new Float64Array(changes);
  for (let track = 0; track < tracks; track++) {
    let sum = 0;
    for (let i = data.first[track]; i < data.first[track + 1]; i++) {
      data.ran[i] = sum;
      if ((data.what[i] & 3) === RUNNING) sum += until(data, track, i) - data.time[i];
    }
  }
  // The arrows to each track, oldest first.
  data.firstArrow = new Uint32Array(tracks + 1);
  for (let i = 0; i < arrows; i++) data.firstArrow[(data.arrowTo[i] >>> 2) + 1]++;
  for (let track = 0; track < tracks; track++) data.firstArrow[track + 1] += data.firstArrow[track];
  data.arrowsTo = new Uint32Array(arrows);
  const next = data.firstArrow.slice();
  for (let i = 0; i < arrows; i++) data.arrowsTo[next[data.arrowTo[i] >>> 2]++] = i;
  data.idle = data.texts.indexOf(IDLE);
  return data;
}

// When the state that a track's change began has ended.
function until(data, track, change) {
  return change + 1 < data.first[track + 1] ? data.time[change + 1] : data.hubs[data.hub[track]].end;
}

// The last change of a track at or before a time; one before its first if it was not there yet.
function changeAt(data, track, time) {
  let low = data.first[track], high = data.first[track + 1];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (data.time[middle] <= time) low = middle + 1; else high = middle;
  }
  return low - 1;
}

// How long a track had run by a time.
function ranBy(data, track, time) {
  const change = changeAt(data, track, time);
  if (change < data.first[track]) return 0;
  const ended = Math.min(time, until(data, track, change));
  return data.ran[change] + ((data.what[change] & 3) === RUNNING ? ended - data.time[change] : 0);
}

// The last wake of a track in a part of time, or -1.
function wakeIn(data, track, from, to) {
  let low = data.firstArrow[track], high = data.firstArrow[track + 1];
  const first = low;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (data.arrowTime[data.arrowsTo[middle]] <= to) low = middle + 1; else high = middle;
  }
  if (low === first) return -1;
  const arrow = data.arrowsTo[low - 1];
  return data.arrowTime[arrow] >= from ? arrow : -1;
}

function label(data, track) {
  return `${data.texts[data.name[track]]} #${data.id[track]}`.trimStart();
}

function describe(data, change) {
  const text = data.texts[data.what[change] >>> 2];
  switch (data.what[change] & 3) {
    case READY: return 'ready';
    case RUNNING: return text ? `ran in ${text.split(';').join(' › ')}` : 'ran';
    case WAITING: return `waited for ${text}`;
    default: return 'ended';
  }
}

function wokenBy(data, track, from, to) {
  const arrow = wakeIn(data, track, from, to);
  if (arrow < 0) return '';
  const by = data.arrowTo[arrow] & 3, who = data.arrowFrom[arrow];
  if (by) return WOKEN_BY[by];
  return who === NONE ? '' : label(data, who);
}

function duration(nanoseconds) {
  for (const [unit, size] of [['s', 1e9], ['ms', 1e6], ['µs', 1e3]]) {
    if (nanoseconds >= size) return `${(nanoseconds / size).toPrecision(4)} ${unit}`;
  }
  return `${Math.round(nanoseconds)} ns`;
}

// Which tracks a search finds: by name, by number, or by what they waited for or ran in.
function search(data, wanted) {
  const text = wanted.trim().toLowerCase();
  const found = [];
  const matches = data.texts.map(candidate => candidate.toLowerCase().includes(text));
  const number = /^#\d+$/.test(text) ? Number(text.slice(1)) : NaN;
  for (let track = 0; track < data.tracks; track++) {
    let match = !text || matches[data.name[track]] || data.id[track] === number;
    for (let i = data.first[track]; !match && i < data.first[track + 1]; i++) match = matches[data.what[i] >>> 2];
    if (match) found.push(track);
  }
  return found;
}

// The `most` longest states of one kind that touch a part of time, longest first.
function longest(data, tracks, state, from, to, most) {
  let found = [], least = 0;
  for (const track of tracks) {
    const last = data.first[track + 1];
    for (let i = Math.max(data.first[track], changeAt(data, track, from)); i < last && data.time[i] <= to; i++) {
      if ((data.what[i] & 3) !== state || (state === WAITING && data.what[i] >>> 2 === data.idle)) continue;
      const length = until(data, track, i) - data.time[i];
      if (length <= least) continue;
      found.push({ track, change: i, length });
      if (found.length === 4 * most) {
        found = found.sort((a, b) => b.length - a.length).slice(0, most);
        least = found[most - 1].length;
      }
    }
  }
  return found.sort((a, b) => b.length - a.length).slice(0, most);
}

// Run time by hub, by who made whom, and by frames where they are known.
function flame(data, tracks, from, to) {
  const root = { name: 'all', total: 0, depth: 0, children: new Map() };
  const child = (node, name) => {
    let found = node.children.get(name);
    if (!found) node.children.set(name, found = { name, total: 0, depth: node.depth + 1, parent: node, children: new Map() });
    return found;
  };
  const places = new Array(data.tracks);
  const place = track => {
    // Up to the nearest maker that is known, and down again.
    const line = [];
    while (!places[track] && line.length < 1000) {
      line.push(track);
      if (data.madeBy[track] === NONE) break;
      track = data.madeBy[track];
    }
    for (const one of line.reverse()) {
      const maker = data.madeBy[one] === NONE ? null : places[data.madeBy[one]];
      const above = maker || child(root, data.hubs[data.hub[one]].name);
      const name = data.texts[data.name[one]] || 'no name';
      places[one] = above.name === name || above.depth > 30 ? above : child(above, name);
    }
    return line.length ? places[line[line.length - 1]] : places[track];
  };
  const add = (node, time) => {
    for (; node; node = node.parent) node.total += time;
  };
  for (const track of tracks) {
    let plain = ranBy(data, track, to) - ranBy(data, track, from);
    if (plain <= 0) continue;
    const last = data.first[track + 1];
    for (let i = Math.max(data.first[track], changeAt(data, track, from)); i < last && data.time[i] <= to; i++) {
      const text = data.what[i] >>> 2;
      if ((data.what[i] & 3) !== RUNNING || !text) continue;
      const time = Math.min(to, until(data, track, i)) - Math.max(from, data.time[i]);
      add(data.texts[text].split(';').reduce(child, place(track)), time);
      plain -= time;
    }
    if (plain > 0) add(place(track), plain);
  }
  return root;
}
