"""What `inspect.signature`, and with it editors and `help()`, say of our callables: what they say of stock's.

Stock's are asked where GREENLOOM_STOCK_PYTHON names an interpreter that has them (python/tools/test.sh).
"""

import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import eventlet
import greenlet
from eventlet import greenthread, hubs, queue
from eventlet.hubs import timer

LISTING = pathlib.Path(__file__).parent / "api" / "listing.py"
STOCK = os.environ.get("GREENLOOM_STOCK_PYTHON")

# What ours has no use for: the inside of stock's classes, and methods that are handed on to a connection.
ABSENT = re.compile(
    r"eventlet\.(queue\.(Item)?Waiter\b|tpool\.(tworker|tpool_trampoline)|hubs\.hub\.(arm_alarm|alarm_itimer)"
    r"|hubs\.(epolls|poll)\.Hub\.(register|do_poll)|support\.greendns\.compute_expiration"
    r"|backdoor\.SocketConsole\.switch_out"
    r"|db_pool\.(Generic|Pooled)ConnectionWrapper\.\w+|greenio\.(base\.)?SSL$)"
    r"|amqp\.method_framing\.Buffer\b"
)

# Where ours is called as CPython's function or method is, and not as stock's, and where a parameter is the inside's:
# py-amqp keeps globals in some, and where gssapi is missing its stand-in takes no connection, which the real one does.
OTHERWISE = re.compile(
    r"eventlet\.(green\.os\.(open|write)|green\.select\.select|green\.ssl\.\w+\.(recvfrom|sendto)"
    r"|green\.subprocess\.Popen(\.wait)?|green\.thread(ing)?\.stack_size|green\.thread\.allocate(_lock)?"
    r"|(lock|green\.threading)\.Lock"
    r"|greenio\.py3\.GreenFileIO\.(readinto|truncate)|green(io(\.base)?|\.socket)\.(Green)?[sS]ocket"
    r"|hubs\.(epolls|poll)\.Hub\.(add|register))$"
    r"|amqp\.(method_framing\.frame_(handler|writer)|transport\.\w+\.read_frame|sasl\.GSSAPI\.start)$"
)


@unittest.skipUnless(STOCK, "GREENLOOM_STOCK_PYTHON names no interpreter with stock greenlet, eventlet and amqp")
class AsStock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stock = subprocess.run([STOCK, "-I", LISTING], capture_output=True, check=True, timeout=120).stdout
        with tempfile.NamedTemporaryFile() as names:
            names.write(stock)
            names.flush()
            ours = subprocess.run([sys.executable, LISTING, names.name], capture_output=True, check=True, timeout=120)
        cls.stock, cls.ours = json.loads(stock), json.loads(ours.stdout)
        # Both were asked, for more than a few names.
        assert len(cls.stock) > 500, len(cls.stock)

    def pairs(self):
        """Stock's names with both signatures, where stock has one and ours is to be called in the same way."""
        for name, parameters in self.stock.items():
            here = self.ours[name]
            if parameters is not None and isinstance(here, list) and not OTHERWISE.match(name):
                yield name, parameters, here

    def assert_none(self, names):
        self.assertEqual(sorted(names), [])

    def test_every_public_name_is_there(self):
        self.assert_none(name for name, found in self.ours.items() if found == "missing" and not ABSENT.match(name))

    def test_what_has_a_signature_on_stock_has_one(self):
        self.assert_none(
            name
            for name, found in self.ours.items()
            # What is CPython's own says as much as its version does.
            if found is None and self.stock[name] is not None and not (ABSENT.match(name) or OTHERWISE.match(name))
        )

    def test_calls_that_fit_stocks_signature_fit_ours(self):
        for name, parameters, here in self.pairs():
            ours = signature(here)
            for args, kwargs in fitting_calls(parameters):
                with self.subTest(name, args=args, kwargs=kwargs):
                    ours.bind(*args, **kwargs)

    def test_calls_without_an_argument_that_is_needed_are_refused(self):
        for name, parameters, here in self.pairs():
            needed = required(parameters)
            with self.subTest(name):
                if needed:
                    self.assertRaises(TypeError, signature(here).bind, *needed[:-1])

    def test_defaults_are_the_same(self):
        for name, parameters, here in self.pairs():
            ours = {parameter: default for parameter, _, default in here}
            with self.subTest(name):
                for parameter, _, default in parameters:
                    self.assertIn(ours.get(parameter, default), SAME_DEFAULTS.get(default, [default]))


# An empty tuple is an empty list that nobody can change by accident.
SAME_DEFAULTS = {"[]": ["[]", "()"]}


def signature(parameters):
    """A signature of what listing.py says."""
    empty = inspect.Parameter.empty
    return inspect.Signature(
        inspect.Parameter(name, getattr(inspect.Parameter, kind), default=empty if default is None else default)
        for name, kind, default in parameters
    )


def required(parameters):
    return [name for name, kind, default in parameters if default is None and kind.startswith("POSITIONAL")]


def fitting_calls(parameters):
    """Calls with as few arguments as can be, with all by position, and with all by name."""
    named = [name for name, kind, _ in parameters if kind == "POSITIONAL_OR_KEYWORD"]
    positional = [name for name, kind, _ in parameters if kind.startswith("POSITIONAL")]
    more = ["more"] if any(kind == "VAR_POSITIONAL" for _, kind, _ in parameters) else []
    yield required(parameters), {}
    yield positional + more, {}
    # The object itself is passed by nobody by name.
    own = [name for name in positional if name not in named or name in ("self", "hub")]
    yield own, {name: name for name in named if name not in own}


class ByName(unittest.TestCase):
    """Parameters before those that are passed on may be given by their names, as on stock."""

    def setUp(self):
        self.called = []

    def note(self, *args, **kwargs):
        self.called.append((args, kwargs))

    def test_the_function_of_a_green_thread(self):
        eventlet.spawn(func=self.note, a=1).wait()
        eventlet.spawn_after(seconds=0, func=self.note, a=2).wait()
        eventlet.spawn_after(0, func=self.note).wait()
        eventlet.spawn_n(func=self.note)
        eventlet.sleep()
        self.assertEqual(self.called, [((), {"a": 1}), ((), {"a": 2}), ((), {}), ((), {})])

    def test_the_function_of_a_pools_green_thread(self):
        pool = eventlet.GreenPool()
        pool.spawn(function=self.note, a=1)
        pool.spawn_n(function=self.note)
        pool.waitall()
        self.assertEqual(self.called, [((), {"a": 1}), ((), {})])

    def test_the_function_of_a_link(self):
        green_thread = eventlet.spawn(list)
        green_thread.link(func=self.note, a=1)
        green_thread.link(func=self.note)
        self.assertTrue(green_thread.unlink(func=self.note))
        green_thread.wait()
        self.assertEqual(self.called, [((green_thread,), {"a": 1})])

    def test_the_function_of_a_timer(self):
        timer.Timer(seconds=0, cb=self.note, a=1).schedule()
        hubs.get_hub().schedule_call_global(seconds=0, cb=self.note, a=2)
        eventlet.sleep(0.01)
        self.assertEqual(self.called, [((), {"a": 1}), ((), {"a": 2})])

    def test_the_green_thread_to_end(self):
        green_thread = eventlet.spawn(self.note)
        greenthread.cancel(g=green_thread)
        other = eventlet.spawn(self.note)
        greenthread.kill(g=other)
        for ended in (green_thread, other):
            self.assertRaises(greenlet.GreenletExit, ended.wait)
        self.assertEqual(self.called, [])

    def test_one_that_is_missing_is_named(self):
        for call, name in [
            (eventlet.spawn, "func"),
            (lambda: eventlet.spawn_after(func=list), "seconds"),
            (lambda: eventlet.spawn_after(1), "func"),
            (eventlet.GreenPool().spawn, "function"),
            (eventlet.spawn(list).link, "func"),
            (lambda: timer.Timer(1), "cb"),
            (greenthread.kill, "g"),
        ]:
            self.assertRaisesRegex(TypeError, f"missing a required argument: '{name}'", call)


class Shown(unittest.TestCase):
    def test_signatures_of_what_is_called_often(self):
        shown = {
            eventlet.sleep: "(seconds=0)",
            eventlet.spawn: "(func, *args, **kwargs)",
            greenlet.greenlet: "(run=None, parent=None)",
            queue.Queue.put: "(self, /, item, block=True, timeout=None)",
        }
        self.assertEqual({value: str(inspect.signature(value)) for value in shown}, shown)


if __name__ == "__main__":
    unittest.main()
