SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help deps deps-test build release demo test test-swift test-integration test-browser soak sabotage sanitize lint format clean

SWIFT_SOURCES := Sources Tests web-demo Package.swift Benchmarks/Package.swift Benchmarks/Sources Benchmarks/Tests
PYTHON := .venv/bin/python
export JOBFEED_SERVER ?= $(CURDIR)/.build/debug/jobfeed-server
export JOBFEED_CLI ?= $(CURDIR)/.build/debug/jobfeed

help: ## Print this list
	@echo "make …"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 20

deps: ## Install what is missing to build and run: libpq, OpenSSL, zlib, PostgreSQL
	@scripts/deps.sh run

deps-test: ## The same, and what the tests need: Chromium and Python packages (in .venv)
	@scripts/deps.sh test
	@scripts/venv.sh Tests/Integration/requirements.txt Tests/Browser/requirements.txt
	@scripts/clients.sh Tests/Integration/realtime/requirements-*.txt

build: deps ## Build everything for debugging
	swift build

release: deps ## Build the two programs for use
	@test -d .build/release || echo "the first release build takes some minutes"
	swift build -c release

demo: release ## Run the demo: make demo ARGS='--port 9000 --rate 60'
	@exec .build/release/jobfeed-server demo $(ARGS)

test: deps-test ## Run all tests
	swift build --build-tests
	@$(MAKE) test-swift test-integration test-browser

test-swift: # these three want what `make test` has built
	swift test --skip-build

test-integration:
	$(PYTHON) -m pytest -q Tests/Integration

test-browser:
	CHROMIUM="$${CHROMIUM:-$$(scripts/deps.sh chromium)}" $(PYTHON) -m pytest -q Tests/Browser

SOAK_SECONDS ?= 1800
soak: ## Let the oracle watch random writers for half an hour: make soak SOAK_SECONDS=1800
	JOBFEED_ORACLE_SECONDS=$(SOAK_SECONDS) JOBFEED_ORACLE_PROGRESS=30 \
		$(PYTHON) -m pytest -q -s Tests/Integration/test_oracle.py::test_oracle

sabotage: ## Break a copy of the gateway in six ways, and see that the oracle notices
	@scripts/sabotage.sh

# Only what needs no database; see Tests/Sanitize/Package.swift. LeakSanitizer reports XCTest itself.
SANITIZE = swift test --package-path Tests/Sanitize
sanitize: deps ## Run the tests of the pure parts under the address and the thread sanitizer
	@cp Package.resolved Tests/Sanitize/ 2>/dev/null || true
	ASAN_OPTIONS=detect_leaks=0 $(SANITIZE) --scratch-path .build-asan --sanitize=address
	$(SANITIZE) --scratch-path .build-tsan --sanitize=thread

.PHONY: conformance-ci conformance
# Of compression, each group's messages of 16 and of 256 bytes, and one in fragments.
COMPRESSION_QUICKLY := $(foreach group,12.1 12.2 12.3 12.4 12.5 13.1 13.2 13.3 13.4 13.5 13.6 13.7,,$(group).1,$(group).3),12.1.11
conformance-ci: ## Let Autobahn's fuzzing client loose on the WebSocket code, a quick choice of cases: two minutes
	@scripts/conformance.sh '1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*$(subst $() ,,$(COMPRESSION_QUICKLY))' 326

conformance: ## The same with all of its cases and an optimised build: half an hour
	@CONFIGURATION=release scripts/conformance.sh '*' 517

.PHONY: bench bench-build
BENCH = JOBFEED_SERVER="$${BENCH_SERVER:-$(CURDIR)/.build/release/jobfeed-server}" Benchmarks/.venv/bin/python Benchmarks/run
bench: bench-build ## Measure beside others: make bench ROWS="1 4" RUNS=3 QUICK=1 KEEP=1 DOCUMENT=1 (Benchmarks/run --help)
	@$(BENCH) $(ROWS) --runs $(or $(RUNS),3) $(if $(QUICK),--quick) $(if $(KEEP),--keep) \
		$(if $(DOCUMENT),--document docs/benchmarks.md)

.PHONY: bench-test
bench-test: bench-build ## Test the load generator, and run each row for a second
	swift test --package-path Benchmarks
	@$(BENCH) --smoke --output Benchmarks/results/smoke

bench-build: deps
	@[ -n "$${BENCH_SERVER:-}" ] || { $(MAKE) release; }
	swift build --package-path Benchmarks -c release --product jobfeed-load
	@cd Benchmarks && ../scripts/venv.sh requirements.txt && peers/fetch.sh

lint: ## Check the format of all sources, and the syntax of scripts
	swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)
	@scripts/lint.sh

format: ## Format the Swift sources
	swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

clean: ## Remove what was built
	rm -rf .build .build-asan .build-tsan .build-sabotage .venv Benchmarks/.build Benchmarks/.venv Benchmarks/.peers
