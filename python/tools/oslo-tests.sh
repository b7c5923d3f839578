#!/bin/sh
# oslo-tests.sh VENV: the driver for oslo.messaging, `greenloom://`, on the broker of GREENLOOM_RABBITMQ (see
# crates/rpc/tests/rabbitmq/broker.sh): our tests, on OS threads and on our eventlet, and the functional tests of
# oslo.messaging from its sdist, once with our URL and once with the driver in the place of `rabbit://`, for two of them
# run on nothing else. VENV has ours.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
python=$1/bin/python
messaging=18.3.1
. "${GREENLOOM_RABBITMQ:?run it through broker.sh run}/ports"
pip() { "$python" -m pip "$@" --quiet --disable-pip-version-check; }

# Without stock's packages, which would be found first.
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
packages="$root/target/oslo.messaging-$messaging-$version"
if [ ! -d "$packages/oslo_messaging" ]; then
    pip install --target "$packages" "oslo.messaging==$messaging" \
        pytest fixtures testtools testscenarios oslotest pifpaf confluent-kafka requests
    rm -rf "$packages"/eventlet* "$packages"/greenlet* "$packages"/amqp*
fi
sources="$root/target/oslo.messaging-$messaging-tests"
if [ ! -d "$sources" ]; then
    unpacked=$(mktemp -d)
    pip download --no-deps --no-binary oslo.messaging --dest "$unpacked" "oslo.messaging==$messaging"
    tar -xzf "$unpacked/oslo_messaging-$messaging.tar.gz" -C "$unpacked"
    mv "$unpacked/oslo_messaging-$messaging" "$sources"
    rm -rf "$unpacked"
fi

export PYTHONPATH="$packages"
for executor in threading eventlet; do
    echo "our tests of greenloom://, executor $executor:"
    (cd "$here/tests/oslo" && GREENLOOM_OSLO_EXECUTOR=$executor "$python" -W ignore test_driver.py)
done

# Metrics need a server of oslo.metrics; the tests of three brokers want to start them themselves, by Debian's pifpaf.
export PYTHONPATH="$packages:$here/tests/oslo/as_rabbit"
functional() {
    scheme=$1
    shift
    url="$scheme://guest:guest@127.0.0.1:$AMQP/"
    (cd "$sources" && RPC_TRANSPORT_URL=$url NOTIFY_TRANSPORT_URL=$url "$python" -m pytest -q -p no:cacheprovider \
        -W ignore "$@" oslo_messaging/tests/functional/test_functional.py)
}
echo "oslo.messaging's functional tests, with greenloom://:"
functional greenloom -k "not MetricsTestCase"
echo "those for rabbit:// alone, with our driver in its place:"
functional rabbit -p as_rabbit -k "test_mandatory_call or test_monitor_long_call"
