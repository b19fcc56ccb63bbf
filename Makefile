# Two commands are enough: `make run` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What reads .env, if there is one; what is set outside of it goes before.
SETTINGS = $(if $(wildcard .env),$(BIN)/dotenv run --no-override --,)
# The servers for production; granian has no packages for Python 3.9 and older.
granian := python -m deploy.serve
gunicorn := gunicorn -c deploy/gunicorn.conf.py app:app
# What makes the lock and looks at it; nothing that runs needs it.
TOOLS := .venvs/tools
TOOL_PACKAGES := "uv>=0.13" "pip-audit>=2.10" "cyclonedx-bom>=7.5"
BENCH = $(BIN)/python -m benchmarks $(if $(SERVER),--server $(SERVER),) $(if $(ONLY),--only $(ONLY),)
DEPLOYED = $(sort $(filter-out requirements-dev.txt requirements-bench.txt requirements-mutants.txt,$(wildcard requirements*.txt)))
ADVISORIES ?= pypi
LOCK ?= requirements.lock
.DEFAULT_GOAL := help
.PHONY: help run serve doctor test test-quick test-ends lint types static coverage proof mutants timing bench bench-peers screenshots e2e docs lock audit sbom clean

help:  ## Print what each target does.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(VENV)/run.done  ## Install if needed, then serve this machine and print what to try.
	@exec $(SETTINGS) $(BIN)/python app.py

serve: $(VENV)/run.done  ## Serve with the production server by the settings in .env (SERVER=gunicorn: the other one).
	@exec $(SETTINGS) $(BIN)/$($(or $(SERVER),$(shell test -x $(BIN)/granian && echo granian || echo gunicorn)))

doctor: $(VENV)/run.done  ## Show the settings that are in effect, and what is wrong with them.
	@exec $(BIN)/flask doctor

test:  ## Check style and types, and run every test on the oldest and the newest Python found.
	@$(PYTHON) tests/interpreters.py --ends lint types

test-ends: $(VENV)/dev.done  ## Run every test on every Python found, 3.7 and up.
	@$(BIN)/python tests/interpreters.py

test-quick: $(VENV)/dev.done  ## Run every test on this environment's Python only.
	@$(BIN)/python -m pytest

lint: $(VENV)/dev.done  ## Check the style of every Python file.
	@$(BIN)/pycodestyle --exclude=.git,.venv,.venvs . && echo "style: clean"

types: $(VENV)/dev.done  ## Check the types of every Python file, strictly.
	@$(BIN)/mypy

static: $(VENV)/dev.done  ## Look for mistakes, wrong types and secrets in every file, without running it.
	@$(BIN)/python -m tests.static

coverage: $(VENV)/dev.done  ## Run every test and print the branches that none of them took.
	@$(BIN)/coverage run -m pytest && $(BIN)/coverage report

proof: $(VENV)/dev.done  ## Show every promise at its full size, for docs/proof.md; takes 20 minutes (ONLY='kill timing').
	@$(BIN)/python -m tests.proofs $(ONLY)

mutants: $(VENV)/mutants.done  ## Break the heart in small ways, and see that tests notice, for docs/mutants.md; takes an hour (ONLY='throttle.*').
	@$(BIN)/python -m tests.mutation $(if $(ONLY),'$(ONLY)')

timing: $(VENV)/dev.done  ## Measure whether known and unknown addresses differ in time; takes minutes.
	@PROVING=1 $(BIN)/python -m pytest -q tests/proofs/test_timing.py && echo "Time tells nobody who has an account."

bench: $(VENV)/bench.done  ## Measure speed against the limits, for docs/performance.md (SERVER=gunicorn, ONLY=get,storm).
	@$(BENCH)

bench-peers: $(VENV)/bench.done  ## Measure the same beside well-known libraries, each installed for itself.
	@$(BENCH) --peers

screenshots: $(VENV)/dev.done  ## Take the pictures of docs/account.md anew, in a real browser.
	@$(BIN)/python -m tests.pictures

e2e: $(VENV)/dev.done  ## Walk the card's journey (main.py) against BASE_URL, by default localhost:5000.
	@$(BIN)/python main.py && echo "main.py: all is well"

docs: $(VENV)/run.done  ## Write docs/errors.md, which is made from the code.
	@$(BIN)/python -m scripts.errors_page && echo "docs/errors.md"

lock: $(TOOLS)/tools.done  ## Pin every package that is deployed, with hashes, in requirements.lock.
	@$(TOOLS)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.13 \
	  --generate-hashes --no-annotate --custom-compile-command "make lock" \
	  --output-file requirements.lock $(DEPLOYED)

audit: $(TOOLS)/tools.done  ## Ask whether a locked package has a known vulnerability; fails if nobody answers.
	@$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  --vulnerability-service $(ADVISORIES) --requirement $(LOCK) || { \
	  echo "Not clean: either a vulnerability is named above, or the advisories could not"; \
	  echo "be asked, and nothing is known. Another source: make audit ADVISORIES=osv"; exit 1; }

sbom: $(TOOLS)/tools.done  ## Write dist/sbom.cdx.json, the CycloneDX bill of what is locked.
	@mkdir -p dist
	@$(TOOLS)/bin/cyclonedx-py requirements --output-reproducible \
	  --output-file dist/sbom.cdx.json requirements.lock && echo "dist/sbom.cdx.json"

clean:  ## Delete what make made; accounts stay.
	@rm -rf .venv .venvs dist .hypothesis .pytest_cache .mypy_cache .coverage
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

$(VENV)/bench.done: requirements-bench.txt $(VENV)/dev.done
	@echo "Installing what draws the pictures."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(VENV)/mutants.done: requirements-mutants.txt $(VENV)/dev.done
	@echo "Installing what breaks the code."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-mutants.txt
	@touch $@

$(TOOLS)/tools.done: | $(BIN)/python
	@echo "Installing what makes and looks at the lock."
	@$(BIN)/python -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check $(TOOL_PACKAGES)
	@touch $@
