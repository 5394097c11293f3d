# Everything a fresh machine needs besides a Rust toolchain, Python 3 with pip, and make is installed on the way, below
# this folder: Valkey and its JSON module into .valkey/, an S3 server for the tests into .s3/, promtool into .promtool/,
# what an example in Python needs into .examples/, other servers for `test-servers` into .servers/, what `check` runs
# into .tools/. For the tests Debian's Chromium is installed into the system, by root only.

.DEFAULT_GOAL := help
LUA = $(wildcard lua/*.lua lua/*/*.lua)
.PHONY: help run test soak test-servers test-api test-connector bench check format audit install install-browser install-bullmq install-checkers install-connector install-examples install-promtool install-rsync install-s3 install-schemathesis

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: install ## everything in one process, with demo data
	cargo run --release -- dev --demo

test: install install-browser install-examples install-promtool install-s3 ## the whole test suite
	cargo test --workspace --lib --bins --tests
	cargo test --workspace --doc

soak: install ## half an hour of load while parts fail (or SLUICE_SOAK_SECS)
	SLUICE_SOAK_SECS=$${SLUICE_SOAK_SECS:-1800} cargo test --test soak -- --nocapture

test-servers: install ## the tests of documents and of the queue, against each server they are meant for
	@scripts/install-test-servers
	@scripts/test-servers

bench: install install-bullmq install-rsync ## comparisons against a baseline in the same run
	cargo bench --bench sync --bench requests --bench filesync --bench tail --bench mirror
	cargo bench -p sluice-convex --bench convex
	cargo bench -p sluice-queue --bench bullmq
	cargo bench -p sluice-queue --bench scale

test-connector: install-connector ## Airbyte's own connector against the Convex-compatible store
	SLUICE_AIRBYTE_SOURCE_CONVEX=$(CURDIR)/.connector/bin/source-convex \
		cargo test -p sluice-convex --test convex embedded::connector -- --ignored

test-api: install install-schemathesis ## made-up requests against the API and the OpenAPI document that it serves
	cargo build
	@scripts/test-api

check: install-checkers ## formatting, lints, links of the documentation, dependencies
	cargo fmt --all --check
	@scripts/check-imports
	@node scripts/stylua/format.mjs --check $(LUA)
	.tools/bin/luacheck --quiet lua
	.tools/bin/cargo-shear
	.tools/bin/cargo-deny check bans licenses sources
	@scripts/audit --if-reachable
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

format: install-checkers ## Rust and Lua as `check` wants them
	cargo fmt --all
	@node scripts/stylua/format.mjs $(LUA)

audit: install-checkers ## known vulnerabilities of the dependencies
	@scripts/audit

install: ## Valkey and its JSON module into .valkey/, unless they are there
	@scripts/install-valkey

install-browser: ## a browser for the tests, unless there is one
	@scripts/install-browser

install-promtool: ## what checks metrics and alert rules into .promtool/, unless it is there
	@scripts/install-promtool

install-s3: ## an S3 server for the tests into .s3/, unless it is there
	@scripts/install-s3

install-examples: ## what examples/follow.py needs into .examples/, unless it is there
	@scripts/install-examples

install-checkers: ## what `check` runs into .tools/, unless it is there
	@scripts/install-checkers

install-rsync: ## rsync, which the mirror is compared with, into .servers/, unless the system has it
	@scripts/install-rsync

install-bullmq: ## BullMQ, which the queue is compared with
	@command -v npm >/dev/null || { echo "error: comparing the queue with BullMQ needs Node.js 20 or later with npm" \
	    "(Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@cd crates/queue/benches/bullmq && npm install --no-save --ignore-scripts --loglevel=error

install-schemathesis: ## schemathesis into .schemathesis/, unless it is there
	@scripts/install-schemathesis

install-connector: ## Airbyte's source connector for Convex into .connector/, unless it is there
	@scripts/install-connector
