#!/bin/sh
# amqp-tests.sh VENV: our tests of amqp, py-amqp's own, and kombu's of its transport over it. VENV has ours. Theirs come
# from their sdists; stock passes all of them, so all have to pass. With GREENLOOM_RABBITMQ, the folder of a broker (see
# crates/rpc/tests/rabbitmq/broker.sh), those that need one run too.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
python=$1/bin/python
amqp=5.4.2
kombu=5.7.0
"$here/tools/suite-packages.sh" "$python"

# sources NAME VERSION: a folder with nothing but the tests: a package beside them would be imported instead of ours.
sources() {
    folder="$root/target/$1-$2-tests"
    if [ ! -d "$folder/t" ]; then
        unpacked=$(mktemp -d)
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary "$1" \
            --dest "$unpacked" "$1==$2" >&2
        tar -xzf "$unpacked/$1-$2.tar.gz" -C "$unpacked"
        mkdir -p "$folder"
        mv "$unpacked/$1-$2/setup.cfg" "$unpacked/$1-$2/t" "$folder"
        rm -rf "$unpacked"
    fi
    echo "$folder"
}

tests() { (cd "$1" && shift && "$python" -m pytest -q -p no:cacheprovider -W ignore "$@"); }

echo "our tests of amqp:"
PYTHONPATH="$here/tests/amqp" "$python" "$here/tools/suite.py" "$python" "$here/tests/amqp"

echo "py-amqp's own tests:"
amqp_tests=$(sources amqp "$amqp")
tests "$amqp_tests" t/unit t/integration/test_integration.py

# kombu without stock amqp, which would be found first.
packages="$root/target/kombu-$kombu"
[ -d "$packages/kombu" ] || "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --target "$packages" "kombu==$kombu" tzdata packaging
export PYTHONPATH="$packages"
echo "kombu's tests of its transport:"
kombu_tests=$(sources kombu "$kombu")
tests "$kombu_tests" t/unit/transport/test_pyamqp.py t/unit/test_connection.py t/unit/test_messaging.py

[ -n "${GREENLOOM_RABBITMQ:-}" ] || exit 0
. "$GREENLOOM_RABBITMQ/ports"
export RABBITMQ_HOST=127.0.0.1 RABBITMQ_5672_TCP="$AMQP"
echo "py-amqp's and kombu's tests with a RabbitMQ:"
tests "$amqp_tests" t/integration/test_rmq.py -k "not tls"
# Stock fails the one that is left out, too: RabbitMQ 4 keeps another order.
tests "$kombu_tests" t/integration/test_py_amqp.py -k "not test_publish_requeue_consume"
