# Set-up is part of every target: a fresh machine needs Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE = 1

.DEFAULT_GOAL := help
.PHONY: help demo run test coverage check bench chaos lock clean

help:           ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/base.stamp: requirements/base.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/base.txt
	touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

demo: $(VENV)/base.stamp  ## move the shop's orders to a service and back under live traffic (ONCE=1 ends by itself, DATA=file uses a real purchase history)
	$(BIN)/python -m demo $(if $(ONCE),--once) $(if $(DATA),--data "$(DATA)")

run: $(VENV)/base.stamp  ## start the shop, its services, the provider and a worker, without traffic
	$(BIN)/python -m demo --no-traffic

test: $(VENV)/dev.stamp check  ## every check and every test, on SQLite and, where it can differ, on PostgreSQL
	$(BIN)/python -m tests

coverage: $(VENV)/dev.stamp  ## the same tests, traced, which takes longer; fails below the floor
	$(BIN)/python -m tests --coverage

check: $(VENV)/dev.stamp  ## style, types, dependency direction, missing migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING
	ORDERS_STORE=own $(BIN)/python -m extracted.orders makemigrations --check --dry-run
	ORDERS_STORE=own $(BIN)/python -m extracted.orders check --fail-level WARNING

bench: $(VENV)/dev.stamp  ## ratios measured in one run, printed as tables
	$(BIN)/python -m benchmarks

chaos: $(VENV)/dev.stamp  ## move orders to a service and back while everything dies (MINUTES=5 SEED=3 DATABASE=sqlite LOGS=folder)
	$(BIN)/python -m tests.acceptance.chaos --minutes $(or $(MINUTES),2) $(if $(SEED),--seed $(SEED)) \
	  $(if $(DATABASE),--database $(DATABASE)) $(if $(LOGS),--logs "$(LOGS)")

lock:           ## pin the dependencies again (needs uv)
	for set in base dev; do uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-strip-extras --custom-compile-command "make lock" requirements/$$set.in -o requirements/$$set.txt; done

clean:          ## remove the virtual environment and everything the demo wrote
	rm -rf $(VENV) var
