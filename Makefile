# The two commands of this project. Both install what they need under the project's own folder.

.PHONY: run test bench check install

run: install ## everything in one process, with demo data
	cargo run --release -- dev --demo

test: install ## the whole test suite
	cargo test --workspace

bench: install ## comparisons against a baseline in the same run
	cargo bench --bench sync

check: ## formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

install:
	@scripts/install-valkey
