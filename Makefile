# make demo and make test need Python 3.11 or newer, a C++20 compiler and a network (or mirror) for
# packages; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KILLS ?= 100
RECORDS ?= 20

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench reproduce figures torture sanitize format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

NATIVE := CMakeLists.txt $(wildcard src/archwright/*/_native/*)

$(VENV)/.core: $(BIN)/python pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints-dev.txt $(NATIVE)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints-dev.txt
	@touch $@ $(VENV)/.core

demo: $(VENV)/.core  ## plan a fleet for a chat service: examples/chat_fleet.toml
	$(BIN)/archwright run examples/chat_fleet.toml --output-dir runs/chat_fleet

test: $(VENV)/.dev  ## run the tests, without the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-all: $(VENV)/.dev  ## run every test
	$(BIN)/python -m pytest

check: $(VENV)/.dev  ## lint, types, import contracts, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

bench: $(VENV)/.dev  ## time ourselves against peers, in one run
	for script in $(filter-out bench/fit_%,$(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

reproduce: $(VENV)/.core  ## every paper's findings at full size
	$(BIN)/archwright reproduce --all --size full

figures: $(VENV)/.dev  ## draw the figures of the documentation anew (needs a Chrome or Chromium)
	$(BIN)/python -m pip install --quiet kaleido
	$(BIN)/python docs/figures/make.py

torture: $(VENV)/.dev  ## kill studies at random moments and continue them: make torture KILLS=1000
	$(BIN)/python -m archwright.testing.torture --kills $(KILLS) --records $(RECORDS)

# A build of its own with the sanitizers, in build/sanitize; the tests of the native code then load
# it in place of the installed one. Leaks are the interpreter's own, so only errors count.
SANITIZED := build/sanitize
sanitize: $(VENV)/.dev  ## build the native code with the address and undefined-behavior sanitizers and test it
	cmake -S . -B $(SANITIZED) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DARCHWRIGHT_SANITIZE=ON \
	  -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
	  -Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	cmake --build $(SANITIZED) --parallel
	ARCHWRIGHT_ENGINE=$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD=$$($${CXX:-c++} -print-file-name=libasan.so) \
	  $(BIN)/python -m pytest -n 0 tests/memory tests/llm/test_step_costs.py

format: $(VENV)/.dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what the targets made
	rm -rf $(VENV) site build .pytest_cache .mypy_cache .ruff_cache
