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

.PHONY: train test test-gpu sanitize lint format compile clean

train: $(VENV)/.installed
	$(BIN)/gat train $(DATASET) $(ARGS)

# One torch thread per test process: the processes share the cores.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) $(ARGS)

# The tests of operators and layers on a GPU; whatever names no device is made there.
test-gpu: $(VENV)/.installed
	GAT_TEST_DEVICE=cuda $(BIN)/python -m pytest -q tests/ops tests/nn $(ARGS)

# The tests of operators and sampling over a library built with AddressSanitizer and UBSan, by g++; any error stops.
# Left out: what measures memory, and what tests torch's compiler rather than the kernels.
SANITIZED := build/sanitize
CHECKED   := not peak_memory and not compiled and not opcheck and not blockwise
WATCHED   := env GAT_CPU_LIBRARY=$(CURDIR)/$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 \
             UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
             LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)"

sanitize: $(VENV)/.installed
	@for tool in g++ cmake; do command -v $$tool >/dev/null || \
	  { echo "make sanitize needs $$tool" >&2; exit 1; }; done
	cmake -S . -B $(SANITIZED) -DCMAKE_CXX_COMPILER=g++ -DGAT_SANITIZE=ON \
	  -DSKBUILD_PROJECT_VERSION_FULL=$$($(BIN)/python -c 'import gat; print(gat.__version__)')
	cmake --build $(SANITIZED) --target gat_cpu --parallel $(WORKERS)
	$(WATCHED) $(BIN)/python -c 'from gat.ops import cpu; print(cpu.status()); exit(not cpu.library())'
	for threads in 1 2; do $(WATCHED) GAT_TEST_THREADS=$$threads OMP_NUM_THREADS=$$threads \
	  $(BIN)/python -m pytest -q tests/ops -k "$(CHECKED)" $(ARGS) || exit 1; done
	$(WATCHED) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/sampling $(ARGS)

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

# By name: installing the project once more would compile it once more.
$(VENV)/.linters: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt $$($(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"])')
	@touch $@
