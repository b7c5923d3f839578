"""What returns at once, again and again, does not keep others from running; a free lock otherwise never switches."""

import time
import unittest

import eventlet
from eventlet import event, hubs, queue
from eventlet.green import Queue, select, socket
from eventlet.lock import Lock
from eventlet.semaphore import Semaphore
from guarded import Guarded
from scenario import Scenario

LIMIT = 20


def sent():
    done = event.Event()
    done.send(1)
    return done


def refused(function, error):
    try:
        function()
    except error:
        pass


def hold(lock):
    with lock:
        pass


def put_and_get(items):
    items.put(1)
    items.get()


# What returns at once: what makes it, and what is done with that.
ENDLESS = {
    "a free lock": (Lock, hold),
    "a taken lock that is tried": (lambda: Semaphore(0), lambda semaphore: semaphore.acquire(False)),
    "a lock with a timeout": (lambda: Semaphore(10**9), lambda semaphore: semaphore.acquire(timeout=1)),
    "an empty queue": (queue.Queue, lambda items: refused(items.get_nowait, queue.Empty)),
    "a full queue": (lambda: queue.Queue(0), lambda items: refused(lambda: items.put_nowait(1), queue.Full)),
    "a queue with an item": (queue.LightQueue, put_and_get),
    "a patched queue that is looked at": (Queue.Queue, lambda items: items.empty() or items.full()),
    "a patched simple queue that is looked at": (Queue.SimpleQueue, lambda items: items.empty()),
    "an event that was sent": (sent, lambda done: done.wait()),
    "an event that is polled": (event.Event, lambda done: done.poll()),
}


class Loops(Guarded):
    def test_others_run_beside_a_loop_that_never_waits(self):
        for name, (make, use) in ENDLESS.items():
            with self.subTest(name):
                thing, ran = make(), []
                eventlet.spawn_n(ran.append, "ready")
                eventlet.spawn_after(0.001, ran.append, "timer")
                until = time.monotonic() + LIMIT
                while len(ran) < 2 and time.monotonic() < until:
                    use(thing)
                self.assertEqual(ran, ["ready", "timer"])

    def test_a_free_lock_does_not_switch(self):
        for name, (make, use) in ENDLESS.items():
            with self.subTest(name):
                thing, ran = make(), []
                eventlet.sleep(0)
                eventlet.spawn_n(ran.append, "ready")
                for _ in range(200):
                    use(thing)
                self.assertEqual(ran, [])
                eventlet.sleep(0)

    def test_a_loop_around_select_leaves_others_most_turns(self):
        a, b = socket.socketpair()
        watched, looks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []

        def look_again():
            while True:
                looks.append(select.select([], [watched], [], 1)[1])

        def echo():
            while data := b.recv(1):
                b.sendall(data)

        threads = [eventlet.spawn(look_again), eventlet.spawn(echo)]
        with a, b, watched:
            for _ in range(100):
                a.sendall(b"x")
                a.recv(1)
            for thread in threads:
                thread.kill()
        # On stock each lets others run. At 10 ms a turn these were 13,000.
        self.assertTrue(all(looks))
        self.assertLess(len(looks), 8_000)

    def test_the_hub_never_waits_in_a_loop(self):
        done = event.Event()

        def in_hub():
            lock, until = Lock(), time.monotonic() + 0.05
            while time.monotonic() < until:
                hold(lock)
            done.send("the hub came through")

        hubs.get_hub().schedule_call_global(0, in_hub)
        self.assertEqual(done.wait(LIMIT), "the hub came through")

    def test_a_kill_that_comes_with_the_turn_leaves_the_lock_free(self):
        lock = Lock()

        def spin():
            while True:
                hold(lock)

        thread = eventlet.spawn(spin)
        eventlet.spawn_after(0.001, thread.kill)
        self.assertRaises(eventlet.greenlet.GreenletExit, thread.wait)
        self.assertFalse(lock.locked())


# The same of the standard library, after monkey_patch(): what makes it, and what is done with that `it`. An OSError is
# an answer, too.
ENDLESS_WHEN_PATCHED = {
    "a free RLock": ("threading.RLock()", "it.acquire(), it.release()"),
    "an RLock of its own": ("held(threading.RLock())", "it.acquire(), it.release()"),
    "an RLock of another's": ("held_elsewhere(threading.RLock())", "it.acquire(False)"),
    "an RLock of another's and no time": ("held_elsewhere(threading.RLock())", "it.acquire(timeout=0)"),
    "a lock that is looked at": ("held(threading.Lock())", "it.locked()"),
    "an RLock that is looked at": ("held_elsewhere(threading.RLock())", "it.locked()"),
    "a lock older than the patch": ("old_lock", "it.acquire(False)"),
    "an event that is looked at": ("threading.Event()", "it.is_set()"),
    "a condition": ("threading.Condition()", "it.acquire(), it.notify_all(), it.release()"),
    "a thread that is looked at": ("waiting_thread()", "it.is_alive()"),
    "a lock of multiprocessing": ("held(multiprocessing.Lock())", "it.acquire(False)"),
    "a free lock of multiprocessing": ("multiprocessing.Lock()", "it.acquire(), it.release()"),
    "an RLock of multiprocessing": ("held(multiprocessing.RLock())", "it.acquire(False), it.release()"),
    "a semaphore of multiprocessing": ("multiprocessing.Semaphore(0)", "it.acquire(False)"),
    "a child that runs, by waitpid": ("child", "os.waitpid(it, os.WNOHANG)"),
    "a child that runs, by wait3": ("child", "os.wait3(os.WNOHANG)"),
    "a child that runs, by wait4": ("child", "os.wait4(it, os.WNOHANG)"),
    "a child that runs, by waitid": ("child", "os.waitid(os.P_PID, it, os.WEXITED | os.WNOHANG)"),
    "a child of another's": ("os.getppid()", "os.waitpid(it, 0)"),
    "a signal that is not there": ("{signal.SIGUSR1}", "signal.sigtimedwait(it, 0)"),
    "signals that are looked at": ("None", "signal.sigpending()"),
    "the processor": ("None", "os.sched_yield()"),
    "a file lock": ("os.open(__file__, os.O_RDONLY)", "os.lockf(it, os.F_TLOCK, 0)"),
    "a file that is there": ("__file__", "os.open(it, os.O_CREAT | os.O_EXCL)"),
    "a file to be read": ("zeros()", "os.read(it, 1)"),
    "a file to be read into buffers": ("zeros()", "os.readv(it, [bytearray(1)])"),
    "a file to be written": ("nothing()", "os.write(it, b'a')"),
    "a file to be written from buffers": ("nothing()", "os.writev(it, [b'a', b'b'])"),
    "a counter": ("os.eventfd(1, os.EFD_SEMAPHORE)", "os.eventfd_write(it, 1), os.eventfd_read(it)"),
    "a pipe that does not wait": ("not_waiting()", "os.read(it, 1)"),
    "a pair of sockets": ("None", "[each.close() for each in socket.socketpair()]"),
    "a socket": ("None", "socket.socket().close()"),
    "a socket that refuses": ("unused_port()", "socket.socket().connect_ex(it)"),
    "a socket that does not wait": ("pair(0.0)[0]", "it.recv(1)"),
    "a socket that does not wait, into a buffer": ("pair(0.0)[0]", "it.recv_into(bytearray(1))"),
    "a socket that does not wait, with its sender": ("pair(0.0)[0]", "it.recvfrom(1)"),
    "a socket that does not wait, as a message": ("pair(0.0)[0]", "it.recvmsg(1)"),
    "a call that does not wait": ("pair(None)[0]", "it.recvmsg(1, 0, socket.MSG_DONTWAIT)"),
    "a socket that does not wait and is full": ("full(pair(0.0)[0])", "it.send(b'a')"),
    "a full socket that does not wait, as a message": ("full(pair(0.0)[0])", "it.sendmsg([b'a'])"),
    "a listener that does not wait": ("listener(0.0)", "it.accept()"),
    "a connection that is there": ("listener(0.0)", "socket.socket().connect_ex(it.getsockname())"),
    "a connection's error": ("pair(None)[0]", "it.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)"),
    "an address": ("None", "socket.getaddrinfo('127.0.0.1', 80)"),
    "an address by its old name": ("None", "socket.gethostbyname('127.0.0.1')"),
    "an address with its names": ("None", "socket.gethostbyname_ex('127.0.0.1')"),
    "the name of an address": ("None", "socket.getnameinfo(('127.0.0.1', 80), socket.NI_NUMERICHOST)"),
    "the host of an address": ("None", "socket.gethostbyaddr('127.0.0.1')"),
    "a file that select finds ready": ("nothing()", "select.select([], [it], [], 0)"),
    "a pause of nothing": ("None", "time.sleep(0)"),
}

_STAND_BY = """
import _thread, multiprocessing, os, select, signal, socket, sys, threading, time

old_lock = _thread.allocate_lock()
old_lock.acquire()
import eventlet
eventlet.monkey_patch()
__file__ = sys.executable
kept = []

def held(lock):
    lock.acquire()
    return lock

def held_elsewhere(lock):
    eventlet.spawn(lock.acquire).wait()
    return lock

def waiting_thread():
    gate = held(threading.Lock())
    thread = threading.Thread(target=gate.acquire, daemon=True)
    thread.start()
    return thread

def zeros():
    return os.open("/dev/zero", os.O_RDONLY)

def nothing():
    return os.open("/dev/null", os.O_WRONLY)

def not_waiting():
    read, write = os.pipe()
    os.set_blocking(read, False)
    return read

def pair(timeout):
    ends = socket.socketpair()
    kept.append(ends)
    ends[0].settimeout(timeout)
    return ends

def full(sock):
    try:
        while True:
            sock.send(bytes(100000))
    except BlockingIOError:
        return sock

def listener(timeout):
    sock = socket.create_server(("127.0.0.1", 0))
    sock.settimeout(timeout)
    return sock

def unused_port():
    sock = listener(None)
    address = sock.getsockname()
    sock.close()
    return address

child = os.fork()
if child == 0:
    signal.pause()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

def others_run_beside(make, use):
    it, ran = eval(make), []
    use = compile(use, use, "eval")
    eventlet.spawn_n(ran.append, "ready")
    eventlet.spawn_after(0.001, ran.append, "timer")
    names = {**globals(), "it": it}
    end = time.process_time() + LIMIT
    while len(ran) < 2 and time.process_time() < end:
        try:
            eval(use, names)
        except OSError:
            pass
    return ran == ["ready", "timer"]

try:
    starving = [name for name, (make, use) in TABLE.items() if not others_run_beside(make, use)]
finally:
    os.kill(child, signal.SIGKILL)
assert not starving, starving
"""


class PatchedLoops(Scenario):
    def test_others_run_beside_a_loop_of_what_is_patched(self):
        # What no turn is given for takes the processor time, however slow the machine is.
        self.run_program(f"LIMIT = 2\nTABLE = {ENDLESS_WHEN_PATCHED!r}\n" + _STAND_BY, seconds=300)


if __name__ == "__main__":
    unittest.main()
