"""Programs on greenlet. A line that checkers must refuse ends in `# error`."""

from contextvars import Context
from types import FrameType
from typing import Any

import greenlet
from greenlet import GreenletExit, getcurrent, gettrace, settrace


def produce(first: int) -> str:
    received: Any = getcurrent().switch(first)
    return str(received)


class Worker(greenlet.greenlet):
    def __init__(self, name: str) -> None:
        super().__init__(self.work)
        self.name = name

    def work(self, *args: int) -> str:
        return self.name * len(args)


made = greenlet.greenlet(produce)
child = greenlet.greenlet(produce, made)
named = greenlet.greenlet(run=produce, parent=None)
result: int = made.switch(1)
result = child.switch(1, key="value")
made.throw()
made.throw(GreenletExit)
made.throw(ValueError, "text")
made.throw(ValueError("text"))
dead: bool = made.dead
frame: FrameType | None = made.gr_frame
context: Context | None = made.gr_context
made.gr_context = None
parent: greenlet.greenlet | None = made.parent
made.parent = child
made.run = produce
truth = bool(made) or not made
worker = Worker("name")
text: str = worker.name
version: str = greenlet.__version__


def trace(event: str, args: tuple[greenlet.greenlet, greenlet.greenlet]) -> None:
    origin, target = args
    print(event, origin.dead, target.dead)


former = settrace(trace)
settrace(None)
settrace(former)
current = gettrace()
greenlet.greenlet.getcurrent().switch()

try:
    made.switch()
except greenlet.error as error:
    print(error.args)
except GreenletExit:
    pass

greenlet.greenlet(1)  # error
greenlet.greenlet(produce, "parent")  # error
greenlet.greenlet(target=produce)  # error
made.parent = None  # error
made.dead = True  # error
made.gr_frame = None  # error
made.throw("text")  # error
made.resume()  # error
settrace(1)  # error
settrace()  # error
greenlet.getcurrent(1)  # error
