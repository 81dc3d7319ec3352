# Every target sets up .venv on first use; `make clean` removes it.
#   make demo       restore a clip with the shipped models
#   make test       run the fast tests, one thread in each of two processes; TESTS=tests/core for a part of them
#   make test-slow  run the tests that take minutes
#   make test-ray   install Ray, and run the tests of clusters
#   make lint       ruff and pyright
#   make format     fix what ruff can fix
#   make wheel      build the package

VENV    := .venv
BIN     := $(CURDIR)/$(VENV)/bin
READY   := $(VENV)/.ready
WORKERS := 2
UV      := $(shell command -v uv 2>/dev/null)

.PHONY: demo test test-slow test-ray lint format wheel clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/python demo/demo.py

test: $(READY)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PATH="$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --max-worker-restart 0 $(TESTS)

test-slow: $(READY)
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest -m slow -o timeout=0 -o faulthandler_timeout=0

test-ray: $(READY)
ifneq ($(UV),)
	uv pip install --python $(VENV)/bin/python --editable '.[jobs]'
else
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[jobs]'
endif
	$(BIN)/python -m pytest tests/jobs/test_cluster_ray.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(READY)
	rm -rf build
	$(BIN)/python -m build --wheel --no-isolation

clean:
	rm -rf $(VENV) build dist *.egg-info demo_out .pytest_cache .hypothesis .ruff_cache

# An existing .venv is used as it is; missing packages are installed into it. Each Python is run once to check its
# version, because a name on the PATH may be a shim without an interpreter.
$(VENV)/bin/python:
ifneq ($(UV),)
	uv venv --python 3.12 $(VENV)
else
	@for python in $(or $(PYTHON),python3.12 python3 python3.13 python3.14 python); do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
	    echo "$$python -m venv $(VENV)"; $$python -m venv $(VENV) && exit; \
	    rm -rf $(VENV); echo "$$python cannot create a virtual environment; on Debian, install python3-venv" >&2; exit 1; \
	  fi; \
	done; \
	echo "Python 3.12 or newer is needed: install it, or uv, or set PYTHON=/path/to/python" >&2; exit 1
endif

# `vapoursynth config` sets the Python that vspipe uses, once per user and environment.
$(READY): pyproject.toml | $(VENV)/bin/python
ifneq ($(UV),)
	uv pip install --python $(VENV)/bin/python --editable '.[dev]'
else
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[dev]'
endif
	$(BIN)/vapoursynth config
	touch $@
