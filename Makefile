# Two commands on a fresh machine: `make drill` and `make test`. Needs Python 3.11 or newer.
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help drill test soak lint bench format clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...'; exit 1; }
	@echo 'setting up .venv, once, about a minute:'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@{ .venv/bin/python -m pip install --disable-pip-version-check \
	    -c constraints.txt -e '.[dev]' || touch .venv/failed; } 2>&1 \
	  | tee .venv/install.log \
	  | awk '/^(Collecting|Installing|Building)/ {printf "."; fflush()} END {print ""}'
	@if [ -e .venv/failed ]; then rm .venv/failed; tail -20 .venv/install.log; exit 1; fi
	@touch $@

drill: .venv/installed  ## break the practice stack, roll it back, write reports/drill.html
	@.venv/bin/rollback drill

test: .venv/installed  ## every test that this machine can run
	@.venv/bin/python tests/halves.py

soak: .venv/installed  ## kill rollbacks of a database's schema 500 times, anywhere
	@SOAK_KILLS=500 .venv/bin/pytest -s tests/database/test_crash.py

lint: .venv/installed  ## ruff, mypy, import layers
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: .venv/installed  ## figures beside the peers, into docs/deciding-figures.md
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[bench]'
	@.venv/bin/python -m bench.decide --write docs/deciding-figures.md

format: .venv/installed  ## mend what can be mended
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean:  ## remove .venv and reports
	rm -rf .venv reports
