# Two commands are enough: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What reads .env, if there is one; what is set outside of it goes before.
SETTINGS = $(if $(wildcard .env),$(BIN)/dotenv run --no-override --,)
.DEFAULT_GOAL := help
.PHONY: help run doctor test test-quick test-ends lint types coverage timing e2e clean

help:  ## Print what each target does.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(VENV)/run.done  ## Install if needed, then serve this machine and print what to try.
	@exec $(SETTINGS) $(BIN)/python app.py

doctor: $(VENV)/run.done  ## Show the settings that are in effect, and what is wrong with them.
	@exec $(BIN)/flask doctor

test: lint types  ## Check style and types, then run every test on the oldest and the newest Python found.
	@$(BIN)/python tests/interpreters.py --ends

test-ends: $(VENV)/dev.done  ## Run every test on every Python found, 3.7 and up.
	@$(BIN)/python tests/interpreters.py

test-quick: $(VENV)/dev.done  ## Run every test on this environment's Python only.
	@$(BIN)/python -m pytest

lint: $(VENV)/dev.done  ## Check the style of every Python file.
	@$(BIN)/pycodestyle --exclude=.git,.venv,.venvs . && echo "style: clean"

types: $(VENV)/dev.done  ## Check the types of every Python file, strictly.
	@$(BIN)/mypy

coverage: $(VENV)/dev.done  ## Run every test and print the branches that none of them took.
	@$(BIN)/coverage run -m pytest && $(BIN)/coverage report

timing: $(VENV)/dev.done  ## Measure whether known and unknown addresses differ in time; takes minutes.
	@$(BIN)/python -m tests.timing

e2e: $(VENV)/dev.done  ## Walk the card's journey (main.py) against BASE_URL, by default localhost:5000.
	@$(BIN)/python main.py && echo "main.py: all is well"

clean:  ## Delete what make made; accounts stay.
	@rm -rf .venv .venvs .hypothesis .pytest_cache .mypy_cache .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "Making $(VENV) with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "That needs the venv module. On Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/run.done: requirements.txt | $(BIN)/python
	@echo "Installing what the service needs."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.done: requirements-dev.txt $(VENV)/run.done
	@echo "Installing what the tests need."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
