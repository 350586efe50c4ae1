# 'make help' lists what there is. Each target sets up what it needs in .venv; Python >= 3.11 and git are enough.
# Another Python: make PYTHON=python3.13 ...

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# made last, so that a set-up which was interrupted starts over
READY := $(VENV)/ready
JOBS ?= auto
ARGS ?=
KEEP ?=
NAME ?=

# what git knows or would add
FILES := git ls-files --cached --others --exclude-standard

.PHONY: help venv demo test test-compose check bench sameness lock secrets clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

venv: $(READY) ## Set up .venv from the locked requirements

$(READY): requirements/dev.txt pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: there is no $(PYTHON) here. On Debian: apt install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Autogate needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." \
	    "Name a newer one: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments here. On Debian: apt install python3-venv" >&2; exit 1; }
	@echo "make: setting up $(VENV)" >&2
	@rm -f $(READY)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || "$(PYTHON)" -m venv --clear $(VENV)
	@# the lock's own uv installs all the rest, several times faster than pip would
	@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements/dev.txt >$(VENV)/uv.txt
	@$(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv --quiet pip sync --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv --quiet pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@# Buildbot loads every plugin that is installed, and the badges do not load without this library of the system
	@$(BIN)/python -c 'import cairocffi' 2>/dev/null || { \
	  echo "make: no badges, since libcairo is not here. With it (Debian: apt install libcairo2): make clean venv" >&2; \
	  $(BIN)/uv --quiet pip uninstall --python $(BIN)/python buildbot-badges; }
	@touch $(READY)

demo: $(READY) ## Show the gate at work on this machine, without Docker; KEEP=1 leaves the web UI running
	$(BIN)/autogate demo $(if $(KEEP),--keep) $(ARGS)

test: $(READY) ## Run the tests, but for those that need Docker; ARGS='-k poller' picks some
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --ignore tests/compose $(ARGS)

test-compose: $(READY) ## Run the tests of the images and of docker-compose.yml
	$(BIN)/python -m pytest tests/compose $(ARGS)

check: $(READY) ## Check types, style, and every script and file that has a checker
	$(BIN)/mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@# shell scripts are known by their first line, wherever they are
	$(BIN)/shellcheck $$($(FILES) -z | xargs -0 awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh( |$$)/ { print FILENAME } { nextfile }')
	$(BIN)/hadolint --no-color $$($(FILES) '*Dockerfile')
	$(BIN)/yamllint --strict .

bench: $(READY) ## Measure; NAME=poll measures one thing only
	@# the other modules are what these share, and a target of its own
	@for path in $(if $(NAME),bench/$(NAME).py,$$(grep -l '^if __name__ == "__main__"' bench/*.py | grep -v sameness)); do \
	  name=$$(basename "$$path" .py); echo "== $$name"; $(BIN)/python -m "bench.$$name" $(ARGS); done

sameness: $(READY) ## Hold the lint program against fresh pylint processes on real merges, for hours; ARGS='--merges 6'
	$(BIN)/python -m bench.sameness $(ARGS)

lock: $(READY) ## Bring requirements/*.txt in line with pyproject.toml; ARGS=--upgrade takes newer versions
	@for extra in master worker bot; do $(MAKE) --no-print-directory requirements/lock-$$extra EXTRAS="--extra $$extra"; done
	@$(MAKE) --no-print-directory requirements/lock-dev EXTRAS=--all-extras

requirements/lock-%:
	$(BIN)/uv --quiet pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --annotation-style line $(EXTRAS) --output-file requirements/$*.txt $(ARGS) pyproject.toml

secrets: ## Make the secrets that docker-compose.yml mounts
	@./deploy/make-secrets

clean: ## Remove .venv and caches; secrets and state stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
