# Two commands do everything on a fresh machine: `make train` and `make test`.
#   make train                      the offline default, handwritten digits
#   make train DATASET=cora         another data set
#   make train ARGS="--seed 1"      any option of `gat train`
PYTHON  ?= python3
DATASET ?= digits
ARGS    ?=
WORKERS ?= 2

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check
# What the install reads; Python sources are used where they stand.
INPUTS := pyproject.toml constraints.txt CMakeLists.txt gat/_version.py \
          $(wildcard gat/ops/cpu/*.cpp gat/ops/cpu/*.h)

.PHONY: train test lint format compile clean

train: $(VENV)/.installed
	$(BIN)/gat train $(DATASET) $(ARGS)

# One torch thread per test process: the processes share the cores.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

lint: $(VENV)/.linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Build the compiled library again, say after installing a compiler.
compile:
	rm -f $(VENV)/.installed
	$(MAKE) $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "gat needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch by itself first: whatever follows then finds it there and asks for no other build.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	$(PIP) install -q torch -c constraints.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(INPUTS)
	$(PIP) install -q -e ".[test]" -c constraints.txt
	@$(BIN)/python -c 'from gat.ops import cpu; print(cpu.status())'
	@touch $@

$(VENV)/.linters: $(VENV)/.installed
	$(PIP) install -q -e ".[test,dev]" -c constraints.txt
	@touch $@
