"""Celery tasks that do nothing: celery -A tasks worker -P eventlet"""

import os

from celery import Celery

application = Celery("tasks", broker=os.environ["BROKER"])
# While it is on, a pool of green threads begins ten tasks a second: it is Celery's loop that waits then.
application.conf.update(broker_heartbeat=0, task_ignore_result=True, broker_connection_retry_on_startup=True)


@application.task
def nothing(number):
    pass
