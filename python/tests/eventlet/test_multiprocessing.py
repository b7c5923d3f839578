"""multiprocessing after the patch, by every start method: spawned children import the program, and patch as well."""

import os
import subprocess
import sys
import tempfile
import unittest

from scenario import interruptible

PROGRAM = """
import eventlet
eventlet.monkey_patch()
import multiprocessing, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

def square(number):
    return number * number

def fill(items, count):
    for number in range(count):
        items.put(number)

def double(connection):
    while True:
        number = connection.recv()
        if number is None:
            return
        connection.send(number * 2)

def double_while_others_run(connection):
    # The connection is green in the child too: its other thread runs while it waits, and only then gets its number.
    thread = threading.Thread(target=lambda: (time.sleep(0.01), connection.send("running")))
    thread.start()
    connection.send(connection.recv() * 2)
    thread.join()

def write_shared(name):
    memory = shared_memory.SharedMemory(name)
    memory.buf[0] = 7
    memory.close()

def started(context, target, *args):
    process = context.Process(target=target, args=args)
    process.start()
    return process

def process(context):
    process = started(context, square, 2)
    process.join()
    assert process.exitcode == 0, process.exitcode

def executor(context):
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(square, range(20))) == [square(number) for number in range(20)]

def manager(context):
    with context.Manager() as manager:
        values, items = manager.list([1, 2]), manager.Queue()
        values.append(3)
        items.put(4)
        assert (list(values), items.get()) == ([1, 2, 3], 4)

def queue(context):
    items = context.Queue()
    process = started(context, fill, items, 50)
    assert [items.get() for _ in range(50)] == list(range(50))
    process.join()

def pipe(context):
    here, there = context.Pipe()
    process = started(context, double, there)
    there.close()
    for number in range(5):
        here.send(number)
        assert here.recv() == number * 2
    here.send(None)
    process.join()
    assert process.exitcode == 0, process.exitcode

def pipe_in_the_child(context):
    here, there = context.Pipe()
    process = started(context, double_while_others_run, there)
    assert here.recv() == "running"
    here.send(1)
    assert here.recv() == 2
    process.join()

def shared(context):
    memory = shared_memory.SharedMemory(create=True, size=16)
    process = started(context, write_shared, memory.name)
    process.join()
    assert memory.buf[0] == 7
    memory.close()
    memory.unlink()

if __name__ == "__main__":
    ran = []
    eventlet.spawn(ran.append, True)
    context = multiprocessing.get_context(sys.argv[1])
    for case in (process, executor, manager, queue, pipe, pipe_in_the_child, shared):
        print(case.__name__, flush=True)
        case(context)
    assert ran
    print("done")
"""


class StartMethods(unittest.TestCase):
    def run_by(self, method):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program.py")
            with open(program, "w") as file:
                file.write(PROGRAM)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", program, method],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=55,
                preexec_fn=interruptible,
            )
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, "done"), done.stdout)

    def test_fork(self):
        self.run_by("fork")

    def test_spawn(self):
        self.run_by("spawn")

    def test_forkserver(self):
        self.run_by("forkserver")


if __name__ == "__main__":
    unittest.main()
