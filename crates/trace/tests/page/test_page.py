"""The page in a real browser, and the file for Perfetto by Perfetto's own definitions, beside what a seeded simulation
said of itself. `make test-page` runs it; `run.sh` beside it prepares what it needs.
"""

import os
import re
import subprocess
import unittest

from chromium import SIZE, Page
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

FOLDER = os.environ["GREENLOOM_TRACE_FOLDER"]
EXAMPLE = os.environ["GREENLOOM_TRACE_EXAMPLE"]


def path(name):
    return os.path.join(FOLDER, name)


def setUpModule():
    command = [EXAMPLE, path("small.html"), path("small.perfetto")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    subprocess.run([EXAMPLE, "--real", path("real.html")], check=True, capture_output=True)
    global SAID
    # When, who, what.
    SAID = [(int(time), name, what) for time, name, what in map(str.split, done.stdout.splitlines())]


def seconds(text):
    number, unit = text.split(" ")
    return float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]


class PerfettoTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        trace = Trace()
        with open(path("small.perfetto"), "rb") as file:
            trace.ParseFromString(file.read())
        cls.packets = trace.packet
        cls.names = {name.iid: name.name for name in trace.packet[0].interned_data.event_names}
        described = [packet.track_descriptor for packet in trace.packet if packet.HasField("track_descriptor")]
        cls.tracks = {track.uuid: track for track in described}

    def slices(self, track_name):
        """(name, from, to) of a track's slices, and the arrows that end at each."""
        (uuid,) = (uuid for uuid, track in self.tracks.items() if track.name.startswith(track_name))
        events = [(packet.timestamp, packet.track_event) for packet in self.packets
                  if packet.HasField("track_event") and packet.track_event.track_uuid == uuid
                  and packet.track_event.type != TrackEvent.TYPE_INSTANT]
        begins = [event for event in events if event[1].type == TrackEvent.TYPE_SLICE_BEGIN]
        ends = [event for event in events if event[1].type == TrackEvent.TYPE_SLICE_END]
        self.assertEqual(len(begins), len(ends))
        return [(self.names[begin.name_iid], since, until, list(begin.terminating_flow_ids))
                for (since, begin), (until, _) in zip(begins, ends)]

    def test_nothing_in_it_is_unknown_to_perfetto(self):
        for packet in self.packets:
            self.assertEqual(packet.ByteSize(), len(packet.SerializeToString()))
            self.assertIn(packet.WhichOneof("data"), ("track_event", "track_descriptor", None))

    def test_green_threads_are_under_their_hub_and_it_under_the_process(self):
        for name in ("producer-1", "consumer-2"):
            (track,) = (track for track in self.tracks.values() if track.name.startswith(name))
            hub = self.tracks[track.parent_uuid]
            self.assertRegex(hub.name, "^hub 0")
            self.assertRegex(self.tracks[hub.parent_uuid].process.process_name, "^timeline ")

    def test_who_said_something_ran_then(self):
        for time, name, _ in SAID:
            runs = [(since, until) for what, since, until, _ in self.slices(name) if what == "run"]
            self.assertTrue(any(since <= time <= until for since, until in runs), (time, name, runs))

    def test_sleeps_are_as_long_as_the_program_slept(self):
        for number in range(1, 5):
            slept = [until - since for what, since, until, _ in self.slices(f"producer-{number}") if what == "sleep"]
            self.assertEqual(slept, [1000 * (1000 * number + turn) for turn in range(5)])

    def test_slices_of_a_green_thread_follow_one_another(self):
        for name in ("producer-3", "consumer-1"):
            slices = self.slices(name)
            for (_, _, until, _), (_, since, _, _) in zip(slices, slices[1:]):
                self.assertEqual(until, since)

    def test_an_arrow_leads_from_each_wake_to_a_run(self):
        begun = {flow for packet in self.packets for flow in packet.track_event.flow_ids}
        ended = {flow for packet in self.packets for flow in packet.track_event.terminating_flow_ids}
        self.assertTrue(ended)
        self.assertLessEqual(ended, begun)
        wakes = [packet.track_event for packet in self.packets if packet.track_event.name == "wake"]
        wakers = {self.tracks[wake.track_uuid].name.split(" ")[0] for wake in wakes}
        self.assertLessEqual({f"producer-{number}" for number in range(1, 5)}, wakers)


class PageTest(unittest.TestCase):
    def setUp(self):
        self.page = self.enterContext(Page()) if hasattr(self, "enterContext") else self.opened()
        self.page.open(path("small.html"))

    def opened(self):
        page = Page()
        self.addCleanup(page.__exit__)
        return page

    def tearDown(self):
        self.assertEqual(self.page.errors, [])

    def range(self):
        text = self.page.evaluate("document.getElementById('range').textContent")
        return [seconds(time) for time in text.split(" to ")]

    def rows(self):
        return self.page.evaluate("[...document.querySelectorAll('#panel tbody tr')].map(row => "
                                  "[...row.cells].map(cell => cell.textContent))")

    def tab(self, name):
        self.page.click(*self.page.place(f"[data-tab={name}]"))

    def search(self, text):
        self.page.settled(lambda: self.page.evaluate(
            f"(box => {{ box.value = ''; box.focus(); }})(document.getElementById('search'))")
            or self.page.send("Input.insertText", text=text))

    def test_the_longest_waits_are_those_of_the_program(self):
        rows = [row for row in self.rows() if row[1] == "sleep"]
        self.assertEqual(len(rows), 20)
        self.assertTrue(rows[0][0].startswith("producer-4 #"))
        self.assertAlmostEqual(seconds(rows[0][3]), 0.004004, places=6)
        self.assertEqual(rows[0][4], "a timer")

    def test_a_waiter_at_the_queue_was_woken_by_a_producer(self):
        self.search("consumer")
        rows = [row for row in self.rows() if "queue" in row[1]]
        self.assertTrue(rows)
        for row in rows:
            self.assertRegex(row[4], r"^producer-\d #\d+$")

    def test_ctrl_and_the_wheel_zoom_around_the_pointer(self):
        x, y = self.page.place("#timeline")
        since, until = self.range()
        self.page.settled(lambda: self.page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-700, modifiers=2))
        closer = self.range()
        self.assertLess(closer[1] - closer[0], (until - since) / 2)
        self.assertGreater(closer[0], since)
        self.page.settled(lambda: self.page.click(*self.page.place("#whole")))
        self.assertEqual(self.range(), [since, until])

    def test_a_row_of_the_table_leads_to_its_place(self):
        row = self.rows()[0]
        self.page.settled(lambda: self.page.click(*self.page.place("#panel tbody tr")))
        since, until = self.range()
        began, length = seconds(row[2]), seconds(row[3])
        self.assertTrue(since <= began and began + length <= until and until - since < 3 * length)
        self.assertRegex(self.page.evaluate("label(page.data, page.selected)"), re.escape(row[0]))

    def test_a_drag_moves_and_keys_zoom(self):
        x, y = self.page.place("#timeline")
        self.page.click(x, y)
        self.page.settled(lambda: self.page.press("w"))
        since, until = self.range()
        self.page.mouse("mousePressed", x, y, button="left", clickCount=1)
        self.page.settled(lambda: self.page.mouse("mouseMoved", x + 100, y, button="left"))
        self.page.mouse("mouseReleased", x + 100, y, button="left", clickCount=1)
        moved = self.range()
        self.assertLess(moved[0], since)
        self.assertAlmostEqual(moved[1] - moved[0], until - since, places=5)

    def test_a_search_finds_names_numbers_and_what_is_waited_for(self):
        found = "document.getElementById('found').textContent"
        self.search("consumer-2")
        self.assertRegex(self.page.evaluate(found), r"^1 of \d+ green threads")
        self.assertEqual({row[0].split(" ")[0] for row in self.rows()}, {"consumer-2"})
        self.search("sleep")
        self.assertRegex(self.page.evaluate(found), r"^4 of \d+ green threads")
        self.search("#0")
        self.assertEqual(self.page.evaluate("page.rows.map(row => label(page.data, row))"), ["root #0"])
        self.search("no such thing")
        self.assertRegex(self.page.evaluate(found), r"^0 of")

    def test_the_flame_chart_has_makers_below_what_they_made(self):
        self.page.open(path("real.html"))
        self.tab("flame")
        frames = self.page.evaluate("[...document.querySelectorAll('.frame')].map(frame => frame.textContent)")
        self.assertEqual(frames[0], "all")
        self.assertRegex(frames[1], "^hub 0")
        self.assertLessEqual({"root", "consumer-1", "consumer-2"}, set(frames))
        titles = self.page.evaluate("[...document.querySelectorAll('.frame')].map(frame => frame.title)")
        # Each has computed for 400 us ten times.
        (computed,) = (re.fullmatch(r"consumer-1: (.*), .* % of the time shown", title)
                       for title in titles if title.startswith("consumer-1"))
        self.assertTrue(0.004 <= seconds(computed[1]) < 0.02, computed[0])
        self.tab("runs")
        self.assertTrue(self.rows())

    def test_the_pointer_tells_what_it_is_at(self):
        self.search("producer-4")
        box = self.page.evaluate("(box => [box.x, box.y, box.width])"
                                 "(document.getElementById('timeline').getBoundingClientRect())")
        self.page.mouse("mouseMoved", box[0] + 220 + (box[2] - 220) * 0.1, box[1] + 20 + 9)
        hint = self.page.evaluate("document.getElementById('hint').textContent")
        self.assertRegex(hint, r"^producer-4 #\d+ waited for sleep, from .*, for 4\.000 ms, woken by a timer$")

    def test_what_is_drawn_is_not_blank_and_makes_a_picture(self):
        self.page.open(path("real.html"))
        x, y = self.page.place("#timeline")
        self.page.click(x, y)
        self.page.settled(lambda: self.page.press("w"))
        colours = self.page.evaluate("""(canvas => {
            const image = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(image.data.buffer)).size;
        })(document.getElementById('timeline'))""")
        self.assertGreater(colours, 5)
        self.page.picture(path("page.png"))
        self.assertGreater(os.path.getsize(path("page.png")), 10_000)
        self.assertEqual(self.page.evaluate("[innerWidth, innerHeight]"), list(SIZE))

    def test_nothing_is_asked_of_the_network(self):
        self.assertEqual(self.page.evaluate("performance.getEntriesByType('resource').length"), 0)


if __name__ == "__main__":
    unittest.main()
