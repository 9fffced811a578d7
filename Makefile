# Two commands matter: `make demo` shows the main job, `make test` runs everything.
# Needs Rust (cargo) and Python 3.10 or newer (Debian and Ubuntu: with python3-venv); the rest is installed into .venv and target/.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := target/peers
CARGO  ?= cargo
# Kills in the store's kill -9 loop; `make soak` raises it.
SECURITY_KILLS ?= 200
# Published indicators, and how many made ones there are beside them.
SHARED_DATA ?= ../shared/data
BENCH_SYNTHETIC ?= 10000000
# Seconds a target of `make fuzz` runs for.
FUZZ_SECONDS ?= 600

.PHONY: demo test test-rust test-python nginx postgres lint wheel bench bench-data bench-servers timing audit soak fuzz clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo    build the wheel and walk through the main job on an embedded store
demo: $(VENV)/.wheel
	@$(BIN)/python examples/demo.py

## make test    lints, Rust tests, wheel, stubs, types, Python tests, real servers
test: lint test-rust test-python
	@echo "make test: everything passed"

## make lint    formatting and static checks of Rust and Python
lint: $(VENV)/.tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff check python tests examples benches
	$(BIN)/ruff format --check python tests examples benches

test-rust:
	SECURITY_KILLS=$(SECURITY_KILLS) SECURITY_TEST_PYTHON=$(PYTHON) $(CARGO) test --locked
	$(CARGO) test --locked -p security-axum-example

test-python: $(VENV)/.wheel nginx postgres
	$(BIN)/mypy --strict python/security tests examples benches/bench.py benches/extractors.py
	cd tests && ../$(BIN)/python -m mypy.stubtest security --ignore-disjoint-bases
	$(BIN)/python -W error::ResourceWarning -m unittest discover -s tests

# The servers of the tests stand behind it. On Debian and Ubuntu it is installed, by root or with sudo.
nginx:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; command -v nginx >/dev/null && exit 0; \
	  if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	  { $$as_root apt-get install -qq -y --no-install-recommends nginx-light \
	    || { $$as_root apt-get update -qq && $$as_root apt-get install -qq -y --no-install-recommends nginx-light; }; } >/dev/null 2>&1; \
	  command -v nginx >/dev/null || { echo "make: the tests need nginx; on Debian and Ubuntu: apt install nginx-light" >&2; exit 1; }

# A rotation is tried against a real one. The tests start a server of their own; the package's is not needed, and where
# policy allows it is not started.
postgres:
	@PATH="$$PATH:$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"; command -v initdb >/dev/null && exit 0; \
	  if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; \
	  { $$as_root apt-get install -qq -y --no-install-recommends postgresql \
	    || { $$as_root apt-get update -qq && $$as_root apt-get install -qq -y --no-install-recommends postgresql; }; } >/dev/null 2>&1; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
	    || { echo "make: the tests need PostgreSQL; on Debian and Ubuntu: apt install postgresql" >&2; exit 1; }

## make wheel   build the wheel and install it into .venv
wheel: $(VENV)/.wheel

## make bench   timings beside the Python floor and peers, as a table
bench: $(VENV)/.wheel $(VENV)/.bench $(PEERS)/keys/.ready $(PEERS)/web/.ready $(PEERS)/extract/.ready
	CARGO_TARGET_DIR=$(CURDIR)/$(PEERS)/compiled $(CARGO) build --quiet --release --locked --manifest-path benches/peers/compiled/Cargo.toml
	BENCH_PEERS=$(PEERS)/keys/bin/python BENCH_WEB_PEERS=$(PEERS)/web/bin/python $(BIN)/python benches/bench.py
	BENCH_EXTRACTORS=$(PEERS)/extract/bin/python BENCH_COMPILED_EXTRACTOR=$(PEERS)/compiled/release/security-compiled-peer \
	  $(BIN)/python benches/extractors.py

## make bench-data  millions of published indicators and feeds from ../shared/data, and BENCH_SYNTHETIC (10 million) made ones
bench-data: $(VENV)/.wheel $(VENV)/.bench-data
	$(BIN)/python benches/real_data.py --feed target/real.csv $(SHARED_DATA)
	@test ! -e target/real.csv || $(CARGO) bench --quiet --locked -p security --bench many_indicators -- $(CURDIR)/target/real.csv
	@rm -f target/real.csv
	$(CARGO) bench --quiet --locked -p security --bench many_indicators -- $(BENCH_SYNTHETIC)

## make bench-servers  requests a second under gunicorn and uvicorn, protected beside bare (wrk)
bench-servers: $(VENV)/.wheel $(VENV)/.bench
	@command -v wrk >/dev/null || { if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends wrk >/dev/null 2>&1; } || true
	$(BIN)/python benches/servers.py

## make timing  whether the time of a refused key tells why (dudect's test; exit 1 if it does)
timing:
	$(CARGO) bench --quiet --locked -p security --bench timing

## make audit   licences, bans and advisories of every dependency (cargo-deny)
audit:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --all-features check licenses bans sources
	@$(CARGO) deny fetch db >/dev/null 2>&1 \
	  && $(CARGO) deny --all-features check --disable-fetch advisories \
	  || echo "make audit: the advisory database cannot be reached from here; advisories were NOT checked"

## make soak    the kill -9 loops, many times
soak:
	SECURITY_KILLS=1000 $(CARGO) test --locked -p security-store --test processes
	SECURITY_KILLS=1000 $(CARGO) test --locked -p security --test secret_kills
	SECURITY_KILLS=1000 $(CARGO) test --locked -p security --test key_kills
	SECURITY_INDEX_KILLS=200 $(CARGO) test --locked -p security --test match_index_kills

## make fuzz    mutated texts for every parser, FUZZ_SECONDS (600) for each of eight targets, two at a time
fuzz:
	SECURITY_FUZZ_SECONDS=$(FUZZ_SECONDS) SECURITY_FUZZ_SEED=$$(date +%s) \
	  $(CARGO) test --locked -p security --test fuzz -- --test-threads=2

## make clean   forget the virtual environment and every build product
clean:
	rm -rf $(VENV) target

# pip is what comes last into a virtual environment: one without it is half made, and is made anew. Debian and Ubuntu
# keep what makes it (ensurepip) in a package of its own.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, this is " + sys.version)'
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) && test -e $@ || { rm -rf $(VENV); \
	  echo "make: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.tools: tests/requirements.txt $(VENV)/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

# The peers' own versions of things stay out of our environment.
$(PEERS)/%/.ready: benches/peers/%.txt
	@mkdir -p $(PEERS) && $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.bench: benches/requirements.txt $(VENV)/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benches/requirements.txt
	@touch $@

$(VENV)/.bench-data: benches/data.txt $(VENV)/bin/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# The wheel depends on every source file; cargo decides what to compile.
SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find crates python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name 'Cargo.toml' -o -name 'py.typed')

$(VENV)/.wheel: $(SOURCES) $(VENV)/.tools
	CARGO_TARGET_DIR=$(CURDIR)/target $(BIN)/python -m pip install --quiet --disable-pip-version-check .
	@touch $@
