# Everything here does its own set-up. On a fresh Debian it needs Rust (with rustfmt and clippy), Python 3.10 or later,
# and make.

CARGO ?= cargo
.DEFAULT_GOAL := help

.PHONY: help demo test test-rust test-synchronous test-fallbacks test-native test-loom test-rpc test-rpc-cluster \
	test-aarch64 test-page test-asan check check-rust check-structure check-package fuzz soak bench bench-rust \
	bench-rpc

help: ## show this
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 20

demo: ## the router agent: a few thousand updates for a few hundred routers, through a GreenPool of 8
	$(CARGO) run --quiet --release -p router-agent -- $(ARGS)

# One after another, so that the first failure is the last thing shown.
test: ## every test
	@for part in test-rust test-synchronous test-fallbacks test-native test-loom test-rpc test-rpc-cluster \
		test-python test-install test-cpython-quick; do \
		echo "== make $$part"; \
		$(MAKE) --no-print-directory $$part || { echo "make $$part failed" >&2; exit 1; }; \
	done

test-rust: ## the Rust crates, their examples and documentation
	$(CARGO) test
	$(CARGO) test -p greenloom-rpc --features bridge --test bridge

# A workspace of its own, whose dependencies stay out of the product's.
SYNCHRONOUS := tests/synchronous_crates
# Its lints are here rather than in `check`, which needs no more than Rust: native-tls wants OpenSSL's headers.
test-synchronous: ## synchronous crates of others on green threads, with PostgreSQL, MariaDB and Redis of its own
	cd $(SYNCHRONOUS) && ./servers.sh install && $(CARGO) clippy --all-targets -- -D warnings
	cd $(SYNCHRONOUS) && ./servers.sh run $(CARGO) test

# Each fallback has a hidden switch: the portable stack switch, and guards made by mprotect.
test-fallbacks: ## the same behaviour on the fallbacks for other processors and older kernels
	RUSTFLAGS='--cfg greenloom_switch="trampoline"' CARGO_TARGET_DIR=target/trampoline \
		$(CARGO) test -p greenloom-fiber -p greenloom --tests
	GREENLOOM_GUARD=mprotect $(CARGO) test -p greenloom-fiber -p greenloom --test switch --test faults --test greenlet

# A release build may keep values in registers that a processor added and that a switch must know, such as AVX-512's.
test-native: ## the switch, built for all that this processor has
	RUSTFLAGS='-C target-cpu=native' CARGO_TARGET_DIR=target/native $(CARGO) test --release -p greenloom-fiber --tests

# Not part of `make test`: it wants a cross compiler and qemu, and takes some minutes.
test-aarch64: ## fiber, hub and greenloom on 64-bit ARM, under qemu (tools/aarch64.sh)
	tools/aarch64.sh

test-loom: ## all interleavings of a hub's inbox, and of the lines of waiters
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom $(CARGO) test -p greenloom-hub \
		--test inbox_loom --test line_loom --release

RABBIT := crates/rpc/tests/rabbitmq

# One after another: they share a broker, and some of them kill it.
test-rpc: ## services over RabbitMQ, which is installed where it is missing, started for the tests, and stopped
	$(RABBIT)/broker.sh run $(CARGO) test -p greenloom-rpc -p router-agent --test rabbitmq -- \
		--ignored --test-threads=1

# Three brokers need more memory and time than one.
test-rpc-cluster: ## a quorum queue on a cluster of three brokers of this machine, which loses its leader under load
	$(RABBIT)/broker.sh cluster $(CARGO) test -p greenloom-rpc --test rabbitmq_cluster -- --ignored --test-threads=1

# Not part of `make test`: it wants a browser, and Python's packages of Perfetto.
test-page: ## the page of a timeline in headless Chromium, and the file for Perfetto by Perfetto's definitions
	crates/trace/tests/page/run.sh

# Not part of `make test`: the sanitizer does not know of our stacks, and says so ("False positive error reports may
# follow"). The flag is still behind the nightly gate, but its runtime comes with every toolchain for this target.
ASAN_TARGET := x86_64-unknown-linux-gnu
ASAN_RUNTIME := $(wildcard $(shell rustc --print sysroot)/lib/rustlib/$(ASAN_TARGET)/lib/librustc-*_rt.asan.a)
test-asan: ## greenlets, green threads and I/O under AddressSanitizer and LeakSanitizer
ifeq ($(ASAN_RUNTIME),)
	@echo 'test-asan: skipped, this toolchain has no AddressSanitizer runtime for $(ASAN_TARGET)'
else
	LSAN_OPTIONS=suppressions=$(CURDIR)/.ci/lsan.supp:print_suppressions=0 \
		RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' CARGO_TARGET_DIR=target/asan \
		$(CARGO) test -p greenloom-fiber -p greenloom --target $(ASAN_TARGET) \
		--test switch --test greenlet --test green_thread --test regressions --test hubs --test tcp
endif

check: check-structure check-rust check-names check-package ## formatting, lints, documents, structure, packages

check-rust: ## formatting, lints and documentation of the crates and the benchmarks
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy -p greenloom-python --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --document-private-items
	cd bench && $(CARGO) fmt --check
	cd $(SYNCHRONOUS) && $(CARGO) fmt --check

check-names: ## names in Python that nothing defines, and what cannot be parsed
	tools/check-names.sh

check-structure: ## layers, circles of files, unsafe, widths, lengths, lists in the docs (tools/structure)
	python3 -m unittest -q tools.structure.test_structure
	python3 -m tools.structure

check-package: ## the published crates, built and their guides run from their packages alone
	tools/check-package.sh

SECONDS ?= 60
fuzz: ## each fuzz target for SECONDS=60; needs a nightly toolchain and cargo-fuzz
	@cargo +nightly --version >/dev/null 2>&1 \
		|| { echo 'make fuzz needs a nightly toolchain: rustup toolchain install nightly'; exit 1; }
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'make fuzz needs cargo-fuzz: cargo install cargo-fuzz'; exit 1; }
	cargo +nightly fuzz run --release -s none amqp_frame -- -max_total_time=$(SECONDS)
	cargo +nightly fuzz run --release -s none codec -- -max_total_time=$(SECONDS) -max_len=600
	@mkdir -p fuzz/corpus/amqp_connection fuzz/corpus/amqp_events fuzz/corpus/envelope
	cargo +nightly fuzz run --release -s none amqp_events fuzz/corpus/amqp_events fuzz/seeds/amqp_events \
		-- -max_total_time=$(SECONDS) -max_len=1000
	cargo +nightly fuzz run --release -s none amqp_connection fuzz/corpus/amqp_connection fuzz/seeds/amqp_connection \
		-- -max_total_time=$(SECONDS) -max_len=300
	cargo +nightly fuzz run --release -s none envelope fuzz/corpus/envelope fuzz/seeds/envelope \
		-- -max_total_time=$(SECONDS) -max_len=1000
	cargo +nightly fuzz run --release -s none feed -- -max_total_time=$(SECONDS)
	cargo +nightly fuzz run --release -s none http_request -- -max_total_time=$(SECONDS) -max_len=600
	cargo +nightly fuzz run --release -s none greenlet_graph -- -max_total_time=$(SECONDS) -max_len=600

MINUTES ?= 3
soak: ## MINUTES=3 of everything at once, with memory that must stay flat
	$(CARGO) run --quiet --release -p greenloom --example soak -- $(MINUTES)

bench: bench-rust bench-rpc bench-python ## side by side with the peers

bench-rust: ## with corosensei, generator, may, tokio, monoio and, where it is installed, Go
	bench/run

# The broker is started for the run. oslo.messaging and eventlet are stock ones, in an environment of their own.
bench-rpc: ## calls and casts over RabbitMQ, with lapin and with Python's oslo.messaging on eventlet
	GREENLOOM_OSLO_PYTHON=$$($(RABBIT)/oslo/venv.sh $(CURDIR)/bench/target/oslo-venv eventlet==0.41.3) \
		$(RABBIT)/broker.sh run bench/run rabbit-call rabbit-callers rabbit-casts \
		--results $(CURDIR)/bench/results/rabbitmq.json --plot $(CURDIR)/bench/target/rabbitmq.svg

include python/python.mk
