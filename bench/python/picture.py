"""A picture of raw figures: a panel a figure, a bar a contender.

picture.py SVG TITLE RESULTS...: files that [keep] has written, whose figures have a unit and turns, or that of
greenlet's comparison. A bar is as long as the median; a thin line reaches from the least to the greatest value.
"""

import json
import pathlib
import sys
from xml.sax.saxutils import escape

from turns import median, shown

WIDTH, MARGIN, GAP, HEADER, FOOTER = 1040, 24, 32, 80, 36
PANEL = (WIDTH - 2 * MARGIN - GAP) // 2
TITLE, ROW, BAR, NAMES, VALUES = 32, 24, 14, 130, 110
LONGEST = PANEL - NAMES - VALUES
GREEN, GREY, INK, PALE_INK = "#2f8f4e", "#a9b4bd", "#1d2329", "#5d6872"
MORE_IS_BETTER = ("/s",)

#: Titles of the figures whose names are short.
TITLES = {
    "switch": "switch to a greenlet and back",
    "sleep": "eventlet.sleep(0)",
    "spawn": "spawn and wait",
    "pool": "GreenPool.spawn_n",
    "hop": "hop through a queue",
    "round_trip": "round trip over a socketpair",
    "raw": "socket loop, 64 connections",
    "wsgi": "wsgi.server, hello",
    "idle_raw": "an idle connection of a socket loop",
    "idle_wsgi": "an idle connection of wsgi.server",
    "nameko": "nameko, a call over RabbitMQ",
    "celery": "Celery, a task over RabbitMQ",
    "oslo": "oslo.messaging, a cast over RabbitMQ",
}
LEFT_OUT = ("epoll_ctl",)


def main(svg, title, *results):
    figures, seen = {}, None
    for path in results:
        seen = json.loads(pathlib.Path(path).read_text())
        figures.update(figures_of(seen))
    panels = [panel(name, *figures[name]) for name in figures if name not in LEFT_OUT]
    body, top = [], HEADER
    for row in zip(panels[::2], panels[1::2] + [None]):
        for column, one in enumerate(filter(None, row)):
            height, drawn = one
            body.append(f'<g transform="translate({MARGIN + column * (PANEL + GAP)} {top})">\n{drawn}</g>\n')
        top += max(height for height, _ in filter(None, row)) + GAP
    height = top + FOOTER - GAP
    where = f"{seen['interpreter']}, {seen['processors']} cores, {seen['machine']}"
    legend = "median of turns; the thin line is their range"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        " font-family=\"system-ui, 'DejaVu Sans', sans-serif\">\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n',
        text(MARGIN, 34, 20, title, bold=True),
        text(MARGIN, 52, 12, legend, fill=PALE_INK),
        *body,
        text(MARGIN, height - 14, 11, where, fill=PALE_INK),
        "</svg>\n",
    ]
    pathlib.Path(svg).write_text("".join(drawn))
    print(f"{len(panels)} figures: {svg}")


def figures_of(results):
    """By name: the unit, and the values by contender."""
    if "figures" in results:
        return {name: (one["unit"], one["turns"]) for name, one in results["figures"].items() if "turns" in one}
    turns = {who: [turn["switch_pair_ns"] for turn in turns] for who, turns in results["turns"].items()}
    return {"switch": ("ns", turns)}


def panel(name, unit, turns):
    """Its height, and what is drawn."""
    values = {who: [value for value in values if value is not None] for who, values in turns.items()}
    values = {who: one for who, one in values.items() if one}
    longest = min(max(map(max, values.values())), 1.25 * max(map(median, values.values())))
    better = "more" if unit in MORE_IS_BETTER else "less"
    drawn = [
        text(0, 8, 14, TITLES.get(name, name), bold=True),
        text(0, 24, 11, f"{'a second' if unit == '/s' else unit}; {better} is better", fill=PALE_INK),
    ]
    for row, (who, one) in enumerate(values.items()):
        middle = TITLE + row * ROW + ROW // 2
        fill = GREEN if who.startswith("ours") else GREY
        least, most, long = (min(value, longest) / longest * LONGEST for value in (min(one), max(one), median(one)))
        drawn += [
            text(NAMES - 8, middle + 4, 12, who, anchor="end", bold=fill == GREEN),
            f'<rect x="{NAMES}" y="{middle - BAR // 2}" width="{long:.1f}" height="{BAR}" rx="2" fill="{fill}"/>\n',
            f'<path d="M{NAMES + least:.1f} {middle}H{NAMES + most:.1f}" stroke="{INK}" stroke-width="1"/>\n',
            text(int(NAMES + max(most, long)) + 6, middle + 4, 12, shown(median(one))),
        ]
    return TITLE + len(values) * ROW, "".join(drawn)


def text(x, y, size, words, fill=INK, anchor="start", bold=False):
    weight = ' font-weight="bold"' if bold else ""
    how = f'x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}'
    return f"<text {how}>{escape(words)}</text>\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
