# One verb a job; .ci/run calls the same ones. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSOLE := $(shell find console -type f -not -path '*/node_modules/*' 2>/dev/null)

.PHONY: help up test check console format lock bench scoreboard soak clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.runtime: requirements.lock pyproject.toml hatch_build.py $(CONSOLE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

up: $(VENV)/.runtime ## a live city on this machine: one URL, one login (ARGS='' for real devices only)
	$(BIN)/urbanpulse up $(if $(filter undefined,$(origin ARGS)),--demo,$(ARGS))

test: $(VENV)/.dev ## every test (ARGS='-k name' narrows)
	$(BIN)/python -m pytest -n auto --dist loadgroup --randomly-seed=1 $(ARGS) # any order will do: the same each time

check: $(VENV)/.dev ## lint, format, types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy core backends gateway processors api simulators urbanpulse tests bench deploy/dashboards hatch_build.py
	$(BIN)/lint-imports

console: ## check and test the console's sources (needs Node 20 or later)
	cd console && npm ci --ignore-scripts --no-audit --no-fund && npm run check && npm test

format: $(VENV)/.dev ## let the formatter have its way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev ## renew the hash-pinned lock files from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	echo 'grafana-client>=5.1,<6' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header - -c requirements.lock -o requirements-grafana.lock

bench: $(VENV)/.dev ## print every measured figure (ARGS=--quick for a short run)
	@for script in bench/[a-z]*.py; do $(BIN)/python $$script $(ARGS) || exit 1; done

scoreboard: $(VENV)/.dev ## measure detection beside other detectors (ARGS=--write: into docs/detection.md)
	$(BIN)/python -m bench.scoreboard $(ARGS)

soak: $(VENV)/.dev ## the long fault runs
	$(BIN)/python -m pytest -p no:randomly -s -m soak --override-ini addopts= --import-mode=importlib --timeout 3600 tests $(ARGS)

clean: ## remove what was made
	rm -rf $(VENV) build dist api/static console/node_modules
