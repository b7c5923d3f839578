"""Random graphs of greenlets over several threads, with the memory allocator's checks on."""

import unittest

from support import run_script

SCRIPT = """
import gc, random, sys, threading, greenlet
from greenlet import getcurrent, GreenletExit

class Sub(greenlet.greenlet):
    pass

class Finalizer:
    def __init__(self, world): self.world = world
    def __del__(self): self.world.finalized += 1

class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.alive, self.steps, self.finalized = [], 0, 0

    def body(self, *args, **kwargs):
        local = Finalizer(self)
        try:
            while self.steps < LIMIT:
                self.step()
                if self.random.random() < 0.1: return args
                if self.random.random() < 0.05: raise ValueError("end")
        except GreenletExit:
            if self.random.random() < 0.2: return "swallowed"
            raise

    def nested(self, depth):
        if depth: return sorted([1], key=lambda _: self.nested(depth - 1) or 0)
        self.switch_somewhere()

    def switch_somewhere(self):
        target = self.random.choice(self.alive) if self.alive else getcurrent()
        try:
            if self.random.random() < 0.1: target.throw(KeyError)
            else: target.switch(self.steps, key=self.steps)
        except (KeyError, ValueError): pass

    def step(self):
        self.steps += 1
        choice = self.random.random()
        if choice < 0.3:
            kind = Sub if self.random.random() < 0.5 else greenlet.greenlet
            self.alive.append(kind(self.body))
        elif choice < 0.4 and self.alive:
            self.alive.pop(self.random.randrange(len(self.alive)))
        elif choice < 0.45 and len(self.alive) > 1:
            a, b = self.random.sample(self.alive, 2)
            try: a.parent = b
            except ValueError: pass
        elif choice < 0.47: gc.collect(0)
        elif choice < 0.6: self.nested(self.random.randrange(4))
        else: self.switch_somewhere()
        del self.alive[:-40]

    def run(self):
        while self.steps < LIMIT:
            try: self.step()
            except (KeyError, ValueError): pass
        while self.alive: self.alive.pop()
        shared.append(greenlet.greenlet(lambda: getcurrent().parent.switch()))
        shared[-1].switch()

LIMIT = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
shared = []
sys.unraisablehook = lambda args: None
worlds = [World(seed) for seed in range(6)]
threads = [threading.Thread(target=world.run) for world in worlds]
for thread in threads: thread.start()
for thread in threads: thread.join()
shared.clear()
gc.collect()
print("steps", sum(world.steps for world in worlds), "finalized", sum(world.finalized for world in worlds))
"""


class Stress(unittest.TestCase):
    def test_random_graphs_over_threads(self):
        status, output = run_script(SCRIPT, env={"PYTHONMALLOC": "debug"}, timeout=300)
        self.assertEqual(status, 0, output[-3000:])
        self.assertRegex(output, r"steps \d{5,} finalized \d{4,}")


if __name__ == "__main__":
    unittest.main()
