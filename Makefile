# make test     set up .venv where needed, run the tests
# make demo     set up, reconstruct a simulated stack in napari, save demo/
# make lint     ruff, mypy, import rules, manifest
# make docs     HTML into docs/_build/html
# make bench    tables of docs/benchmarks.md (minutes to hours)
#
# PIP_ARGS      more arguments of pip, such as another index for torch
# PYTEST_ARGS   more arguments of pytest, such as tests/sim or -k words

VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that runs and is new enough; a mere name may be a shim.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
INSTALLED := $(VENV)/.installed

# Without a display on Linux, windows open on a virtual one.
ifeq ($(shell uname -s)$(DISPLAY)$(WAYLAND_DISPLAY),Linux)
SCREEN := xvfb-run -a -s "-screen 0 1600x1000x24"
endif

.PHONY: install test demo lint docs bench
.DELETE_ON_ERROR:

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt .ci/system
	.ci/system
	@test -n "$(PYTHON)" \
		|| { echo "napari-physgen needs Python 3.11 or newer: make PYTHON=/path/to/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[all,test,lint,docs]"
	@touch $@

# Small arrays gain nothing from threads, and threads that wait by spinning starve each other.
test: export OMP_NUM_THREADS ?= 1
test: export OMP_WAIT_POLICY ?= passive
test: $(INSTALLED)
	$(SCREEN) $(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

demo: $(INSTALLED)
	$(SCREEN) $(BIN)/napari-physgen demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate src/napari_physgen/napari.yaml

docs: $(INSTALLED)
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: $(INSTALLED)
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done
