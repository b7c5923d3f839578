"""multiprocessing after the patch, by every start method. Spawned children import the program, and patch as well or
not."""

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

from scenario import Scenario, interruptible

PROGRAM = """
import sys
if __name__ == "__main__" or "patched" in sys.argv:
    import eventlet
    eventlet.monkey_patch()
import multiprocessing, os, socket, threading, time
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

def look_at(connection, sock):
    # Blocking, so that unpatched processes may use them.
    connection.send((os.get_blocking(connection.fileno()), os.get_blocking(sock.fileno())))
    sock.sendall(sock.recv(1) * 2)
    connection.send("eventlet" in sys.modules)

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

def pool(context):
    with context.Pool(2) as pool:
        assert pool.map(square, range(20)) == [square(number) for number in range(20)]
        assert sorted(pool.imap_unordered(square, range(5))) == [0, 1, 4, 9, 16]
        assert pool.apply_async(square, (3,)).get(30) == 9
        pool.close()
        pool.join()

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

def handed_over(context):
    here, there = context.Pipe()
    mine, other = socket.socketpair()
    mine.settimeout(30)
    process = started(context, look_at, there, other)
    assert here.recv() == (True, True)
    mine.sendall(b"x")
    assert mine.recv(2) == b"xx"
    assert here.recv() is ("patched" in sys.argv or context.get_start_method() == "fork")
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
    for case in (process, pool, executor, manager, queue, pipe, pipe_in_the_child, handed_over, shared):
        print(case.__name__, flush=True)
        case(context)
    assert ran
    print("done")
"""


class StartMethods(unittest.TestCase):
    def run_by(self, method, children="patched"):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program.py")
            with open(program, "w") as file:
                file.write(PROGRAM)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", program, method, children],
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

    def test_spawn_of_children_that_are_not_patched(self):
        self.run_by("spawn", "plain")

    def test_forkserver_of_children_that_are_not_patched(self):
        self.run_by("forkserver", "plain")


PATCHED = """
import eventlet
eventlet.monkey_patch()
import multiprocessing, threading
context = multiprocessing.get_context("fork")
"""


class Locks(Scenario):
    """The locks of multiprocessing between green threads of one process."""

    def check(self, program, *options, **settings):
        super().check(PATCHED + textwrap.dedent(program), *options, **settings)

    def test_they_keep_other_green_threads_out(self):
        self.check(
            """
            for kind in (context.Lock, context.RLock, context.Semaphore, context.Condition):
                exclusion(lambda lock=kind(): lock)
            """
        )

    def test_a_recursive_lock_is_of_the_green_thread_that_took_it(self):
        self.check(
            """
            lock = context.RLock()
            def attempt(action):
                try:
                    return action()
                except AssertionError as error:
                    return str(error)
            with lock, lock:
                assert not eventlet.spawn(lock.acquire, False).wait()
                assert not eventlet.spawn(lock.acquire, True, 0.01).wait()
                print(eventlet.spawn(attempt, lock.release).wait())
            assert eventlet.spawn(lock.acquire, False).wait()
            """,
            prints="attempt to release recursive lock not owned by thread\n",
        )

    def test_waiting_lets_others_run(self):
        self.check(
            """
            count = ticks()
            lock, event, condition = context.Lock(), context.Event(), context.Condition()
            lock.acquire()
            begin = monotonic()
            assert not lock.acquire(True, 0.05) and not event.wait(0.05) and monotonic() - begin < 5
            eventlet.spawn(lambda: (eventlet.sleep(0.02), lock.release(), event.set()))
            assert lock.acquire() and event.wait()
            def notify():
                with condition:
                    condition.notify_all()
            def wait():
                with condition:
                    return condition.wait(10)
            waiting = [eventlet.spawn(wait) for _ in range(2)]
            eventlet.sleep(0.05)
            eventlet.spawn(notify)
            assert [each.wait() for each in waiting] == [True, True]
            assert count[0] > 20, count
            """
        )

    def test_a_full_queue_waits_for_its_feeder(self):
        self.check(
            """
            items = context.Queue(1)
            green = eventlet.spawn(lambda: [items.get() for _ in range(3)])
            for number in range(3):
                items.put(number)
            print(green.wait())
            joinable = context.JoinableQueue()
            joinable.put(1)
            eventlet.spawn(lambda: (joinable.get(), eventlet.sleep(0.01), joinable.task_done()))
            joinable.join()
            """,
            prints="[0, 1, 2]\n",
        )

    def test_between_processes(self):
        self.check(
            """
            lock, ready = context.Lock(), context.Event()
            def hold():
                with lock:
                    ready.set()
                    time.sleep(0.05)
            process = context.Process(target=hold)
            process.start()
            ready.wait()
            count = ticks()
            with lock:
                assert count[0] > 5, count
            process.join()
            assert process.exitcode == 0
            """
        )


class Names(Scenario):
    def test_functions_and_classes_are_pickled_by_the_names_that_an_unpatched_process_knows(self):
        self.check(
            """
            import pickle
            import eventlet
            eventlet.monkey_patch()
            import os, queue, select, socket, threading
            functions = [time.sleep, os.read, os.waitpid, select.select, socket.getaddrinfo, socket.create_connection,
                threading.current_thread, queue.Queue, threading.RLock, select.epoll]
            for function in functions:
                # By the names of Python 2, which this protocol is for.
                name = pickle.dumps(function, 0).split(b"\\n")[:2]
                print(*(part.decode() for part in name))
                assert pickle.loads(pickle.dumps(function)) is function
            """,
            prints="ctime sleep\ncos read\ncos waitpid\ncselect select\ncsocket getaddrinfo\n"
            "csocket create_connection\ncthreading current_thread\ncQueue Queue\ncthread RLock\ncselect epoll\n",
        )


if __name__ == "__main__":
    unittest.main()
