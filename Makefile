# Every target works in a fresh clone. .venv is made once, and brought up to date when a pin changes.
PYTHON  ?= python3
PATTERN ?= unstructured
BIN     := .venv/bin
SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
.PHONY: demo test check fmt bench asan build cuda-verify gpu

demo: build
	$(BIN)/python -m secateur.demo --pattern $(PATTERN)

test: build
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: .venv/requirements.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=python $(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror $(SOURCES)
	$(BIN)/lizard -w -L 60 -a 7 -C 12 csrc  # Python's limits are ruff's and tests/house/test_sizes.py's

fmt: .venv/requirements.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(SOURCES)

bench: build
	$(BIN)/python benchmarks/run.py linear

# Every read and write of the kernels watched. Leaks are not: Python never frees what it imports.
# -O3 would compile for half an hour.
asan: .venv/requirements.stamp
	PATH=$(CURDIR)/$(BIN):$$PATH cmake -S . -B build/asan -G Ninja -DSECATEUR_SANITIZE=ON -DSECATEUR_OPTIMIZE=-O1 -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	$(BIN)/cmake --build build/asan
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 OMP_NUM_THREADS=1 PYTHONPATH=python \
	SECATEUR_EXTENSION=$(CURDIR)/build/asan/_C.so $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/kernels tests/ops/test_errors.py

# All that can be proved of the CUDA kernels without a GPU, the long part included.
cuda-verify: .venv/requirements.stamp
	SECATEUR_CUDA_VERIFY=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/cuda tests/triton

# Nothing is fetched and nothing installed: the given Python's torch, the tree as it is, build/gpu.
gpu:
	PYTHONPATH=python:. $(PYTHON) -m benchmarks.gpu

build: .venv/build.stamp
.venv/build.stamp: .venv/requirements.stamp pyproject.toml CMakeLists.txt $(shell find csrc -type f)
	$(BIN)/pip install -q --no-build-isolation --no-deps -e .
	touch $@
.venv/requirements.stamp: $(wildcard requirements/*.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -r requirements/dev.txt
	$(BIN)/pip install -q --no-deps -r requirements/demo.txt
	touch $@
