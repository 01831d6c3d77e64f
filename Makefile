# Everything that a contributor types. Needs Python 3.11 or newer (PYTHON=...) and Rust; sets up the rest in .venv.

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
DONE := $(VENV)/.done

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name Cargo.toml -o -name '*.rs' -path '*/src/*')

# One interpreter for cargo and maturin, or each would rebuild pyo3 after the other.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export VIRTUAL_ENV := $(abspath $(VENV))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# `make` builds for quick building; whoever imports such a build elsewhere is warned.
export PYTHONWARNINGS := ignore:propylon._core is a debug build:RuntimeWarning

# Warnings are errors, names that mean nothing among them; all is read anew, for what is read from a cache warns no more.
SPHINX := $(BIN)/python -m sphinx -q -W --keep-going -E -d $(VENV)/doctrees docs site

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- what to do

.PHONY: demo
demo: $(DONE)/build ## Run a bot against a simulated Discord for ten seconds
	@$(BIN)/propylon demo

.PHONY: demo-shards
demo-shards: $(DONE)/build ## Run 16 shards on a simulated Discord; 32 take over from them under traffic
	@$(BIN)/propylon demo --shards

.PHONY: demo-dashboard
demo-dashboard: $(DONE)/build ## Keep 64 lively shards up, and print where their dashboard is, until Ctrl-C
	@$(BIN)/propylon demo --dashboard

.PHONY: demo-cluster
demo-cluster: $(DONE)/build $(DONE)/test ## Run hosts and workers over NATS; one of each is killed, a host is drained
	@$(BIN)/propylon demo --cluster

# Those that hold memory, threads or the machine's load against each other are alone with it. The others mostly wait, and
# go two at a time.
ALONE := $(addprefix tests/,endurance history overload process restart cluster/test_history.py)

.PHONY: test
test: $(DONE)/build $(DONE)/test ## Run all tests, Rust's and Python's
	@status=0; \
	$(CARGO) test --workspace --no-fail-fast || status=1; \
	$(BIN)/pytest -n 2 --dist loadfile $(addprefix --ignore=,$(ALONE)) || status=1; \
	$(BIN)/pytest $(ALONE) || status=1; \
	exit $$status

.PHONY: check
check: $(DONE)/build $(DONE)/test $(DONE)/lint $(DONE)/docs $(DONE)/plots ## Formatting, lints, types, and the docs with their examples
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/mypy
	@# In a folder without our settings: as what is installed elsewhere. Silent where every public type is known.
	@cd $(VENV) && PYTHONPATH=../python:$$(bin/python -c 'import site; print(site.getsitepackages()[0])') \
		bin/basedpyright --verifytypes propylon --ignoreexternal > verifytypes.log || { cat verifytypes.log; exit 1; }
	$(BIN)/python tests/docs/blocks.py $(VENV)/docs
	$(BIN)/basedpyright -p $(VENV)/docs
	$(SPHINX)
	PROPYLON_SITE=site $(BIN)/pytest -q tests/docs
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps -p propylon-core
	@$(MAKE) --no-print-directory check-files

.PHONY: check-files
check-files: $(DONE)/build $(DONE)/test $(DONE)/files ## Lint workflows and the project's own files; licences of all dependencies
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --quiet --offline --no-progress .github
	@# Not to be had by pip: its package fetches a program when it is installed.
	@if command -v actionlint >/dev/null; then actionlint; \
	else echo "no actionlint, so the workflows are held against their schema only"; fi
	$(BIN)/python -m json.tool .devcontainer/devcontainer.json >/dev/null
	$(BIN)/python .ci/licences.py

.PHONY: licences
licences: $(DONE)/files ## Licences, sources, duplicates and, where there is a network, advisories of Rust: needs cargo-deny
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is needed: cargo install --locked cargo-deny" >&2; exit 1; }
	$(CARGO) deny --offline check bans licenses sources
	$(BIN)/python .ci/licences.py

.PHONY: docs
docs: $(DONE)/build $(DONE)/docs ## Build guide and reference into site/
	$(SPHINX)
	@echo "open site/index.html"

# Discord's tables are not part of the repository: a folder with schema/ and check_models.py.
PROPYLON_SCHEMA ?= ../shared

.PHONY: check-models
check-models: $(DONE)/build ## Hold the models against Discord's own tables, in PROPYLON_SCHEMA (../shared)
	@test -f $(PROPYLON_SCHEMA)/check_models.py \
		|| { echo "no tables in $(PROPYLON_SCHEMA); say where: make check-models PROPYLON_SCHEMA=..." >&2; exit 1; }
	$(BIN)/python $(PROPYLON_SCHEMA)/check_models.py

.PHONY: coverage-table
coverage-table: $(DONE)/base ## Write docs/protocol-coverage.md from tests/coverage
	@$(BIN)/python tests/coverage/table.py

.PHONY: import-graph
import-graph: $(DONE)/build $(DONE)/docs ## Draw docs/images/imports.svg; needs Graphviz (dot)
	cd python && ../$(BIN)/pydeps propylon --max-module-depth 2 --only propylon --exclude-exact propylon \
		--rmprefix propylon. --noshow --reverse --rankdir BT -T svg -o ../docs/images/imports.svg

.PHONY: screenshots
screenshots: $(DONE)/build $(DONE)/test ## Take the pictures of docs/dashboard.md; needs Chromium
	@$(BIN)/python tests/admin_page/screenshots.py

.PHONY: mutants
mutants: $(DONE)/build $(DONE)/test ## Break our code as others are broken; each time a test must fail
	@$(BIN)/python tests/coverage/mutate.py
	@$(BIN)/python tests/cluster/history/mutants.py

.PHONY: soak-shards
soak-shards: $(BENCH)/.done ## 1,000 shards in one process, ten minutes of 20,000 events/s, held against the server's record
	$(BENCH)/bin/python tests/endurance/shards.py

.PHONY: soak-reshard
soak-reshard: $(BENCH)/.done ## 20 reshards 4 to 8 to 4 under numbered events, while connections are cut
	$(BENCH)/bin/python tests/endurance/reshard.py --runs 20

.PHONY: soak-cluster
soak-cluster: $(DONE)/build $(DONE)/test ## Half an hour of a cluster whose parts are killed, stopped and cut off
	$(BIN)/python tests/cluster/history/run.py --seconds 1800

.PHONY: soak-nats-away
soak-nats-away: $(DONE)/build $(DONE)/test ## A cluster under 2,000 events/s whose NATS is away for a minute; memory, and what is lost
	$(BIN)/python tests/cluster/history/run.py --seconds 75 --faults "nats away" --verbose

.PHONY: soak-recording
soak-recording: $(DONE)/build $(DONE)/test ## A minute at 5,000 events/s recorded, read, replayed and played byte for byte
	$(BIN)/python tests/endurance/recording.py

.PHONY: soak-restart
soak-restart: $(DONE)/build $(DONE)/test ## 1,000 shards ended, killed, started again and taken over under 2,000 events/s
	PROPYLON_TEST_SHARDS=1000 $(BIN)/pytest -q tests/restart/test_fleet.py

.PHONY: soak-deaf
soak-deaf: $(DONE)/build $(DONE)/test ## A listener blocks the loop for 45 s under 5,000 events/s; what the admin server tells
	PROPYLON_TEST_DEAF=1 $(BIN)/pytest -q -s tests/endurance/test_deaf.py

ADAPTERS := .venv-adapters

# Not the versions that the extras pin: so that we hear of a new minor before our users do. Weekly, say.
.PHONY: test-adapters
test-adapters: $(DONE)/build ## Test the adapters against the newest discord.py and hikari, whatever these are
	@test -x $(ADAPTERS)/bin/python || $(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/python -m pip install --quiet --upgrade discord.py hikari \
		'pytest>=9,<10' 'pytest-asyncio>=1.5,<2' 'pytest-timeout>=2.4' 'msgspec>=0.22,<0.23' 'orjson>=3.13,<4'
	$(ADAPTERS)/bin/python -m pip list | grep -i -E '^(discord.py|hikari) '
	PROPYLON_TEST_NEWEST=1 PYTHONPATH=python $(ADAPTERS)/bin/python -m pytest -q \
		-k 'not version and not refuses' tests/adapters

.PHONY: format
format: $(DONE)/lint ## Format all code
	$(CARGO) fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(BENCH)/.done ## Measure an optimised build beside its peers; benches/README.md has method and results
	$(BENCH)/bin/python benches/run.py
	$(BENCH)/bin/python benches/reconnect.py
	$(BENCH)/bin/python benches/decode.py
	$(BENCH)/bin/python benches/waits.py
	$(BENCH)/bin/python benches/timing.py
	$(BENCH)/bin/python benches/recording.py
	$(BENCH)/bin/python benches/shards.py
	$(BENCH)/bin/python benches/memory.py
	$(BENCH)/bin/python benches/admin.py
	$(BENCH)/bin/python benches/cluster.py --rounds 3
	$(BENCH)/bin/python benches/imports.py
	$(CARGO) bench --quiet -p propylon-core

.PHONY: plots
plots: $(DONE)/plots ## Draw the results in benches/results into docs/images
	$(BIN)/python benches/plots.py

.PHONY: demo-svg
demo-svg: $(BENCH)/.done ## Record a run of the demo for the first page of the documents
	$(BENCH)/bin/python docs/_tools/demo.py docs/_static/demo.svg

.PHONY: instructions
instructions: $(DONE)/build $(DONE)/test ## Count the instructions of an event anew, and write them down; needs valgrind
	$(BIN)/python tests/instructions/test_counts.py

.PHONY: wheel
wheel: $(DONE)/base | rust ## Build the wheel for this machine into dist/
	$(BIN)/maturin build --release --out dist

RELEASE := .venv-release
MUSL := x86_64-unknown-linux-musl
# maturin looks for zig on the PATH, and for the interpreter in VIRTUAL_ENV.
ZIG := PATH="$(abspath $(RELEASE)/bin):$$PATH" $(RELEASE)/bin/maturin build --release --locked --zig --out dist

# Linux, x86_64, by any Linux: zig links against glibc 2.17, and against musl where Rust has that target
# (`rustup target add x86_64-unknown-linux-musl`). aarch64, macOS and Windows are .github/workflows/wheels.yml's.
.PHONY: wheels
wheels: sdist ## Build manylinux and musllinux wheels and the sdist into dist/, check them, and run the demo from them
	rm -f dist/propylon-*.whl
	$(ZIG) --target x86_64-unknown-linux-gnu --compatibility manylinux2014
	@if test -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)"; then \
		set -x; $(ZIG) --target $(MUSL) --compatibility musllinux_1_2; \
	else echo "no musllinux wheel, for Rust lacks the target: rustup target add $(MUSL)"; fi
	$(RELEASE)/bin/python .ci/dist.py tidy dist
	$(RELEASE)/bin/python .ci/dist.py check dist
	.ci/try-wheel dist

.PHONY: sdist
sdist: $(RELEASE)/.done | rust ## Build the sdist into dist/, and check it
	rm -f dist/propylon-*.tar.gz
	$(RELEASE)/bin/maturin sdist --out dist
	$(RELEASE)/bin/python .ci/dist.py check dist/propylon-*.tar.gz

.PHONY: try-sdist
try-sdist: sdist ## Build a wheel of the sdist as pip does, and run the demo from it: minutes
	rm -rf target/from-sdist && mkdir -p target/from-sdist
	$(RELEASE)/bin/python -m pip wheel --quiet --no-deps --wheel-dir target/from-sdist dist/propylon-*.tar.gz
	PROPYLON_PLATFORM=linux .ci/try-wheel target/from-sdist $(PYTHON)

.PHONY: test-pythons
test-pythons: $(DONE)/base ## Run the Python tests, the exit tests 20 times, on every CPython >= 3.11 here
	@.ci/test-pythons

.PHONY: clean
clean: ## Remove what was built and set up
	rm -rf $(VENV) $(BENCH) $(ADAPTERS) $(RELEASE) .venv-3.* dist site target .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find python tests benches examples -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f python/propylon/_core*.so python/propylon/_core*.pyd

# ---------------------------------------------------------------- what that needs, once

.PHONY: rust
rust:
	@command -v $(CARGO) >/dev/null || { echo "Rust is needed: https://www.rust-lang.org/tools/install" >&2; exit 1; }

$(DONE)/base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.13" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# `--group` came with pip 25.1.
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.16,<2'
	@mkdir -p $(DONE) && touch $@

$(DONE)/test $(DONE)/lint $(DONE)/docs $(DONE)/plots $(DONE)/files: $(DONE)/%: $(DONE)/base
	$(BIN)/python -m pip install --quiet --group $*
	@touch $@

$(DONE)/build: $(DONE)/base $(RUST_SOURCES) | rust
	PIP_QUIET=1 $(BIN)/maturin develop --extras cli,uvloop
	@touch $@

$(RELEASE)/.done: pyproject.toml
	@test -x $(RELEASE)/bin/python || $(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(RELEASE)/bin/python -m pip install --quiet --group release
	@touch $@

# A virtual environment of its own: the optimised build must not take the place of the quick one.
$(BENCH)/.done: $(DONE)/base $(RUST_SOURCES) $(shell find python -name '*.py') | rust
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BIN)/maturin build --release --compatibility linux --out $(BENCH)/wheel
	$(BENCH)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BENCH)/bin/python -m pip install --quiet --group bench '$(BENCH)/wheel/'*.whl
	$(BENCH)/bin/python -m pip install --quiet --force-reinstall --no-deps '$(BENCH)/wheel/'*.whl
	$(CARGO) build --quiet --release -p propylon-simulator --example floor
	CARGO_TARGET_DIR=benches/twilight/target $(CARGO) build --quiet --release --manifest-path benches/twilight/Cargo.toml
	@if command -v go >/dev/null; then cd benches/disgo && go build -trimpath -buildvcs=false -o target/disgo-bot .; \
	else echo "no Go, so the benchmarks leave DisGo out: https://go.dev/doc/install"; fi
	@touch $@
