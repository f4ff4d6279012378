# Lettercase. `make` alone lists the targets. NO_INSTALL=1 changes nothing on this machine and says what it lacks.

export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps deps-demo bench-deps demo test check fmt clippy unit licenses audit upgrade-test fuzz chaos overload clean distclean

step = @printf '\n==> %s\n' "$(1)"

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name what; do printf '%-12s %s\n' "$$name" "$$what"; done

deps: ## get what tests need (packages without services by apt; the rest under .tools)
	$(call step,what tests need)
	@scripts/deps.sh test

deps-demo: ## get what the demo needs
	$(call step,what the demo needs)
	@scripts/deps.sh demo

bench-deps: ## get what `lettercase bench letters` compares with
	$(call step,what the bench needs)
	@scripts/deps.sh bench

demo: deps-demo ## build, then send the samples in and show what becomes of each (demo-data/report.json)
	$(call step,building; a first build takes some minutes)
	@cargo build
	$(call step,demo)
	@cargo run --quiet -- demo --data demo-data --report demo-data/report.json

test: deps check unit licenses ## everything: format, lints, tests, licences
	$(call step,all passed)

check: fmt clippy ## format and lints

fmt:
	$(call step,format)
	@if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; else echo "skipped: no rustfmt here (rustup component add rustfmt)"; fi

clippy:
	$(call step,lints)
	@if cargo clippy --version >/dev/null 2>&1; then cargo clippy --all-targets -- -D warnings; else echo "skipped: no clippy here (rustup component add clippy)"; fi

unit:
	$(call step,tests; a first build takes some minutes)
	@cargo test

licenses:
	$(call step,licences and sources of dependencies)
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check licenses bans sources; else echo "skipped: no cargo-deny here (cargo install cargo-deny)"; fi

audit: ## look for known faults of dependencies; needs the network and cargo-deny (cargo install cargo-deny --locked)
	$(call step,known faults of dependencies)
	@if ! cargo deny --version >/dev/null 2>&1; then echo "no cargo-deny here (cargo install cargo-deny --locked)" >&2; exit 1; fi
	@cargo deny check advisories

upgrade-test: deps ## run a node of an earlier commit beside one of this checkout (a first build takes some minutes)
	$(call step,nodes of two versions on one database)
	@scripts/upgrade-test.sh $(UPGRADE_FROM)

fuzz: ## run every fuzz target for FUZZ_SECONDS (60); needs rustup
	@scripts/fuzz.sh $(or $(FUZZ_SECONDS),60)

chaos: deps ## kill nodes KILLS times (1000) under load over both journeys, and the like; CHAOS_SEED=N repeats the chance
	$(call step,chaos)
	@CHAOS_KILLS=$$(( $(or $(KILLS),1000) / 2 )) CHAOS_SECONDS=$(or $(CHAOS_SECONDS),120) \
	 CHAOS_DOCUMENTS=$(or $(CHAOS_DOCUMENTS),2000) \
	 cargo test --test lettercase -- chaos:: --nocapture --test-threads=1

overload: deps ## what is asked all the time, with a million documents in the queue on both databases; some minutes
	$(call step,a queue of a million)
	@cargo test --test lettercase -- --ignored --nocapture --test-threads=1 a_queue_of_a_million

clean: ## remove what the demo and the build made
	rm -rf demo-data
	cargo clean

distclean: clean ## and what was unpacked under .tools
	@if [ -f .tools/postgres-root ]; then rm -rf "$$(cat .tools/postgres-root)"; fi
	rm -rf .tools
