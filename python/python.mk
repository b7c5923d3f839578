# The Python packages. Included by the Makefile of the root; everything is run from there.
#
#   make venv [PYTHON=3.12]         .venv (or .venv-3.12) with greenloom and greenlet from this tree
#   make test-python [PYTHON=3.12]  our tests and greenlet's own, on every supported CPython here or on one
#   make dependents                gevent, SQLAlchemy and stock eventlet on our greenlet
#   make bench-python               figures beside stock greenlet's

.PHONY: venv test-python dependents bench-python

venv:
	@set -e; found=$$(PYTHON="$(PYTHON)" python/tools/find-pythons.sh | tail -n 1); \
	[ -n "$$found" ] || { echo "no supported CPython (3.10 to 3.14) with headers was found" >&2; exit 1; }; \
	folder="$(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)"; \
	python/tools/make-venv.sh "$${found#* }" "$$folder"; \
	echo "$$folder is ready: CPython $${found%% *}"

test-python:
	@PYTHON="$(PYTHON)" python/tools/test.sh

bench-python:
	@python/tools/bench.sh

dependents:
	@PYTHON="$(PYTHON)" python/tools/dependents.sh
