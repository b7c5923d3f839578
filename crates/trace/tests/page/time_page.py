"""How long a browser takes to open a page of about a million events, and to zoom and search in it; a figure, no test.
`BENCH=1 make test-page` runs it.
"""

import json
import os
import statistics
import subprocess

from chromium import Page

EVENTS = 1_000_000
TIMES = 5


def main():
    path = os.path.join(os.environ["GREENLOOM_TRACE_FOLDER"], "large.html")
    subprocess.run([os.environ["GREENLOOM_TRACE_EXAMPLE"], "--events", str(EVENTS), path], check=True)
    opened, drawn, searched = [], [], []
    for _ in range(TIMES):
        with Page() as page:
            opened.append(page.open(path))
            draw, find = json.loads(page.evaluate("""(() => {
                const begun = performance.now();
                drawOverview(page);
                drawTimeline(page);
                const drawn = performance.now();
                search(page.data, 'sleep');
                return JSON.stringify([drawn - begun, performance.now() - drawn]);
            })()"""))
            drawn.append(draw)
            searched.append(find)
    print(f"{os.path.getsize(path) / 1e6:.1f} MB; milliseconds, median of {TIMES} and all:")
    for what, times in (("opened and drawn", opened), ("drawn again", drawn), ("searched", searched)):
        print(f"  {what:18}{statistics.median(times):8.1f}   {' '.join(f'{time:.1f}' for time in times)}")


if __name__ == "__main__":
    main()
