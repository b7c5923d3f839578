"""Tasks for a worker that runs them as green threads: celery -A tasks worker -P eventlet"""

import os
import time

from celery import Celery, group

URL = os.environ["REDIS_URL"]
application = Celery("tasks", broker=os.environ.get("BROKER_URL", URL), backend=URL)
# With a heartbeat, over AMQP, a pool of green threads begins at most ten tasks a second.
application.conf.update(
    worker_hijack_root_logger=False, broker_connection_retry_on_startup=True, broker_heartbeat=0
)


@application.task
def add(a, b):
    return a + b


@application.task
def wait(seconds):
    time.sleep(seconds)
    return seconds


@application.task(bind=True, max_retries=3)
def succeed_at_the_third_try(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return self.request.retries


@application.task
def fail():
    raise ValueError("as it should")


@application.task
def add_all(numbers):
    return sum(numbers)


def many(number):
    return group(add.s(count, count) for count in range(number)) | add_all.s()
