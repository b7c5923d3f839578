#!/usr/bin/env bash
# A PostgreSQL, a MariaDB and a Redis of their own, on Unix sockets in one folder, so that they disturb no others.
#
#   servers.sh install            Debian's packages, where they are missing
#   servers.sh run COMMAND ...    starts them, runs the command with GREENLOOM_SERVERS=<folder>, stops them
#
# The sockets: postgres/.s.PGSQL.5432 (user postgres), mariadb/socket (user root), redis/socket.
set -euo pipefail

missing() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || echo postgresql
    [ -x /usr/sbin/mariadbd ] || echo mariadb-server
    command -v redis-server >/dev/null || echo redis-server
    # What native-tls is built with.
    command -v pkg-config >/dev/null || echo pkg-config
    [ -e /usr/include/openssl/ssl.h ] || echo libssl-dev
}

install() {
    local packages
    packages=$(missing)
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086
    "$(dirname "$0")/../../tools/apt-install.sh" $packages
}

# PostgreSQL refuses to run as root; it runs as the user that its package makes then.
as_postgres=()
[ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups)

pids=()

# Starts a server in the background, and waits for its socket.
start() {
    local name=$1 socket=$2
    shift 2
    "$@" </dev/null >"$FOLDER/$name.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 600); do
        [ -S "$socket" ] && return
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name did not come up in a minute:" >&2
    tail -n 20 "$FOLDER/$name.log" >&2
    return 1
}

stop() {
    [ ${#pids[@]} = 0 ] || kill -TERM "${pids[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$FOLDER"
}

start_all() {
    local postgres mariadb=$FOLDER/mariadb redis=$FOLDER/redis bin
    postgres=$FOLDER/postgres
    bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | tail -n 1)")
    mkdir "$postgres" "$mariadb" "$redis"
    chmod 755 "$FOLDER"
    [ "$(id -u)" != 0 ] || chown postgres "$postgres"
    (cd "$postgres" && "${as_postgres[@]}" "$bin/initdb" -D "$postgres/data" -U postgres --auth trust --no-sync) \
        >"$FOLDER/initdb.log" 2>&1
    start postgres "$postgres/.s.PGSQL.5432" "${as_postgres[@]}" "$bin/postgres" -D "$postgres/data" -k "$postgres" \
        -c listen_addresses= -c fsync=off -c max_connections=300
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$mariadb/data" --skip-test-db \
        --auth-root-authentication-method=normal >"$FOLDER/mariadb-install.log" 2>&1
    start mariadb "$mariadb/socket" /usr/sbin/mariadbd --no-defaults --user="$(id -un)" --datadir="$mariadb/data" \
        --socket="$mariadb/socket" --pid-file="$mariadb/pid" --skip-networking
    start redis "$redis/socket" redis-server --port 0 --unixsocket "$redis/socket" --save '' --dir "$redis"
}

run() {
    install
    # Short: the path of a Unix socket has 107 bytes at most.
    FOLDER=$(mktemp -d /tmp/greenloom-servers.XXXXXX)
    trap stop EXIT
    trap 'exit 130' INT TERM
    start_all
    GREENLOOM_SERVERS=$FOLDER "$@"
}

case ${1:-} in
    install) install ;;
    run) shift && run "$@" ;;
    *) sed -n '2,/^set/p' "$0" | sed '$d' >&2; exit 2 ;;
esac
