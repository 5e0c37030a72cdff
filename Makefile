CARGO ?= cargo
ISOCHRONE := target/release/isochrone

# Where `make studies` writes.
STUDIES ?= target/studies
# Where `make plot` writes.
PLOT ?= first

.PHONY: help demo test opencl build plot format lint docs unit bench live speed studies clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: opencl build ## Run the shipped graphs on a scheduler and three agents, and verify every number
	$(ISOCHRONE) demo

test: opencl format lint docs unit ## Run every check of the project

opencl: ## Install PoCL if this machine has no OpenCL platform
	@scripts/ensure-opencl

build: ## Build the isochrone command
	$(CARGO) build --release --locked --package isochrone-cli

plot: ## Build the command quickly and compare three policies on a workflow, into PLOT (first)
	@echo 'Compiling some 180 crates, without optimisation: about two minutes on two cores.'
	$(CARGO) build --profile quick --locked --package isochrone-cli
	target/quick/isochrone sim study sim/studies/first.toml --output $(PLOT)

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

bench: live speed ## Measure the live farm (results/latency/live.md) and the speeds of results/baseline

live: opencl ## Measure the live farm beside its floors; writes results/latency/live.md
	$(CARGO) build --release --locked --package isochrone-cli --package isochrone-benches
	target/release/live-bench --output results/latency

# What results/baseline/README.md has in its table of speeds. One thing after the other, on one thread but for the last.
speed: ## Measure the scheduler's machine, planners, the simulator and how studies scale
	$(CARGO) bench --locked --package isochrone-policies --package isochrone-sim --bench machine --bench planning --bench simulation
	$(CARGO) build --release --locked --package isochrone-policies --package isochrone-sim --examples
	target/release/examples/machine-memory
	target/release/examples/sim-bench
	target/release/examples/study-scaling sim/studies/quick.toml 2

studies: build ## Run the first study, which is four, into STUDIES (target/studies)
	for study in latency-crossover scheduler-distance offloading variable-latency; do \
	    $(ISOCHRONE) sim study sim/studies/$$study.toml --output $(STUDIES)/$$study --resume || exit 1; \
	done

clean:
	$(CARGO) clean
