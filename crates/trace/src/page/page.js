// What the reader does: search, zoom, move, select.

function start() {
  const data = load(), by = id => document.getElementById(id);
  const page = {
    data, overview: by('overview'), timeline: by('timeline'), theme: theme(), tab: 'waits', selected: -1,
    view: { from: 0, to: data.end, row: 0 }, found: [], rows: [],
  };
  const dropped = data.hubs.reduce((sum, hub) => sum + hub.dropped, 0);
  document.querySelector('h1').textContent = data.title;
  if (dropped) {
    by('dropped').hidden = false;
    by('dropped').textContent = `${dropped.toLocaleString('en')} events came faster than they were read, or before the `
      + 'last ones that were kept: what they would have told is missing.';
  }

  let drawing = false, settling = 0;
  const draw = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      drawOverview(page);
      drawTimeline(page);
      by('range').textContent = `${duration(page.view.from)} to ${duration(page.view.to)}`;
    });
  };
  // The panel is about what is in view, once it stands still.
  const changed = () => {
    draw();
    clearTimeout(settling);
    settling = setTimeout(() => {
      if (by('in-view').checked) chooseRows();
      drawPanel(page);
      document.documentElement.dataset.settled = Number(document.documentElement.dataset.settled || 0) + 1;
    }, 120);
  };
  const chooseRows = () => {
    const { view } = page;
    const inView = track => changeAt(data, track, view.to) > changeAt(data, track, view.from);
    page.rows = by('in-view').checked ? page.found.filter(inView) : page.found;
    by('found').textContent = `${page.rows.length.toLocaleString('en')} of ${data.tracks.toLocaleString('en')} green `
      + `threads, ${data.events.toLocaleString('en')} events`;
    draw();
  };
  const look = (from, to) => {
    const span = Math.min(data.end, Math.max(20, to - from));
    page.view.from = Math.max(0, Math.min(from, data.end - span));
    page.view.to = page.view.from + span;
    changed();
  };
  const zoom = (factor, at = (page.view.from + page.view.to) / 2) => {
    look(at - (at - page.view.from) * factor, at + (page.view.to - at) * factor);
  };
  const move = part => {
    const by = part * (page.view.to - page.view.from);
    look(page.view.from + by, page.view.to + by);
  };
  page.show = (track, from, to) => {
    page.selected = track;
    const row = page.rows.indexOf(track);
    if (row >= 0 && !(row >= page.view.row && row < page.view.row + page.rowCount)) page.view.row = row - 2;
    look(from - (to - from) / 2, to + (to - from) / 2);
  };

  const timeAt = event => {
    const { left, width } = page.timeline.getBoundingClientRect();
    return page.view.from + (event.clientX - left - GUTTER) / (width - GUTTER) * (page.view.to - page.view.from);
  };
  const pointedAt = event => {
    const y = event.clientY - page.timeline.getBoundingClientRect().top - AXIS;
    const track = y < 0 ? undefined : page.rows[Math.floor(page.view.row) + Math.floor(y / ROW)];
    if (track === undefined) return {};
    const change = changeAt(data, track, timeAt(event));
    return { track, change: change < data.first[track] ? -1 : change };
  };
  page.timeline.addEventListener('wheel', event => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) zoom(1.0015 ** event.deltaY, timeAt(event));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) move((event.deltaX || event.deltaY) / 1500);
    else {
      page.view.row += event.deltaY / ROW;
      draw();
    }
  }, { passive: false });
  let held = null;
  page.timeline.addEventListener('pointerdown', event => {
    held = { x: event.clientX, y: event.clientY, ...page.view };
    page.timeline.setPointerCapture(event.pointerId);
  });
  page.timeline.addEventListener('pointerup', () => {
    held = null;
  });
  page.timeline.addEventListener('pointermove', event => {
    if (held) {
      const by = (held.x - event.clientX) / (page.timeline.clientWidth - GUTTER) * (held.to - held.from);
      page.view.row = held.row + (held.y - event.clientY) / ROW;
      if (held.x !== event.clientX) look(held.from + by, held.to + by); else draw();
      return;
    }
    const { track, change } = pointedAt(event);
    if (track === undefined || change < 0) return;
    const from = data.time[change], length = until(data, track, change) - from;
    const woken = (data.what[change] & 3) === WAITING ? wokenBy(data, track, from, from + length) : '';
    by('hint').textContent = `${label(data, track)} ${describe(data, change)}, from ${duration(from)}, for `
      + duration(length) + (woken && `, woken by ${woken}`);
  });
  page.timeline.addEventListener('click', event => {
    page.selected = pointedAt(event).track ?? -1;
    draw();
  });
  page.timeline.addEventListener('dblclick', event => {
    const { track, change } = pointedAt(event);
    if (change >= 0) page.show(track, data.time[change], until(data, track, change));
  });
  const chooseFromOverview = event => {
    const { left, width } = page.overview.getBoundingClientRect();
    return Math.max(0, (event.clientX - left - GUTTER) / (width - GUTTER)) * data.end;
  };
  let chosen = null;
  page.overview.addEventListener('pointerdown', event => {
    chosen = chooseFromOverview(event);
    page.overview.setPointerCapture(event.pointerId);
  });
  page.overview.addEventListener('pointermove', event => {
    if (chosen === null) return;
    const other = chooseFromOverview(event);
    if (chosen !== other) look(Math.min(chosen, other), Math.max(chosen, other));
  });
  page.overview.addEventListener('pointerup', () => {
    chosen = null;
  });

  by('search').addEventListener('input', event => {
    page.found = search(data, event.target.value);
    page.view.row = 0;
    chooseRows();
    changed();
  });
  by('in-view').addEventListener('change', chooseRows);
  by('zoom-in').onclick = () => zoom(0.5);
  by('zoom-out').onclick = () => zoom(2);
  by('whole').onclick = () => look(0, data.end);
  addEventListener('keydown', event => {
    if (event.target === by('search') || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { w: () => zoom(0.7), s: () => zoom(1.4), a: () => move(-0.2), d: () => move(0.2), 0: () => look(0, data.end) };
    keys[event.key]?.();
  });
  for (const button of document.querySelectorAll('nav button')) {
    button.onclick = () => {
      page.tab = button.dataset.tab;
      page.inside = null;
      drawPanel(page);
    };
  }
  addEventListener('resize', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    page.theme = theme();
    draw();
  });

  page.found = search(data, '');
  chooseRows();
  drawPanel(page);
  // For the test: when all was drawn, in milliseconds since the page began to load.
  requestAnimationFrame(() => setTimeout(() => {
    document.documentElement.dataset.ready = Math.round(performance.now());
  }));
  return page;
}

const page = start();
