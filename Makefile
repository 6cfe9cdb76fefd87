# gridhook. `make help` lists what there is; everything runs inside .venv, which `make` builds (tools/set-up) and keeps in step with requirements/.
#
# PYTHON=python3.12 make test   another Python (3.11 or newer) than the first suitable one
# make test TESTS=tests/rules   a part of the suite; any pytest arguments
# make demo ONCE=1              the demo ends by itself

BIN := .venv/bin
TESTS ?=
ARGS ?=

export PYTHON
# The tools must not be led astray by another environment that happens to be active.
unexport PYTHONHOME
unexport PYTHONPATH
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup test lint format demo bench pictures build docs lock upgrade clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## build or refresh .venv from requirements/dev.txt (every other target does this first)
	@tools/set-up

demo: setup  ## the main job on your screen: server, receiver, webhook through AccessGrid's SDK, deliveries (ONCE=1: end by itself)
	@$(BIN)/gridhook demo $(if $(filter-out 0,$(ONCE)),--once) $(ARGS)

test: setup  ## the whole test suite (TESTS=...: a part of it)
	@$(BIN)/python -m pytest $(or $(TESTS),-n auto --maxprocesses 4 --dist loadfile)

lint: setup  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## the numbers of the README, measured here (ARGS=...: see `gridhook bench --help`)
	@$(BIN)/gridhook bench $(ARGS)

pictures: setup  ## take the README's pictures anew, from the tests in a browser
	@rm -rf build/pictures
	@GRIDHOOK_TEST_PICTURES=build/pictures $(BIN)/python -m pytest tests/pages/test_pictures.py
	@mkdir -p docs/pictures && for name in overview-light webhook-dark attempt-light; do cp build/pictures/readme-$$name-wide.png docs/pictures/$$name.png; done

build: setup  ## the wheel, into dist/, checked: complete, and it runs in a fresh environment
	@$(BIN)/python tools/wheel.py

docs: setup  ## write the generated pages (docs/settings.md)
	@$(BIN)/python tools/pages.py

lock: setup  ## write requirements/*.txt from pyproject.toml, keeping versions where they still fit
	@$(BIN)/python tools/lock.py

upgrade: setup  ## the same with the newest versions
	@$(BIN)/python tools/lock.py --upgrade

clean:  ## remove .venv, dist/ and caches; never data
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
