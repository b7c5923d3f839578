#!/bin/sh
# Runs a command beside throw-away PostgreSQL and MariaDB servers, for the database tests of eventlet:
#
#   python/tools/databases.sh COMMAND...
#
# The servers are Debian's packages, on ports and in a folder of their own; they end with the command. The command finds
# what to connect with in EVENTLET_DB_TEST_AUTH, as eventlet's tests read it. As root, missing packages are installed. A
# server that can't be had is named on stderr, and its tests will skip.
set -u
[ $# -gt 0 ] || { sed -n 's/^# \{0,1\}//; 2,9p' "$0" >&2; exit 2; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/databases.XXXXXX")
chmod 755 "$folder"

stop() {
    for file in "$folder"/*.pid; do
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        # MariaDB heeds the first; PostgreSQL waits for its clients until the second.
        kill -TERM "$pid" 2>/dev/null && kill -INT "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null
    done
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The servers refuse to run as root, and have users of their own for it.
as() {
    [ "$(id -u)" != 0 ] || echo "setpriv --reuid $1 --regid $1 --init-groups"
}

have() { # package, one of its programs
    ! command -v "$2" >/dev/null || return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "installing $1" >&2
    { apt-get install -y "$1" || { apt-get update && apt-get install -y "$1"; }; } >"$folder/apt.log" 2>&1
    find_postgresql
    command -v "$2" >/dev/null
}

# Debian keeps the programs of each PostgreSQL version in a folder that is not in PATH.
find_postgresql() {
    newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
    [ -z "$newest" ] || PATH=$newest:$PATH
}

data_folder() { # name, user
    mkdir -m 700 "$folder/$1"
    [ "$(id -u)" != 0 ] || chown "$2" "$folder/$1"
    echo "$folder/$1"
}

free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

until_serving() { # name, command that then succeeds
    name=$1
    shift
    for _ in $(seq 150); do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 "$(cat "$folder/$name.pid")" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}

start_postgresql() {
    find_postgresql
    have postgresql initdb || return 1
    data=$(data_folder postgresql postgres)
    $(as postgres) initdb --auth=trust --username=test --encoding=UTF8 --no-sync -D "$data" || return 1
    postgresql_port=$(free_port)
    $(as postgres) postgres -D "$data" -p "$postgresql_port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off &
    echo $! >"$folder/postgresql.pid"
    until_serving postgresql pg_isready -h 127.0.0.1 -p "$postgresql_port" || return 1
    # Whoever names no database gets the one called as the user is.
    psql -h 127.0.0.1 -p "$postgresql_port" -U test -c "create database test" postgres
}

start_mariadb() {
    have mariadb-server mariadbd || return 1
    data=$(data_folder mariadb mysql)
    $(as mysql) mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db \
        --datadir="$data" || return 1
    mariadb_port=$(free_port)
    $(as mysql) mariadbd --no-defaults --datadir="$data" --socket="$data/socket" --bind-address=127.0.0.1 \
        --port="$mariadb_port" --skip-name-resolve --innodb-flush-log-at-trx-commit=0 &
    echo $! >"$folder/mariadb.pid"
    until_serving mariadb mariadb-admin --no-defaults --host=127.0.0.1 --port="$mariadb_port" --user=root ping
}

for name in postgresql mariadb; do
    "start_$name" >"$folder/$name.log" 2>&1 && continue
    echo "no $name server; its tests will skip. The end of its log:" >&2
    tail -n 5 "$folder/$name.log" >&2
done

# Port 1 is one that nothing listens on.
EVENTLET_DB_TEST_AUTH=$(printf '{"psycopg2": {"host": "%s", "port": %d, "user": "%s"},
    "MySQLdb": {"host": "%s", "port": %d, "user": "%s", "passwd": ""}}' \
    127.0.0.1 "${postgresql_port:-1}" test 127.0.0.1 "${mariadb_port:-1}" root)
export EVENTLET_DB_TEST_AUTH
"$@"
