"""An agent as those of Neutron are: periodic work, updates from a queue, and threads that wait for clients for ever.

It prints the port at which it answers. SIGTERM lets the update that is being applied end, and ends the program.
"""

import eventlet

eventlet.monkey_patch()

import queue  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

PERIOD = 0.2


class Agent:
    def __init__(self):
        self.updates = queue.Queue()
        self.applied = 0
        self.reports = 0
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))

    def run(self):
        # None of these is a daemon, and none of them ever returns.
        for work in (self.answer, self.apply_updates):
            threading.Thread(target=work, name=work.__name__).start()
        eventlet.spawn(self.report)
        print("listening on", self.listener.getsockname()[1], flush=True)
        self.stopping.wait()
        print(f"stopped: {self.applied} updates applied", flush=True)

    def stop(self, *_):
        self.stopping.set()

    def answer(self):
        while True:
            client, _ = self.listener.accept()
            eventlet.spawn(self.take_updates, client)

    def take_updates(self, client):
        with client, client.makefile("rw") as lines:
            for line in lines:
                self.updates.put(line.strip())
                print("queued", line.strip(), file=lines, flush=True)

    def apply_updates(self):
        while True:
            self.updates.get()
            time.sleep(0.01)
            self.applied += 1

    def report(self):
        while True:
            self.reports += 1
            time.sleep(PERIOD)


def main():
    agent = Agent()
    signal.signal(signal.SIGTERM, agent.stop)
    agent.run()


if __name__ == "__main__":
    main()
