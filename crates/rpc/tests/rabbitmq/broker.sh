#!/usr/bin/env bash
# A private RabbitMQ: its own ports (all on 127.0.0.1), data folder, node name and epmd, so that it disturbs no other
# one.
#
#   broker.sh install            Debian's rabbitmq-server, where there is none
#   broker.sh run COMMAND ...    starts a broker, runs the command with GREENLOOM_RABBITMQ=<folder>, stops the broker
#   broker.sh cluster COMMAND .. the same with three brokers that are one cluster, in <folder>/1, <folder>/2, <folder>/3
#
# For tests, on the broker of GREENLOOM_RABBITMQ:
#
#   broker.sh start|stop|kill    kill is kill -9: nothing is written to disk any more
#   broker.sh ctl ARGUMENTS      rabbitmqctl
#
# The folder has the broker's ports in `ports`, its certificate authority in `ca.pem`, its log in `log/`.
set -euo pipefail

BIN=/usr/lib/rabbitmq/bin

install() {
    [ -x "$BIN/rabbitmq-server" ] && command -v openssl >/dev/null && return
    "$(dirname "$0")/../../../../tools/apt-install.sh" rabbitmq-server openssl
}

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Twelve ports in a row, below those that the system gives to clients.
free_ports() {
    local base port
    for _ in $(seq 100); do
        base=$((10000 + RANDOM % 1600 * 12))
        for port in $(seq "$base" $((base + 11))); do
            is_open "$port" && continue 2
        done
        echo "$base" && return
    done
    echo "no free ports" >&2
    return 1
}

certificates() {
    local folder=$1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=greenloom test CA" \
        -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
        -keyout "$folder/server.key" -out "$folder/server.csr" 2>/dev/null
    openssl x509 -req -in "$folder/server.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 30 \
        -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$folder/server.pem" 2>/dev/null
}

# prepare FOLDER NODE FIRST-PORT EPMD-PORT: a broker that is not started yet.
prepare() {
    local folder=$1 node=$2 base=$3 epmd=$4
    mkdir -p "$folder/log" "$folder/data"
    certificates "$folder"
    printf 'NODE=%s\nAMQP=%s\nAMQPS=%s\nDIST=%s\nEPMD=%s\n' \
        "$node" "$base" $((base + 1)) $((base + 2)) "$epmd" >"$folder/ports"
    cat >"$folder/rabbitmq.conf" <<CONFIG
listeners.tcp.1 = 127.0.0.1:$base
listeners.ssl.1 = 127.0.0.1:$((base + 1))
ssl_options.cacertfile = $folder/ca.pem
ssl_options.certfile = $folder/server.pem
ssl_options.keyfile = $folder/server.key
disk_free_limit.absolute = 50MB
max_message_size = 4000000
log.file.level = info
CONFIG
    echo '[].' >"$folder/enabled_plugins"
}

# Sets the environment of everything that belongs to the broker.
enter() {
    FOLDER=${GREENLOOM_RABBITMQ:?run it through broker.sh run}
    . "$FOLDER/ports"
    export HOME=$FOLDER RABBITMQ_NODENAME=$NODE RABBITMQ_DIST_PORT=$DIST
    export ERL_EPMD_PORT=$EPMD ERL_EPMD_ADDRESS=127.0.0.1
    export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
    export RABBITMQ_CONFIG_FILE=$FOLDER/rabbitmq.conf RABBITMQ_ENABLED_PLUGINS_FILE=$FOLDER/enabled_plugins
    export RABBITMQ_MNESIA_BASE=$FOLDER/data RABBITMQ_LOG_BASE=$FOLDER/log RABBITMQ_PID_FILE=$FOLDER/pid
    export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_GENERATED_CONFIG_DIR=$FOLDER/generated
}

alive() { [ -s "$FOLDER/pid" ] && kill -0 "$(cat "$FOLDER/pid")" 2>/dev/null; }

start() {
    alive && return
    rm -f "$FOLDER/pid"
    setsid "$BIN/rabbitmq-server" </dev/null >>"$FOLDER/log/console" 2>&1 &
    # The listeners come last, so one that accepts is up. Under load this takes a while.
    for _ in $(seq 1200); do
        is_open "$AMQP" && is_open "$AMQPS" && alive && return
        sleep 0.1
    done
    echo "RabbitMQ did not come up in two minutes:" >&2
    tail -n 20 "$FOLDER/log/console" >&2
    return 1
}

gone() {
    for _ in $(seq 300); do
        alive || return 0
        sleep 0.1
    done
    return 1
}

stop() {
    alive || return 0
    kill -TERM "$(cat "$FOLDER/pid")"
    gone || kill_now
}

kill_now() {
    alive || return 0
    kill -KILL "$(cat "$FOLDER/pid")"
    gone
}

# Ends all that `run` or `cluster` has started.
clean_up() {
    for GREENLOOM_RABBITMQ in $BROKERS; do
        enter
        kill_now || true
    done
    epmd -port "$EPMD" -kill >/dev/null 2>&1 || true
    rm -rf "$TOP"
}

begin() {
    install
    TOP=$(mktemp -d "${TMPDIR:-/tmp}/greenloom-rabbitmq.XXXXXX")
    export GREENLOOM_RABBITMQ=$TOP
    BASE=$(free_ports)
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

run() {
    begin
    BROKERS=$TOP
    prepare "$TOP" greenloom@localhost "$BASE" $((BASE + 3))
    (enter && start)
    "$@"
}

cluster() {
    begin
    BROKERS="$TOP/1 $TOP/2 $TOP/3"
    local number
    for number in 1 2 3; do
        prepare "$TOP/$number" "greenloom$number@localhost" $((BASE + 3 * (number - 1))) $((BASE + 9))
        cat >>"$TOP/$number/rabbitmq.conf" <<CONFIG
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = greenloom1@localhost
cluster_formation.classic_config.nodes.2 = greenloom2@localhost
cluster_formation.classic_config.nodes.3 = greenloom3@localhost
CONFIG
        # They trust who has the same.
        (umask 077 && printf greenloom-cluster >"$TOP/$number/.erlang.cookie")
        (GREENLOOM_RABBITMQ=$TOP/$number && enter && start)
    done
    "$@"
}

case ${1:-} in
    install) install ;;
    run) shift && run "$@" ;;
    cluster) shift && cluster "$@" ;;
    start) enter && start ;;
    stop) enter && stop ;;
    kill) enter && kill_now ;;
    ctl) shift && enter && exec "$BIN/rabbitmqctl" --quiet "$@" ;;
    *) sed -n '2,/^set/p' "$0" | sed '$d' >&2; exit 2 ;;
esac
