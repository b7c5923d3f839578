# The Python packages. Included by the Makefile of the root; everything is run from there.
#
#   make venv [PYTHON=3.12]         .venv (or .venv-3.12) with greenloom, greenlet and eventlet from this tree
#   make demo-python                the router agent on eventlet: on ours, and on stock's beside it
#   make test-python [PYTHON=3.12]  our tests, greenlet's and eventlet's, on every supported CPython here or on one
#   make test-cpython [PYTHON=3.13] CPython's own tests under monkey_patch(): unpatched, stock's and ours; hours
#   make test-cpython-quick         a selection of them under ours, at most 3 minutes; part of `make test`
#   make test-matrix                eventlet's own tests on every CPython and hub, with databases
#   make eventlet-baseline          what stock eventlet passes of its own tests
#   make dependents                 gevent, SQLAlchemy, stock eventlet on our greenlet; Celery, gunicorn and more on our eventlet
#   make soak-python MINUTES=10     everything at once on eventlet; memory must stay flat, nothing may be lost
#   make bench-python               figures beside stock greenlet's and stock eventlet's

.PHONY: venv test-python test-cpython test-cpython-quick test-matrix eventlet-baseline dependents bench-python demo-python soak-python

venv:
	@set -e; found=$$(PYTHON="$(PYTHON)" python/tools/find-pythons.sh | tail -n 1); \
	[ -n "$$found" ] || { echo "no supported CPython (3.10 to 3.14) with headers was found" >&2; exit 1; }; \
	folder="$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"; \
	python/tools/make-venv.sh "$${found#* }" "$$folder"; \
	echo "$$folder is ready: CPython $${found%% *}"

test-python:
	@PYTHON="$(PYTHON)" python/tools/test.sh

test-cpython:
	@PYTHON="$(PYTHON)" MODULES="$(MODULES)" python/tools/cpython-tests.sh full

test-cpython-quick:
	@PYTHON="$(PYTHON)" python/tools/cpython-tests.sh quick

test-matrix:
	@PYTHON="$(PYTHON)" python/tools/test-matrix.sh

eventlet-baseline:
	@PYTHON="$(PYTHON)" python/tools/eventlet-baseline.sh

bench-python:
	@python/tools/bench.sh
	@python/tools/bench-eventlet.sh $(FIGURES)

demo-python:
	@PYTHON="$(PYTHON)" python/tools/demo.sh $(ARGS)

soak-python: venv
	$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)/bin/python python/tools/soak.py $(MINUTES)

dependents:
	@PYTHON="$(PYTHON)" python/tools/dependents.sh
