# The commands of this checkout. `make` lists them; `make up` is all a newcomer needs.
#   PYTHON=python3.12   another Python (3.11 or newer)
#   VLLM=cpu | gpu      which vLLM the local replicas run; found out from the machine when left out
#   PYTEST="…"          what `make test` gives to pytest: files, -k, -x; -n 0 for one process

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ifndef PYTHON
PYTHON := $(shell for name in python3 python3.11 python3.12 python3.13 python3.14; do \
  $$name -Sc 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
endif
VLLM ?=
# Without bytecode every command compiles all that it imports, which takes longer than the rest of its start.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
CODE := reconciler serving infra tests requirements

.PHONY: help install up train test test-all test-vital test-again clients conformance check fmt house bench lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: ## everything into .venv, from the lock files (nothing to do: nothing done)
	@if [ -z "$(PYTHON)" ]; then echo "make install: no Python 3.11 or newer was found; install one, or name it: make install PYTHON=/path/to/python3" >&2; exit 1; fi
	@VLLM=$(VLLM) $(PYTHON) -S requirements/install.py

train: install ## the demo model and its two adapters
	@$(BIN)/moorage train manifests/demo/train.yaml

up: train ## install, train the demo adapters, serve them and keep watching manifests/quickstart.yaml
	@exec $(BIN)/moorage up -f manifests/quickstart.yaml

test: install ## the test suite with a slice of the long ones
	@$(BIN)/pytest -n auto -m "not slow" $(PYTEST)

test-all: install ## every test, the long ones whole
	@$(BIN)/python requirements/clients.py || echo "make test-all: the tests that drive these clients will be skipped" >&2
	@$(BIN)/pytest -n auto $(PYTEST)

test-vital: install ## the long tests that matter most; .ci/run has them as its last step
	@$(BIN)/pytest -n auto -m "slow and vital" $(PYTEST)

test-again: install ## the files whose tests failed last, whole and one after the other (MARK=… as `pytest -m`)
	@files=$$($(BIN)/python -m tests.failed) && $(BIN)/pytest -n 0 -m "$(or $(MARK),not slow)" $$files

clients: install ## the az CLI, azcopy and JavaScript packages, which `make test-all` drives (some 900 MB on disk)
	@$(BIN)/python requirements/clients.py

conformance: install ## replay recordings of Azure against the local Azure: a table, and .moorage/conformance.txt with every difference
	@mkdir -p .moorage && $(BIN)/python -m tests.conformance --report .moorage/conformance.txt

check: install ## format, lint, types, imports: what a change must pass
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "make check: not formatted; run 'make fmt'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: install ## format the code and fix what can be fixed
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix --quiet $(CODE)

house: install ## draw docs/house.svg, the rooms of the code and the imports between them
	@$(BIN)/python -m tests.docs.house

bench: install ## measure, and print the report
	@$(BIN)/python -m tests.benchmarks

lock: install ## resolve the dependencies again and write requirements/*.txt
	@$(BIN)/python requirements/lock.py

clean: ## stop the local Azure and remove its state, the environments and what was trained
	@[ ! -x $(BIN)/python ] || [ ! -d .moorage/local-azure ] || $(BIN)/python -m infra.local_azure stop --state-dir .moorage/local-azure || true
	@rm -rf .venv .moorage manifests/.moorage-set manifests/models manifests/adapters .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
