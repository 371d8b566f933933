# fedproc: `make demo` runs a whole federation on this machine, `make test` passes the tests. `make` lists all.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_DIR ?= .demo
EXECUTOR ?= sandbox
TOOLS ?=
BROKER ?=
DATA ?=
FEDERATION ?=
JOBS ?= 10000
WORKERS ?= 4
export DEMO_DIR EXECUTOR TOOLS DATA FEDERATION

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- set-up: system packages once, then the Python environment whenever its lock file changes

.PHONY: system
system:
	@scripts/install-system-packages demo
	@if [ "$(EXECUTOR)" = docker ]; then scripts/install-system-packages docker; fi

$(VENV)/installed: requirements/dev.lock pyproject.toml
	@echo "==> Python environment in $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: system $(VENV)/installed

# -- the federation on one machine

.PHONY: demo
demo: setup ## run four experiments in a federation of four hosts on this machine, then end it
	@$(BIN)/python -m fedproc.demo run

.PHONY: demonstrator
demonstrator: setup ## D6.1's clinical model by each platform, and its network (DATA=folder of EUCAIM's tables; FEDERATION=folder of one that runs, FEDBIOMED=1)
	@$(BIN)/python -m fedproc.demo demonstrator

.PHONY: demo-up
demo-up: setup ## start that federation and leave it running (TOOLS=folder offers your own tools, too)
	@$(BIN)/python -m fedproc.demo up

.PHONY: demo-tools
demo-tools: ## publish the tools in TOOLS=folder, as they are now, in the federation that runs: seconds
	@$(BIN)/python -m fedproc.demo tools

.PHONY: demo-status
demo-status: ## how its processes are
	@$(BIN)/python -m fedproc.demo status

.PHONY: demo-down
demo-down: ## end it; results stay
	@$(BIN)/python -m fedproc.demo down

# -- a whole federation by the production playbooks, its machines as containers

.PHONY: federation
federation: $(VENV)/installed ## a centre and five hosts by the playbooks: Docker, Podman, sandbox, Slurm, a PACS; then three experiments
	@scripts/install-system-packages docker
	@$(BIN)/python -m fedproc.demo.containers up

.PHONY: federation-down
federation-down: $(VENV)/installed ## end it; nothing but results stays
	@$(BIN)/python -m fedproc.demo.containers down

.PHONY: federation-test
federation-test: $(VENV)/installed ## assert on the running federation: who may do what, revoking, proxies, faults
	@$(BIN)/pytest tests/federation --timeout 3600 $(ARGS)

# -- tests

# tests that share something costly go to one worker (tests/conftest.py), and what takes longest begins first
workers = -n $(WORKERS) --no-loadscope-reorder

# What they write goes to memory, where no disk is waited for.
memory = $(if $(wildcard /dev/shm/.),TMPDIR=/dev/shm)

.PHONY: unit
unit: $(VENV)/installed ## the quick tests without a process or a database, with few random examples (10 seconds; ARGS="PATH -k WORD")
	@$(if $(ARGS),FEDPROC_FEW_EXAMPLES=yes $(memory) $(BIN)/pytest -m unit $(ARGS),scripts/unit)

.PHONY: test
test: setup ## all tests but those of the next lines (RabbitMQ, PostgreSQL, end to end); WORKERS=4 at once
	@scripts/install-system-packages test
	@$(BIN)/pytest $(workers) $(ARGS)
	@echo "==> all tests passed. Next: make demo, or make lint; see docs/ for how things work."

# BROKER=4 takes the broker from a Debian 13 root that is made here; else it is this machine's.
other_broker = $(if $(BROKER),root=$$(scripts/broker-root $(BROKER)) && FEDPROC_BROKER_ROOT=$$root)

.PHONY: resilience
resilience: setup ## faults: programs killed at any phase, restores, hostile tools (10 minutes; BROKER=4: RabbitMQ 4)
	@scripts/install-system-packages test
	@$(other_broker) $(BIN)/pytest tests/resilience --timeout 300 $(ARGS)

.PHONY: soak
soak: setup ## JOBS=10000 jobs while programs are killed and people act at random: counts lost, doubled, stuck, wrong ones
	@scripts/install-system-packages test
	@$(other_broker) $(BIN)/python -m tests.resilience.soak --jobs $(JOBS) $(ARGS)

.PHONY: molecule
molecule: $(VENV)/installed ## each role on a machine of its own (ROLES="a b" for some; MACHINE=bookworm for Debian 12)
	@scripts/molecule $(ROLES)

.PHONY: fresh
fresh: ## make demo and make test in bare Debian 12 and 13, roots without an engine (DEBIAN="12 13" FRESH="demo test")
	@scripts/fresh

.PHONY: lint
lint: $(VENV)/installed ## ruff, mypy, import-linter, sizes of modules and functions, ansible-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check-sizes
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint -q --offline

.PHONY: host-check
host-check: $(VENV)/installed ## build dist/fedproc-check.pyz, the check of a machine before anything is installed
	@$(BIN)/python -m fedproc.onboarding.build_zipapp dist/fedproc-check.pyz

# -- what it costs

.PHONY: bench
bench: setup ## ratios to the plain thing beside us, into bench/results (ARGS=--quick for a first look)
	@scripts/install-system-packages test
	@scripts/install-system-packages docker
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-federation
bench-federation: $(VENV)/installed ## what latency, loss, little bandwidth and a proxy cost in the running federation
	@$(BIN)/python -m bench.wan $(ARGS)

.PHONY: docs
docs: $(VENV)/installed ## write the generated documents: OpenAPI, AsyncAPI, the README of each role
	@$(BIN)/python -m fedproc.contract.wire.asyncapi docs/asyncapi.json
	@$(BIN)/python -m fedproc.contract.data_api docs/data-api.json
	@$(BIN)/python -m fedproc.central.api.write_openapi docs/openapi.json
	@$(BIN)/python scripts/role_readme.py

.PHONY: lock
lock: ## pin the dependencies again, by wheels alone: a bare machine has no compiler
	@$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --all-extras --allow-unsafe --pip-args='--only-binary :all:' \
		-o requirements/dev.lock pyproject.toml
