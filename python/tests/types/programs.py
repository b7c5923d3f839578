"""Programs on eventlet. A line that checkers must refuse ends in `# error`."""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import eventlet
import eventlet.debug
import eventlet.hubs
import eventlet.wsgi
import greenlet
from eventlet import (
    backdoor,
    corolocal,
    db_pool,
    event,
    greenio,
    greenpool,
    greenthread,
    hubs,
    patcher,
    pools,
    queue,
    semaphore,
    timeout,
    tpool,
    websocket,
    wsgi,
)
from eventlet.dagpool import DAGPool
from eventlet.green import os, select, socket, ssl, subprocess, threading, time, urllib
from eventlet.green.http import client
from eventlet.green.urllib import request
from eventlet.support import greenlets, greendns

eventlet.monkey_patch()
eventlet.monkey_patch(os=False, thread=True)
psycopg2 = eventlet.import_patched("psycopg2")
psycopg2.connect("dbname=test")
patcher.original("threading").Thread(target=print).start()
if patcher.is_monkey_patched("socket"):
    pass


def double(number: int) -> int:
    eventlet.sleep()
    eventlet.sleep(0.5)
    return 2 * number


def on_end(ended: greenthread.GreenThread, name: str) -> None:
    print(name, ended.wait())


thread = eventlet.spawn(double, 3)
six: int = thread.wait()
thread.link(on_end, "name")
thread.unlink(on_end, "name")
thread.kill()
thread.cancel(ValueError, "text")
eventlet.kill(thread)
greenthread.kill(greenthread.getcurrent())
plain: greenlet.greenlet = eventlet.spawn_n(print, "text", end="")
eventlet.spawn_after(1, double, number=3).cancel()
greenthread.spawn_after_local(1.5, double, 3)

pool = eventlet.GreenPool(100)
pool = greenpool.GreenPool(size=100)
twelve: int = pool.spawn(double, 6).wait()
pool.spawn_n(double, 6)
numbers: list[int] = list(pool.imap(double, [1, 2, 3]))
for number in pool.starmap(double, [(1,), (2,)]):
    print(number + 1)
pool.waitall()
places: int = pool.free() + pool.running() + pool.waiting()
pool.resize(5)
pile = eventlet.GreenPile(pool)
pile.spawn(double, 3)
total = sum(pile)

jobs = eventlet.Queue(10)
jobs.put({"job": 1})
jobs.put_nowait(2)
job = jobs.get(timeout=1.5)
print(job["job"])
try:
    jobs.get(block=False)
except queue.Empty:
    jobs.task_done()
jobs.join()
size: int = queue.LifoQueue(maxsize=None).qsize()


class Oldest(queue.Queue):
    def _init(self, maxsize: int | None) -> None:
        self.queue = collections.deque[Any]()

    def _put(self, item: Any) -> None:
        self.queue.append(item)


done = event.Event()
done.send("value")
done.send_exception(ValueError, "text")
value = done.wait(timeout=1)
if done.ready() and not done.has_exception():
    print(value.upper())

lock = semaphore.Semaphore()
with lock:
    print(lock.counter, lock.locked())
with semaphore.BoundedSemaphore(2), semaphore.CappedSemaphore(1, 2):
    pass
if lock.acquire(blocking=False):
    lock.release()


def limited(seconds: float) -> str | None:
    with eventlet.Timeout(seconds, False):
        return "in time"
    return None


try:
    with timeout.Timeout(1) as limit:
        limit.cancel()
except eventlet.Timeout as expired:
    print(expired.seconds, eventlet.is_timeout(expired))
timer = eventlet.Timeout(1, ValueError("late"))
timer.start()
got = eventlet.with_timeout(1, double, 3, timeout_value=None)


class Connections(pools.Pool):
    def create(self) -> socket.socket:
        return eventlet.connect(("127.0.0.1", 80))


connections = Connections(max_size=3)
with connections.item() as connection:
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
connections.put(connections.get())

listener = eventlet.listen(("127.0.0.1", 0), backlog=500)
port: int = listener.getsockname()[1]
client_socket, address = listener.accept()
client_socket.settimeout(5)
data: bytes = client_socket.recv(4096)
with client_socket.makefile("rwb") as file:
    file.write(file.readline())


def handle(connection: socket.socket, address: Any) -> None:
    connection.close()


eventlet.serve(listener, handle, concurrency=5)
secure = eventlet.wrap_ssl(listener, certfile="cert.pem", keyfile="key.pem", server_side=True)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]


def stream(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    yield b"text"


class Protocol(wsgi.HttpProtocol):
    def log_message(self, format: str, *args: Any) -> None:
        print(format % args)


wsgi.server(listener, application, log_output=False, protocol=Protocol, custom_pool=pool, socket_timeout=60)
wsgi.server(secure, stream)


@websocket.WebSocketWSGI
def echo(ws: websocket.WebSocket) -> None:
    while True:
        message = ws.wait()
        if message is None:
            break
        ws.send(message)


wsgi.server(listener, echo)


class Local(corolocal.local):
    def __init__(self, first: int) -> None:
        self.first = first


local = Local(1)
storage = corolocal.local()
storage.anything = 1
print(storage.anything, local.first)

content: int = tpool.execute(len, "text")
proxy = tpool.Proxy(psycopg2, autowrap=(list,))
proxy.connect("dbname=test")
tpool.set_num_threads(5)
databases = db_pool.ConnectionPool(psycopg2, min_size=1, max_size=4, database="test")
with databases.item() as database:
    database.cursor().execute("SELECT 1")

hub = hubs.get_hub()
hub.schedule_call_global(1, double, 3).cancel()
hub.schedule_call_local(0, print, "text", end="")
hubs.use_hub("poll")
hubs.trampoline(listener, read=True, timeout=1, timeout_exc=ValueError)
hubs.trampoline(listener.fileno(), write=True)
hub.switch()
eventlet.debug.hub_exceptions(True)
eventlet.debug.hub_blocking_detection(True, resolution=0.5)

pipe = greenio.GreenPipe(1, "w")
pipe.write("text")
greenio.shutdown_safe(client_socket)
green: greenio.GreenSocket = listener


class Task:
    def __init__(self, target, args=None, kwargs=None):  # type: ignore
        self.target = target
        self.args = args or ()
        self.kwargs = kwargs or {}

    def start(self) -> None:
        eventlet.spawn(self.target, *self.args, **self.kwargs)
        eventlet.spawn_after(1, self.target, *self.args)


try:
    eventlet.sleep()
except (eventlet.greenlet.GreenletExit, client.HTTPException):
    pass
print(client.CONTINUE, green.accept()[0].fd, socket.errno.EAGAIN)
server = eventlet.spawn(backdoor.backdoor_server, eventlet.listen(("127.0.0.1", 0)), locals={"pool": pool})

graph = DAGPool({"a": 1})
graph.spawn("b", ("a",), lambda key, results: dict(results))
answers = graph.wait()
print(answers["b"])

time.sleep(1)
os.read(0, 5)
ready, _, _ = select.select([listener], [], [], 1)
output: bytes = subprocess.check_output(["true"])
threading.Thread(target=double, args=(1,)).start()
with threading.Lock():
    pass
plain_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
plain_socket.connect(("127.0.0.1", 80))
body: bytes = request.urlopen("http://127.0.0.1/").read()
client.HTTPConnection("127.0.0.1", timeout=5).request("GET", "/")
ssl.create_default_context().wrap_socket(plain_socket, server_hostname="host")
urllib.request.urlopen("http://127.0.0.1/")
greendns.resolver.query("localhost")
greenlets.getcurrent().switch()

eventlet.spawn()  # error
eventlet.spawn(3)  # error
tpool.execute("text")  # error
eventlet.spawn_after(double, 3)  # error
eventlet.sleep("text")  # error
eventlet.monkey_patch(sockets=True)  # error
eventlet.GreenPool("text")  # error
pool.submit(double, 1)  # error
eventlet.Queue().put()  # error
eventlet.Queue().get(wait=True)  # error
semaphore.Semaphore(1).acquire(1, 2, 3)  # error
eventlet.Timeout(1).expire()  # error
wsgi.server(listener, 3)  # error
wsgi.server(listener)  # error
