#!/bin/sh
# Shows unmodified programs on ours: gevent, SQLAlchemy with aiosqlite and stock eventlet on our greenlet; a
# Flask-SocketIO chat, Celery on Redis and on RabbitMQ, oslo.messaging, nameko, gunicorn and Swift on our eventlet and
# amqp; and developers' tools that look into a program of ours. EXAMPLES names some of the programs on our eventlet.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
PYTHON=${PYTHON:-3.11}
found=$(PYTHON=$PYTHON "$here/tools/find-pythons.sh")
version=${found%% *}
venv="$root/target/dependents-$version"
"$here/tools/make-venv.sh" "${found#* }" "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check"
# Ours is installed, so the resolver has to find that it satisfies what they ask for.
$pip install --quiet gevent sqlalchemy aiosqlite coverage memray py-spy loguru -r "$here/examples/requirements.txt"
$pip check
# Stock eventlet goes first on the path of its own program only.
stock="$root/target/stock-eventlet-alone-$version"
[ -d "$stock/eventlet" ] || $pip install --quiet --no-deps --target "$stock" eventlet==0.41.3
# The last gunicorn with an eventlet worker of its own.
gunicorn="$root/target/gunicorn-25-$version"
[ -d "$gunicorn/gunicorn" ] || $pip install --quiet --no-deps --target "$gunicorn" gunicorn==25.3.0
command -v redis-server >/dev/null || [ "$(id -u)" != 0 ] || apt-get install -y redis-server >/dev/null

for program in gevent_server sqlalchemy_asyncio developer_tools; do
    timeout 300 "$venv/bin/python" "$here/tests/dependents/$program.py"
done
PYTHONPATH="$stock" timeout 120 "$venv/bin/python" "$here/tests/dependents/stock_eventlet.py"
timeout 300 "$venv/bin/python" "$here/tests/dependents/gunicorn_worker.py"
PYTHONPATH="$gunicorn" timeout 120 "$venv/bin/python" "$here/examples/gunicorn_app/check.py" eventlet
failed=
check() { timeout 300 "$@" "$venv/bin/python" "$here/examples/$example/check.py" || failed="$failed $example"; }
rabbitmq="$root/crates/rpc/tests/rabbitmq/broker.sh"
for example in ${EXAMPLES:-agent chat celery_worker oslo_server nameko_services gunicorn_app swift_cluster}; do
    case $example in
        celery_worker) check; check "$rabbitmq" run ;;
        oslo_server | nameko_services) check "$rabbitmq" run ;;
        *) check ;;
    esac
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
