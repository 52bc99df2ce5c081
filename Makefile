# From a fresh clone this needs GNU make and Python 3.10 or later; all else goes to $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := python -m pip -qq --disable-pip-version-check

export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long lint format bench docs wheel pyz clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/installed ## diagnose a recorded machine that ships with the package: no GPU needed
	@$(BIN)/nvdiag demo

test: $(VENV)/installed-dev ## run the tests; some of them: make test PYTEST_ARGS="-k mismatch"
	$(BIN)/python -m pytest -n 2 $(or $(PYTEST_ARGS),--cov --cov-fail-under=90)

test-long: $(VENV)/installed-dev ## run the sweeps whole that `make test` does in part
	$(BIN)/python -m pytest -n 2 -m long $(PYTEST_ARGS)

lint: $(VENV)/installed-dev ## what CI asks of the source: ruff, mypy, import-linter, and linters of the integrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/zizmor --quiet --offline action.yml .github
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.gitlab-ci packaging/gitlab/*.yml
	$(BIN)/kubernetes-validate --quiet --strict packaging/kubernetes/*.yaml
	! test -x $(BIN)/hadolint || $(BIN)/hadolint packaging/Containerfile # it is made for x86-64 alone

format: $(VENV)/installed-dev ## let ruff format the source and sort its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

bench: pyz ## how long nvdiag takes, beside its floor and nvidia-smi; beside PyTorch, too: BENCH_ARGS=--torch
	@test -x $(VENV)/bench/bin/python || $(PYTHON) -m venv $(VENV)/bench
	@rm -rf build && $(VENV)/bench/bin/$(PIP) install . && rm -rf build
	@env -u PYTHONDONTWRITEBYTECODE $(VENV)/bench/bin/python bench/bench.py $(BENCH_ARGS)

docs: $(VENV)/installed ## draw docs/demo.svg, and write the pages of findings and errors to docs/findings and docs/errors
	@mkdir -p docs/findings docs/errors
	@$(BIN)/python -m tests.scenarios.picture
	@for page in checks/pages/*.md; do \
	    id=$$(basename "$$page" .md); \
	    $(BIN)/nvdiag explain --format markdown "$$id" > "docs/findings/$$id.md" || exit 1; \
	done
	@for kind in xid sxid nvml cuda nvidia-smi; do \
	    $(BIN)/nvdiag explain --format markdown "$$kind" > "docs/errors/$$kind.md" || exit 1; \
	done
	@ls docs/findings | wc -l | xargs printf 'docs/findings: %s pages\n'
	@ls docs/errors | wc -l | xargs printf 'docs/errors: %s pages\n'

wheel: $(VENV)/installed-dev ## build the sdist, and the wheel from it, into dist
	@rm -rf build dist
	@$(BIN)/python -m build --quiet --outdir dist .
	@ls dist

pyz: $(VENV)/made ## build dist/nvdiag.pyz: one file that runs with Python 3.10 or later and nothing installed
	@rm -rf build/pyz && mkdir -p build/pyz dist
	@$(BIN)/$(PIP) install --target build/pyz . 'tomli>=2.0' 'typing_extensions>=4.4'
	@find build/pyz \( -name '*.so' -o -name __pycache__ -o -name bin \) -prune -exec rm -rf {} +
	@$(BIN)/python -m compileall -q -b --invalidation-mode unchecked-hash build/pyz # other Pythons take the source
	@$(BIN)/python -m zipapp --compress --main nvdiag.cli:main --python '/usr/bin/env python3' --output dist/nvdiag.pyz build/pyz
	@rm -rf build && chmod 755 dist/nvdiag.pyz && ls -l dist/nvdiag.pyz

clean: ## remove what the other commands made, except the libraries fetched for the rigs (.cache)
	rm -rf $(VENV) build dist nvdiag.egg-info .coverage .coverage.* htmlcov \
	    .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find nvdiag checks tests bench -name __pycache__ -prune -exec rm -rf {} +

can = $(shell $(PYTHON) -c '$(1)' >/dev/null 2>&1 && echo yes)

$(VENV)/made:
	$(if $(call can,import sys; sys.exit(sys.version_info < (3, 10))),,$(error \
	    nvdiag needs Python 3.10 or later, and $(PYTHON) is not that: make PYTHON=/path/to/python))
	$(if $(call can,import ensurepip; import venv),,$(error \
	    $(PYTHON) cannot make virtual environments: apt install python3-venv))
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	@$(BIN)/$(PIP) install --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/made pyproject.toml
	@$(BIN)/$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/installed
