// What is drawn: the overview, the timeline, and the panel under it.

const GUTTER = 220, ROW = 18, AXIS = 20;

function colour(number, dark) {
  return `hsl(${(number * 137.5) % 360} ${dark ? 45 : 60}% ${dark ? 55 : 62}%)`;
}

// A canvas in the size it has on the page, in device pixels; what is drawn is in CSS pixels.
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '11px system-ui, sans-serif';
  pen.textBaseline = 'middle';
  return { pen, width, height };
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colours = Object.fromEntries(['back', 'text', 'faint', 'line', 'wait', 'ready'].map(
    name => [name, style.getPropertyValue(`--${name}`).trim()]));
  return { ...colours, dark: matchMedia('(prefers-color-scheme: dark)').matches };
}

// How busy each hub was in each of `width` parts of the whole time. The hub's loop counts as busy while it runs.
function busy(data, width) {
  const parts = data.hubs.map(() => new Float64Array(width)), each = data.end / width;
  for (let track = 0; track < data.tracks; track++) {
    const part = parts[data.hub[track]];
    for (let i = data.first[track]; i < data.first[track + 1]; i++) {
      if ((data.what[i] & 3) !== RUNNING) continue;
      const to = until(data, track, i);
      let from = data.time[i], at = Math.min(width - 1, Math.floor(from / each));
      for (; at < width && from < to; at++) {
        const next = Math.min(to, (at + 1) * each);
        part[at] += (next - from) / each;
        from = next;
      }
    }
  }
  return parts;
}

function drawOverview(page) {
  const { pen, width, height } = prepare(page.overview), { data, view, theme } = page;
  const inner = Math.max(1, width - GUTTER);
  if (!page.busy || page.busy[0]?.length !== Math.floor(inner)) page.busy = busy(data, Math.floor(inner));
  const each = height / Math.max(1, page.busy.length);
  page.busy.forEach((part, hub) => {
    pen.fillStyle = colour(hub, theme.dark);
    for (let x = 0; x < part.length; x++) {
      const size = Math.min(1, part[x]) * (each - 2);
      if (size > 0) pen.fillRect(GUTTER + x, (hub + 1) * each - size - 1, 1, size);
    }
    pen.fillStyle = theme.text;
    pen.fillText(`${data.hubs[hub].name}: busy`, 8, hub * each + each / 2, GUTTER - 12);
  });
  const scale = inner / data.end;
  pen.fillStyle = theme.dark ? '#ffffff30' : '#00000018';
  pen.fillRect(GUTTER, 0, view.from * scale, height);
  pen.fillRect(GUTTER + view.to * scale, 0, inner - view.to * scale, height);
}

function drawAxis(page, pen, width) {
  const { view, theme } = page, inner = width - GUTTER, span = view.to - view.from;
  const rough = span / Math.max(1, inner / 110), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  pen.fillStyle = theme.faint;
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const x = GUTTER + (time - view.from) / span * inner;
    pen.fillRect(x, 0, 1, 5);
    pen.fillText(duration(time), x + 3, 10);
  }
}

function drawTimeline(page) {
  const { pen, width, height } = prepare(page.timeline), { data, view, theme, rows } = page;
  const inner = width - GUTTER, scale = inner / (view.to - view.from);
  page.rowCount = Math.max(1, Math.floor((height - AXIS) / ROW));
  view.row = Math.max(0, Math.min(view.row, rows.length - page.rowCount));
  const first = Math.floor(view.row);
  page.placed = new Map();
  for (let place = 0; place <= page.rowCount && first + place < rows.length; place++) {
    const track = rows[first + place], y = AXIS + place * ROW;
    page.placed.set(track, y + ROW / 2);
    if (track === page.selected) {
      pen.fillStyle = theme.dark ? '#ffffff18' : '#0000000d';
      pen.fillRect(0, y, width, ROW);
    }
    drawLife(page, pen, track, y, inner, scale);
    pen.fillStyle = theme.back;
    pen.fillRect(0, y, GUTTER - 2, ROW);
    pen.fillStyle = theme.text;
    const hub = data.hubs.length > 1 ? `${data.hubs[data.hub[track]].name} · ` : '';
    pen.fillText(hub + label(data, track), 8, y + ROW / 2, GUTTER - 14);
  }
  pen.fillStyle = theme.back;
  pen.fillRect(0, 0, width, AXIS);
  drawAxis(page, pen, width);
  drawArrows(page, pen, scale);
  if (rows.length > page.rowCount) {
    pen.fillStyle = theme.line;
    const size = Math.max(12, (height - AXIS) * page.rowCount / rows.length);
    pen.fillRect(width - 5, AXIS + (height - AXIS - size) * view.row / (rows.length - page.rowCount), 5, size);
  }
}

// One row. Where changes are closer than pixels, a pixel shows how much of its time was run: it costs the same however
// many changes there are.
function drawLife(page, pen, track, y, inner, scale) {
  const { data, view, theme } = page, last = data.first[track + 1] - 1;
  let change = Math.max(data.first[track], changeAt(data, track, view.from));
  const running = colour(data.name[track], theme.dark);
  while (change <= last && data.time[change] < view.to) {
    const from = Math.max(view.from, data.time[change]), to = Math.min(view.to, until(data, track, change));
    const x = (from - view.from) * scale, length = (to - from) * scale;
    if (length >= 1 || change === last) {
      drawState(page, pen, change, running, GUTTER + x, y, Math.max(1, length));
      change++;
      continue;
    }
    const pixel = Math.floor(x), end = view.from + (pixel + 1) / scale;
    const next = Math.max(change + 1, changeAt(data, track, end));
    const part = Math.min(1, (ranBy(data, track, end) - ranBy(data, track, from)) * scale);
    pen.fillStyle = theme.wait;
    pen.fillRect(GUTTER + pixel, y + 2, 1, ROW - 4);
    pen.fillStyle = running;
    const size = Math.max(part > 0 ? 1.5 : 0, part * (ROW - 4));
    pen.fillRect(GUTTER + pixel, y + ROW - 2 - size, 1, size);
    change = next;
  }
}

function drawState(page, pen, change, running, x, y, length) {
  const { data, theme } = page, state = data.what[change] & 3;
  if (state === ENDED) return;
  pen.fillStyle = state === RUNNING ? running : state === READY ? theme.ready : theme.wait;
  const inset = state === RUNNING ? 1 : state === READY ? 6 : 3;
  pen.fillRect(x, y + inset, length, ROW - 2 * inset);
  const text = data.texts[data.what[change] >>> 2];
  if (length > 40 && text && state !== READY) {
    pen.fillStyle = state === RUNNING ? '#10151c' : theme.faint;
    pen.fillText(text.slice(text.lastIndexOf(';') + 1), x + 4, y + ROW / 2 + 1, length - 8);
  }
}

// Wakes between rows that are shown; while there are many, only those of the selected one.
function drawArrows(page, pen, scale) {
  const { data, view } = page, all = [];
  const lower = time => {
    let low = 0, high = data.arrows;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (data.arrowTime[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  };
  const first = lower(view.from), last = lower(view.to);
  if (last - first > 200000) return;
  for (let i = first; i < last && all.length <= 400; i++) {
    const from = data.arrowFrom[i], to = data.arrowTo[i] >>> 2;
    if (from === NONE || from === to || !page.placed.has(from) || !page.placed.has(to)) continue;
    if (last - first > 400 && from !== page.selected && to !== page.selected) continue;
    all.push(i);
  }
  pen.strokeStyle = pen.fillStyle = page.theme.faint;
  for (const i of all) {
    const x = GUTTER + (data.arrowTime[i] - view.from) * scale;
    const from = page.placed.get(data.arrowFrom[i]), to = page.placed.get(data.arrowTo[i] >>> 2);
    const tip = to > from ? -4 : 4;
    pen.beginPath();
    pen.moveTo(x + 0.5, from);
    pen.lineTo(x + 0.5, to);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x + 0.5, to);
    pen.lineTo(x - 2.5, to + tip);
    pen.lineTo(x + 3.5, to + tip);
    pen.fill();
  }
}

function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  Object.assign(made, attributes);
  return made;
}

function table(heads, lines) {
  const made = element('table'), head = made.createTHead().insertRow(), body = made.createTBody();
  heads.forEach(text => head.append(element('th', text)));
  for (const { cells, go } of lines) {
    const row = body.insertRow();
    cells.forEach(text => {
      row.insertCell().textContent = text;
    });
    row.onclick = go;
  }
  return made;
}

const PANELS = {
  flame(page, panel) {
    const { data, view } = page;
    const root = flame(data, page.found, view.from, view.to);
    const shown = page.inside && find(root, page.inside) || root;
    const path = node => node.parent ? [...path(node.parent), node.name] : [];
    const draw = (node, left, width, row) => {
      if (width < 0.1) return;
      const part = `${(100 * node.total / (view.to - view.from)).toPrecision(3)} % of the time shown`;
      const frame = element('div', node.name, { className: 'frame', title: `${node.name}: ${duration(node.total)}, ${part}` });
      let hash = 0;
      for (const letter of node.name) hash = (hash * 31 + letter.codePointAt(0)) % 997;
      frame.style.cssText = `left:${left}%;width:${width}%;top:${4 + row * 18}px;background:${colour(hash, false)}`;
      frame.onclick = () => {
        page.inside = path(node);
        drawPanel(page);
      };
      panel.append(frame);
      let at = left;
      const children = [...node.children.values()].sort((a, b) => b.total - a.total);
      for (const child of children) {
        const size = width * child.total / node.total;
        draw(child, at, size, row + 1);
        at += size;
      }
    };
    if (root.total > 0) draw(shown, 0, 100, 0); else panel.append('Nothing that was found ran in this time.');
  },
  waits(page, panel) {
    panel.append(states(page, WAITING, ['green thread', 'waited for', 'from', 'how long', 'woken by']));
  },
  runs(page, panel) {
    panel.append(states(page, RUNNING, ['green thread', 'without giving way', 'from', 'how long', 'woken by']));
  },
  notes(page, panel) {
    const { data, view } = page, found = [];
    for (let i = 0; i < data.notes; i++) if (data.noteTime[i] >= view.from && data.noteTime[i] <= view.to) found.push(i);
    found.sort((a, b) => data.noteValue[b] - data.noteValue[a]);
    const lines = found.slice(0, 200).map(i => {
      const track = data.noteTrack[i], lost = data.noteKind[i] === LOST;
      const value = lost ? data.noteValue[i] : duration(1000 * data.noteValue[i]);
      const cells = [track === NONE ? '' : label(data, track), NOTES[data.noteKind[i]], duration(data.noteTime[i]), value];
      return { cells, go: () => page.show(track, data.noteTime[i] - 1000 * data.noteValue[i], data.noteTime[i]) };
    });
    panel.append(table(['green thread', 'what', 'at', 'how long'], lines));
  },
};

function states(page, state, heads) {
  const { data, view } = page;
  const lines = longest(data, page.found, state, view.from, view.to, 100).map(({ track, change, length }) => {
    const from = data.time[change], to = from + length;
    const woken = state === WAITING ? wokenBy(data, track, from, to)
      : change > data.first[track] ? wokenBy(data, track, data.time[change - 1], from) : '';
    const what = state === WAITING ? data.texts[data.what[change] >>> 2] : describe(data, change);
    return { cells: [label(data, track), what, duration(from), duration(length), woken],
      go: () => page.show(track, from, to) };
  });
  return table(heads, lines);
}

function find(root, path) {
  return path.reduce((node, name) => node?.children.get(name), root);
}

function drawPanel(page) {
  const panel = document.getElementById('panel');
  panel.replaceChildren();
  PANELS[page.tab](page, panel);
  for (const button of document.querySelectorAll('nav button')) {
    button.setAttribute('aria-pressed', button.dataset.tab === page.tab);
  }
}
