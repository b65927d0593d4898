# Lockgate's everyday commands; `make` alone lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

# Test processes, each with a PostgreSQL server of its own.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help install up test check soak bench model lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## create .venv and install what requirements.lock pins

up: $(STAMP)  ## start PostgreSQL and Lockgate on 127.0.0.1:8080; Ctrl-C stops both
	@exec $(BIN)/lockgate serve --demo

test: $(STAMP)  ## run the tests against real PostgreSQL servers that they start themselves
	@$(BIN)/python -m pytest --numprocesses=$(JOBS) --dist=worksteal

check: $(STAMP)  ## lint, types, import rules, then the tests
	@echo "lint"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "types"
	@$(BIN)/mypy
	@echo "import rules"
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

soak: $(STAMP)  ## run only the tests that take minutes to hours
	@$(BIN)/python -m pytest -m soak -o faulthandler_timeout=0

bench: $(STAMP)  ## measure the gate against pgbench and an empty endpoint
	@$(BIN)/lockgate bench gate

model: $(STAMP)  ## train the shipped model again, on a simulated platform (minutes)
	@$(BIN)/lockgate simulate --orgs 3000 --days 120 --seed 11 --out .lockgate/world.parquet
	@rm -rf models/default
	@$(BIN)/lockgate train --history .lockgate/world.parquet --as-of 2026-04-30T00:00:00Z --out default --max-age 3650

lock: $(STAMP)  ## resolve requirements.lock anew from pyproject.toml (takes minutes)
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --extra dev \
	    --generate-hashes --allow-unsafe --strip-extras \
	    --no-emit-options --output-file requirements.lock pyproject.toml
	@sed -i '/^--/d' requirements.lock  # options would name where this machine fetches from

clean:  ## remove .venv and every cache; the database in .lockgate stays
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted install starts over.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Lockgate needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	         "Name another one: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the locked dependencies (about a minute the first time)"
	@# the lock is complete, so nothing is to be resolved; modules are compiled when they are first used
	@$(PIP) install --no-deps --no-compile --require-hashes --requirement requirements.lock
	@echo "installing lockgate itself"
	@# meanwhile: what learning compiles for this processor, which its first use would wait for
	@$(BIN)/python -m training.ready & \
	    PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-compile --no-build-isolation --editable . && wait
	@touch $@
