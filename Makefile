CARGO ?= cargo
ISOCHRONE := target/release/isochrone

.PHONY: help demo test opencl build format lint docs unit bench clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: opencl build ## Run the shipped graphs on a scheduler and three agents, and verify every number
	$(ISOCHRONE) demo

test: opencl format lint docs unit ## Run every check of the project

opencl: ## Install PoCL if this machine has no OpenCL platform
	@scripts/ensure-opencl

build: ## Build the isochrone command
	$(CARGO) build --release --locked --package isochrone-cli

format:
	$(CARGO) fmt --all -- --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

# nextest is faster where it is installed, and is not needed; examples are built first, since tests run them.
unit: export ISOCHRONE_NEEDS_OPENCL = 1
unit:
	$(CARGO) build --workspace --examples --locked
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    $(CARGO) nextest run --workspace --locked --no-fail-fast && $(CARGO) test --workspace --doc --locked; \
	else \
	    $(CARGO) test --workspace --locked --no-fail-fast; \
	fi

bench: opencl ## Measure the live farm beside its floors; writes results/baseline
	$(CARGO) build --release --locked --package isochrone-cli --package isochrone-benches
	target/release/live-bench --output results/baseline

clean:
	$(CARGO) clean
