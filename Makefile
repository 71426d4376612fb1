# Two commands set up a fresh machine that has Python 3.11 or newer and make:
#   make demo    the four stages on invented chats, in words, without a download of a model
#   make test    the tests
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export OMP_NUM_THREADS ?= 2

.PHONY: demo test check env browser format golden docs clean

env: $(VENV)/installed

# torch first and alone: with it in place nothing pulls another build of it in
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clone needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: env
	@BIN="$(BIN)" sh tools/demo.sh

test: env browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

browser:
	@sh tools/install_chromium.sh

check: env browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m cogapp --check -r docs/cli.md docs/recipes.md
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered --durations=15
	BIN="$(BIN)" sh tools/check_wheel.sh

format: env
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: env
	$(BIN)/python -m tests.golden

docs: env
	$(BIN)/python -m cogapp -r docs/cli.md docs/recipes.md

clean:
	rm -rf demo dist build .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
