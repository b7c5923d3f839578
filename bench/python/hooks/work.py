"""One measurement of C libraries on green threads, in whatever eventlet there is.

work.py waits psycopg2|mysqlclient      50 green threads, queries that wait 100 ms
work.py selects mysqlclient|pymysql     20 green threads, selects of a number
work.py rows mysqlclient|pymysql        20 green threads, selects of a row of eight columns by its key
    print queries a second, and microseconds of CPU a query
work.py off LIBRARY                     prints nanoseconds that a hooked call costs more off a green thread, 0
"""

import importlib
import importlib.util
import os
import sys
import time

import eventlet

if sys.argv[1] != "off":
    try:
        eventlet.monkey_patch(native=sys.argv[2] != "pymysql")
    except TypeError:
        eventlet.monkey_patch(psycopg=False)  # stock eventlet

SERVERS = os.environ.get("GREENLOOM_SERVERS")
MARIADB = {"unix_socket": f"{SERVERS}/mariadb/socket", "user": "root"}


def connect(library):
    if library == "psycopg2":
        psycopg2 = importlib.import_module("psycopg2")
        return psycopg2.connect(host=f"{SERVERS}/postgres", user="postgres", dbname="postgres")
    return importlib.import_module({"mysqlclient": "MySQLdb", "pymysql": "pymysql"}[library]).connect(**MARIADB)


def waits(library):
    query = "select pg_sleep(0.1)" if library == "psycopg2" else "select sleep(0.1)"
    return rate(library, query, 50, 0.5)


def selects(library):
    return rate(library, "select 42", 20, 2)


def rows(library):
    connection = connect(library)
    connection.cursor().execute("create database if not exists bench")
    connection.select_db("bench")
    connection.cursor().execute(
        "create or replace table people (id int primary key, name varchar(40), mail varchar(40), town varchar(40),"
        " born date, balance decimal(10, 2), is_active bool, seen datetime) as select seq as id,"
        " 'Ada Lovelace' as name, 'ada@example.org' as mail, 'London' as town, date '1815-12-10' as born,"
        " 1234.5 as balance, true as is_active, now() as seen from seq_1_to_100"
    )
    connection.commit()
    return rate(library, "select * from bench.people where id = 42", 20, 2)


def rate(library, query, clients, seconds):
    connections = [connect(library) for _ in range(clients)]
    count = 0

    def client(connection):
        nonlocal count
        while True:
            cursor = connection.cursor()
            cursor.execute(query)
            cursor.fetchone()
            count += 1
            if time.monotonic() >= end:
                return

    began, used = time.monotonic(), time.process_time()
    end = began + seconds
    for thread in [eventlet.spawn(client, connection) for connection in connections]:
        thread.wait()
    return count / (time.monotonic() - began), (time.process_time() - used) / count * 1e6


def off(library):
    import threading

    from greenloom import hooks

    spec = importlib.util.spec_from_file_location("poll_nothing", library)
    module = importlib.util.module_from_spec(spec)
    best = {False: 1e9, True: 1e9}

    def measure():
        for turn in range(20):
            hooked = turn % 2 == 1
            if hooked:
                hooks.install(["poll_nothing"])
            else:
                hooks.uninstall()
            # Short ones, of which some are not disturbed.
            best[hooked] = min([best[hooked], *(module.poll_nothing(2_000) for _ in range(50))])

    sys.modules["poll_nothing"] = module
    spec.loader.exec_module(module)
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    return best[True] - best[False], 0


print(*{"waits": waits, "selects": selects, "rows": rows, "off": off}[sys.argv[1]](sys.argv[2]))
