# Touchline. `make help` lists what there is; every target does its own set-up.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
ONCE ?=
ARGS ?=
# Each has a Kafka and a PostgreSQL of its own; most tests wait more than they compute.
PROCESSES ?= 3

.PHONY: help setup demo test lint types format bench faults up down status lock docs site screenshots clean

help: ## list these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment in .venv with every command line in it (does nothing when up to date)
	@deploy/setup.sh

demo: setup ## a simulated company on real Kafka and PostgreSQL; ONCE=1 ends by itself and checks the sums
	@$(BIN)/touchline-demo $(if $(ONCE),--once) $(ARGS)

test: setup ## everything: unit, contract, integration, end to end, faults (ARGS="-k name" for less)
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup ## mypy --strict over libraries, services, tests and benchmarks
	@$(BIN)/mypy libs/*/src services/*/src tests bench

format: setup ## fix what ruff can fix, and format
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup ## the benchmarks, against their floors in the same run (docs/benchmarks.md)
	@$(BIN)/python -m bench $(ARGS)

faults: setup ## faults under load by seed, judged by the checker and recorded (ARGS="--minutes 10 --seed 7")
	@$(BIN)/python -m tests.campaign $(ARGS)

up: setup ## start Kafka and PostgreSQL and return when they answer
	@$(BIN)/touchline-devstack up

down: setup ## stop them
	@$(BIN)/touchline-devstack down

status: setup ## say what runs
	@$(BIN)/touchline-devstack status

lock: setup ## update requirements.lock from the pyproject files
	@deploy/lock.sh

site: setup ## build the documentation site into .touchline/site (open index.html)
	@$(BIN)/python deploy/build_site.py

docs: setup ## generate the pages of docs/ (a test fails when they are out of date)
	@$(BIN)/python deploy/generate_docs.py

screenshots: setup ## take the README's screenshots of the demo (needs Chromium)
	@$(BIN)/python deploy/screenshots.py $(ARGS)

clean: ## remove the virtual environment, caches and the embedded stack's data
	@[ ! -x $(BIN)/touchline-devstack ] || $(BIN)/touchline-devstack down || true
	rm -rf .venv .touchline .pytest_cache .mypy_cache .ruff_cache .hypothesis
