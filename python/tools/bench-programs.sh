#!/bin/sh
# nameko, Celery and oslo.messaging over RabbitMQ, on our eventlet, greenlet and amqp beside stock's, and amqp alone, on
# the CPythons of PYTHONS (by default 3.13) that this machine has; all programs, or those named. Needs the broker of
# crates/rpc/tests/rabbitmq/broker.sh run.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
. "${GREENLOOM_RABBITMQ:?run it through crates/rpc/tests/rabbitmq/broker.sh run}/ports"
for version in ${PYTHONS:-3.13}; do
    found=$(PYTHON=$version "$here/tools/find-pythons.sh") || continue
    # Ours is where the dependents are checked.
    ours="$root/target/dependents-$version"
    "$here/tools/make-venv.sh" "${found#* }" "$ours"
    stock="$root/target/stock-programs-$version"
    [ -x "$stock/bin/python" ] || "${found#* }" -m venv "$stock"
    pip="-m pip install --quiet --disable-pip-version-check"
    "$ours/bin/python" $pip -r "$here/examples/requirements.txt"
    "$stock/bin/python" $pip -r "$here/examples/requirements.txt" eventlet==0.41.3 greenlet==3.5.6 amqp==5.4.2
    "$ours/bin/python" "$root/bench/python/programs/compare.py" "$ours/bin/python" "$stock/bin/python" \
        "127.0.0.1:$AMQP" "$root/bench/results/python-programs-$version.json" "$@"
    [ $# = 0 ] || continue
    "$root/bench/run" plot "$root/docs/bench-programs.svg" \
        "Programs on Greenloom's eventlet, greenlet and amqp beside stock's" \
        "$root/bench/results/python-programs-$version.json"
    amqp="$root/target/stock-amqp-$version"
    [ -d "$amqp/amqp" ] || "$ours/bin/python" $pip --no-deps --target "$amqp" amqp==5.4.2
    "$ours/bin/python" "$root/bench/python/amqp_messages.py" "$ours/bin/python" "$amqp" \
        "$root/bench/results/python-amqp-$version.json" "127.0.0.1:$AMQP"
done
