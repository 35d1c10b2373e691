# make demo   a mask by the packaged network, then the whole path in small: training, Hub, mask
# make test   lint and the fast tests (CI runs this)
# Every target sets up what it needs: a .venv, torch from constraints.txt, this package with its kernels.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
OLDEST := .venv-oldest
SOURCES := pyproject.toml setup.py constraints.txt $(shell find csrc -type f 2>/dev/null)
FAST := -m "not slow and not gpu"
# One process per core, each with one thread; tests of a file stay together, since they share what takes long to make.
SPREAD := -n auto --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_LESIONSEG_BUILD_KERNELS := require

.PHONY: help setup demo test lint format test-slow test-oldest test-gpu sanitize fuzz benchmark benchmark-network benchmark-gpu clean

help:
	@sed -n 's/^# //p' Makefile
	@echo "also: setup lint format test-slow test-oldest test-gpu sanitize fuzz benchmark benchmark-network benchmark-gpu clean"

setup: $(VENV)/.ready

# setuptools and ninja come first: the package is built against the torch that is installed, without isolation.
$(VENV)/.ready: $(SOURCES)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt torch "setuptools>=77" wheel ninja
	$(PY) -m pip install --quiet -c constraints.txt --no-build-isolation -e ".[dev,hub-kernel,onnx]"
	@touch $@

demo: setup
	$(PY) scripts/demo.py

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest $(FAST) $(SPREAD)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test-slow: setup
	$(PY) -m pytest -m "slow and not gpu"

# The fast tests at the lower bounds of pyproject.toml, as far as they can be installed.
test-oldest: $(OLDEST)/.ready
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest $(FAST) $(SPREAD)

$(OLDEST)/.ready: $(SOURCES) constraints-oldest.txt
	test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet -c constraints-oldest.txt torch "setuptools>=77" wheel ninja
	$(OLDEST)/bin/python -m pip install --quiet -c constraints-oldest.txt --no-build-isolation -e ".[dev]"
	@touch $@

# AddressSanitizer around the CPU loops and, emulated on the CPU, the CUDA kernels.
sanitize: setup
	$(PY) -m pytest -m "sanitize and not gpu"

test-gpu: setup
	$(PY) -m pytest -m gpu

# 10,000 mutated NIfTI files through the reader and `segment`: some six minutes on one core.
fuzz: setup
	OMP_NUM_THREADS=1 $(PY) scripts/fuzz_nifti.py

benchmark: setup
	$(PY) scripts/benchmark_kernels.py --memory --output benchmarks/results

# Whole networks in every form, on a quiet machine: table, JSON and plot.
benchmark-network: setup
	$(PY) scripts/benchmark_network.py --output benchmarks/results

# Writes JSON with device, versions and date. Needs a torch that was built for CUDA, as test-gpu does.
benchmark-gpu: setup
	$(PY) scripts/benchmark_kernels.py --device cuda --memory --output benchmarks/results

clean:
	rm -rf $(VENV) $(OLDEST) build dist demo-output *.egg-info hf_lesionseg/*.so
