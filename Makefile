# `make` lists the targets. What they need, they install: Python's tools into .tools/, Debian's packages
# as root (or they say how). Nothing else outside this folder is changed.

VENV := .tools/venv
PYTHON := $(shell command -v python3)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.tools/cache
export PYTHONPYCACHEPREFIX := $(CURDIR)/.tools/cache/python

.PHONY: help run watch invoke test lint build tools clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Scrape a live PostgreSQL through API Gateway and Lambda on this machine, until Ctrl-C (PROMETHEUS=1: with a Prometheus)
	@demo/packages.sh postgresql curl $(if $(PROMETHEUS),prometheus)
	@python3 -m demo.run

watch: $(VENV)/run ## Serve http://localhost:9000/metrics, rebuilt as the code changes, until Ctrl-C
	@demo/packages.sh postgresql
	cargo build --locked
	@python3 -m demo.watch

invoke: $(VENV)/run ## Send an API Gateway event to a running `make watch` and print the exposition
	@python3 -m demo.invoke tests/events/http-api.json

test: build $(VENV)/test ## Run all tests
	@demo/packages.sh postgresql pgbouncer prometheus curl
	cargo test --locked
	python3 -m pytest -p no:cacheprovider tests/end_to_end

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

build: export PG_LAMBDA_EXPORTER_REVISION := $(shell git rev-parse --short HEAD 2>/dev/null)
build: $(VENV)/run ## Build the package for Lambda, target/lambda/pg-lambda-exporter/bootstrap.zip
	cargo lambda build --release --locked --skip-target-check --lambda-dir target/lambda

tools: $(VENV)/run $(VENV)/test ## Install the Python tools of the other targets

clean: ## Remove what the other targets made in this folder
	rm -rf target .tools

$(VENV)/run: demo/requirements.txt
	@demo/packages.sh python3-venv
	@echo 'Installing the tools of $<'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/test: tests/end_to_end/requirements.txt $(VENV)/run
	@echo 'Installing the tools of $<'
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
