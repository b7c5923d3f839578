# The Python packages. Included by the Makefile of the root; everything is run from there.
#
#   make venv [PYTHON=3.12]         .venv (or .venv-3.12) with greenloom, greenlet and eventlet from this tree
#   make test-python [PYTHON=3.12]  our tests, greenlet's own and eventlet's own, on every supported CPython here or on one
#   make test-matrix                eventlet's own tests on every CPython and every hub, with databases; CPython 3.14 from Debian
#   make eventlet-baseline          what stock eventlet passes of its own tests
#   make dependents                gevent, SQLAlchemy and stock eventlet on our greenlet
#   make bench-python               figures beside stock greenlet's

.PHONY: venv test-python test-matrix eventlet-baseline dependents bench-python

venv:
	@set -e; found=$$(PYTHON="$(PYTHON)" python/tools/find-pythons.sh | tail -n 1); \
	[ -n "$$found" ] || { echo "no supported CPython (3.10 to 3.14) with headers was found" >&2; exit 1; }; \
	folder="$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"; \
	python/tools/make-venv.sh "$${found#* }" "$$folder"; \
	echo "$$folder is ready: CPython $${found%% *}"

test-python:
	@PYTHON="$(PYTHON)" python/tools/test.sh

test-matrix:
	@PYTHON="$(PYTHON)" python/tools/test-matrix.sh

eventlet-baseline:
	@PYTHON="$(PYTHON)" python/tools/eventlet-baseline.sh

bench-python:
	@python/tools/bench.sh

dependents:
	@PYTHON="$(PYTHON)" python/tools/dependents.sh
