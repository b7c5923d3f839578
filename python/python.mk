# The Python packages. Included by the Makefile of the root; everything is run from there. PYTHON=3.12 chooses one
# CPython where a target would otherwise take the newest or all.

.PHONY: venv wheels test-wheels test-install test-python test-python-aarch64 test-debian test-differential \
	test-cpython test-cpython-quick test-matrix eventlet-baseline dependents bench-python bench-wsgi \
	bench-programs bench-base bench-hooks bench-inspect pictures demo-python soak-python \
	test-amqp test-hooks

venv: ## .venv (or .venv-3.12, with PYTHON=3.12) with greenloom, greenlet, eventlet and amqp from this tree
	@set -e; found=$$(PYTHON="$(PYTHON)" python/tools/find-pythons.sh | tail -n 1); \
	[ -n "$$found" ] || { echo "no supported CPython (3.10 to 3.15) with headers was found" >&2; exit 1; }; \
	folder="$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"; \
	python/tools/make-venv.sh "$${found#* }" "$$folder"; \
	echo "$$folder is ready: CPython $${found%% *}"

wheels: ## dist/ with wheels for all CPythons, sdists and an index of them; PYTHON=3.13 for one
	@PYTHON="$(PYTHON)" MACHINES="$(MACHINES)" python/tools/wheels.sh

# Not part of `make test`: it wants the wheels of all CPythons for this processor, and brings some roots of Debian.
test-wheels: ## what is in dist/, in clean roots of Debian without a compiler, and on musl; needs root, debootstrap
	@python/tools/test-wheels.sh

INSTALL_DIST := target/install/dist
test-install: ## each line of docs/install.md, against an index of wheels that are made for it
	@set -e; found=$$(PYTHON="$(PYTHON)" python/tools/find-pythons.sh | tail -n 1); \
	[ -n "$$found" ] || { echo "no supported CPython (3.10 to 3.15) with headers was found" >&2; exit 1; }; \
	PYTHON="$${found%% *}" MACHINES=$$(uname -m) LIBC=gnu DIST=$(INSTALL_DIST) python/tools/wheels.sh; \
	python3 python/tools/install_lines.py "$${found#* }" $(INSTALL_DIST)

test-python: ## our tests, greenlet's and eventlet's, on every supported CPython here or on one
	@PYTHON="$(PYTHON)" python/tools/test.sh

# Not part of `make test`: emulation takes its time, and it wants the wheel.
test-python-aarch64: ## greenlet's tests and ours on 64-bit ARM, under qemu, with the wheel in dist/
	@PYTHON="$(PYTHON)" python/tools/test-aarch64.sh

test-amqp: venv ## our tests of amqp, py-amqp's and kombu's, with a RabbitMQ of its own
	crates/rpc/tests/rabbitmq/broker.sh run python/tools/amqp-tests.sh \
		"$(CURDIR)/$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"

# Not part of `make test`: it brings oslo.messaging, and its tests wait for timeouts. The Rust side of the driver is in
# `test-rust`.
test-oslo: venv ## the driver for oslo.messaging: our tests and its own, with a RabbitMQ of its own
	crates/rpc/tests/rabbitmq/broker.sh run python/tools/oslo-tests.sh \
		"$(CURDIR)/$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"

# SECONDS of kills, timeouts and lost connections under load, on top of the other tests.
test-hooks: venv ## C libraries on green threads, with servers of their own (docs/native.md); SECONDS=60 of stress each
	STRESS_SECONDS=$(or $(SECONDS),60) tests/synchronous_crates/servers.sh run \
		crates/rpc/tests/rabbitmq/broker.sh run python/tools/hooks-tests.sh \
		"$(CURDIR)/$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"

# What runs in Debian unstable, one after another: targets that need its CPythons, or other programs of its releases.
DEBIAN_TESTS ?= test-python test-rpc
test-debian: ## with the CPythons and the RabbitMQ of Debian unstable, which is brought; needs root and debootstrap
	@python/tools/debian-unstable.sh env PYTHON="$(PYTHON)" make $(DEBIAN_TESTS)

test-differential: venv ## random programs, on OS threads and patched: SEEDS=1000 (the first) SECONDS=600
	$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)/bin/python python/tests/differential/differential.py search \
		--seeds $(or $(SEEDS),1000) --seconds $(or $(SECONDS),600)

test-cpython: ## CPython's own tests under monkey_patch(): unpatched, stock's and ours; takes hours
	@PYTHON="$(PYTHON)" MODULES="$(MODULES)" python/tools/cpython-tests.sh full

test-cpython-quick: ## a selection of them under ours, at most 3 minutes
	@PYTHON="$(PYTHON)" python/tools/cpython-tests.sh quick

test-matrix: ## eventlet's own tests on every CPython and hub, with databases
	@PYTHON="$(PYTHON)" python/tools/test-matrix.sh

eventlet-baseline: ## what stock eventlet passes of its own tests
	@PYTHON="$(PYTHON)" python/tools/eventlet-baseline.sh

pictures: venv ## docs/top*.svg: a program that is stuck, as `greenloom top` shows it
	crates/cli/tests/pictures.sh "$(CURDIR)/$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)/bin/python"

bench-inspect: venv ## what it costs to be looked into: TURNS=5
	"$(CURDIR)/$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)/bin/python" bench/python/inspected.py \
		--turns $(or $(TURNS),5) --json bench/results/python-inspect.json

bench-python: ## figures beside stock greenlet's and stock eventlet's
	@python/tools/bench.sh
	@python/tools/bench-eventlet.sh $(FIGURES)

# bjoern is built with the headers of libev (Debian: libev-dev), and left out with a word where they are missing.
bench-wsgi: ## the WSGI server beside stock eventlet's, bjoern and granian: FIGURES="hello post" for some
	@python/tools/bench-wsgi.sh $(FIGURES)

bench-programs: ## CPU time of nameko, Celery and oslo.messaging over RabbitMQ, beside stock's: PROGRAMS=celery for one
	crates/rpc/tests/rabbitmq/broker.sh run python/tools/bench-programs.sh $(PROGRAMS)

bench-hooks: ## C libraries on green threads, beside stock eventlet and PyMySQL; crates, beside asynchronous peers
	tests/synchronous_crates/servers.sh run python/tools/bench-hooks.sh $(TURNS)

bench-base: ## beside an earlier revision, which is built for it: BASE=main ROWS="spawn sleep"
	@PYTHON="$(PYTHON)" python/tools/bench-base.sh $(BASE) $(ROWS)

demo-python: ## the router agent on eventlet: on ours, and on stock's beside it
	@PYTHON="$(PYTHON)" python/tools/demo.sh $(ARGS)

soak-python: venv ## MINUTES=3 of everything at once on eventlet, with memory that must stay flat
	$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)/bin/python python/tools/soak.py $(MINUTES)

dependents: ## programs that use greenlet and eventlet, unmodified, on ours
	@PYTHON="$(PYTHON)" python/tools/dependents.sh
