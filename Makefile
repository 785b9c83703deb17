# One door: whatever is asked for does its own set-up, once. Each row of CI is one of these targets.

# Settings, as in `make test PYTHON=python3.13`:
PYTHON ?= python3
TORCH_BACKEND ?=

# What `make lock` pins by name; the hash is that of the official +cpu build for CPython 3.11 on
# Linux x86-64, which is not on the default registry but which pip may be configured to find.
TORCH := 2.13.0
TORCH_CPU_HASH := sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

UV_ENV := .venv-uv
UV := $(UV_ENV)/bin/uv
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
# The tests start the commands a hundred times; without bytecode each start compiles PyTorch again.
unexport PYTHONDONTWRITEBYTECODE
# Behind a proxy that signs with its own certificate only the system's store knows whom to trust.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),)
export UV_SYSTEM_CERTS ?= 1
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help quickstart bench bench-page test lint types format test-lowest test-highest docs dist test-wheel test-examples test-long test-machines lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Settings, after any of these:"
	@echo "  PYTHON=python3.13      the Python (3.11 or newer) that the environments are made from"
	@echo "  TORCH_BACKEND=cpu      take PyTorch's small CPU build from PyTorch's own index, instead of"
	@echo "                         the build that pip chooses (on Linux: CUDA, several GB)"
	@echo "  UPGRADE=--upgrade      let 'make lock' move every pin to the newest release"
	@echo "An environment keeps the Python and the PyTorch it was made with until 'make clean'."

quickstart: .venv/.package ## adapt to a handful of images and look at the answer
	$(BIN)/lgmnet quickstart

bench: .venv/.package ## run all benchmarks and draw their page (20 minutes; run nothing else meanwhile)
	-$(MAKE) --keep-going $(PEERS)  # The page names each peer that cannot be installed.
	$(BIN)/python benchmarks/run_all.py

bench-page: .venv/.package ## draw docs/results/benchmarks.md from benchmarks/results/
	$(BIN)/python benchmarks/page.py

test: lint types ## the first row of CI: lint, types, tests, coverage
	$(BIN)/pytest --cov --numprocesses auto --dist worksteal

lint: .venv/.package ## ruff: rules and formatting; codespell
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

types: .venv/.package ## mypy, strict on src
	$(BIN)/mypy

format: .venv/.package ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test-lowest: .venv-lowest/.package ## the tests on the oldest direct dependencies allowed (Python 3.11)
	.venv-lowest/bin/pytest -W default::DeprecationWarning  # what old releases use of newer ones

test-highest: torch-pin =
test-highest: $(UV) ## the tests on the newest dependencies of today, nothing locked
	$(call new-environment,.venv-highest)
	$(UV) pip install --quiet --python .venv-highest --group dev
	$(UV) pip install --quiet --python .venv-highest --no-build-isolation -e '.[all]'
	.venv-highest/bin/pytest

docs: .venv/.package ## the site, in docs/_build/html: no warning, no dead link, nothing from elsewhere
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	$(BIN)/python scripts/check_site.py docs/_build/html

dist: export SOURCE_DATE_EPOCH = $(or $(shell git log -1 --format=%ct 2>/dev/null),315532800)
dist: .venv/.package ## wheel and sdist, built twice with the same hashes, the wheel once from the sdist
	rm -rf dist
	$(BIN)/python scripts/build_dist.py dist
	$(BIN)/twine check --strict dist/*

test-wheel: dist ## the wheel in empty environments, as a newcomer installs it: forge, predict, export, studio
	UV=$(UV) $(BIN)/python scripts/try_wheel.py dist base photos studio all readme

test-long: .venv/.package ## the tests that take half a minute each
	$(BIN)/pytest -m long --numprocesses auto --dist worksteal

test-machines: .venv/.package ## the tests of several machines: a Ray cluster, torchrun, what runs on a GPU
	$(BIN)/pytest -m machines

test-examples: .venv/.package ## all examples, the one in the browser too (npm fetches onnxruntime-web)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/onnx_in_browser/build.sh examples/onnx_in_browser/site
	$(BIN)/pytest -m "long or not long" tests/test_examples.py

clean: ## remove the environments and the caches
	rm -rf .venv .venv-lowest .venv-highest .venv-peer-* $(UV_ENV) dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +


# The environments. .requirements and .package are stamps: made when the step before them went through.

stop = { echo "lgmnet: $(1)" >&2; exit 1; }

$(UV): requirements/uv.txt
	@command -v $(PYTHON) >/dev/null || \
	  $(call stop,there is no '$(PYTHON)' here; install Python 3.11 or newer or name one with PYTHON=/its/path.)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  $(call stop,'$(PYTHON)' is older than Python 3.11; install a newer one or name one with PYTHON=/its/path.)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  $(call stop,'$(PYTHON)' has no venv module; on Debian or Ubuntu: apt install python3-venv.)
	$(PYTHON) -m venv --clear $(UV_ENV)
	$(UV_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# $(call new-environment,FOLDER): an empty environment with PyTorch in it.
# PyTorch comes by pip and not by uv, because which build suits a machine (CPU or CUDA) is said in
# pip's configuration, and uv does not read that.
define new-environment
$(UV) venv --quiet --clear --python $(UV_ENV)/bin/python $(1)
$(if $(TORCH_BACKEND),$(uv-torch),$(pip-torch))
endef

# The builds on PyTorch's own index are not locked by hash here, only by version.
uv-torch = $(UV) pip install --quiet --python $(1) --torch-backend $(TORCH_BACKEND) 'torch$(torch-pin)'
torch-pin = ==$(TORCH)

# First pip chooses, then the hash is checked: given the hashes at once, pip would favour the wheels
# whose hash the registry announces over any that it finds elsewhere. A CUDA build needs the CUDA
# packages beside it.
define pip-torch
$(call pip,$(1)) download --no-deps --dest $(1)/wheels torch==$(TORCH)
@$(call pip,$(1)) install --no-deps --no-index --find-links $(1)/wheels --require-hashes -r requirements/torch.txt || \
  $(call stop,the PyTorch that pip chose is none of those locked in requirements/torch.txt; try TORCH_BACKEND=cpu.)
rm -r $(1)/wheels
@if grep -q "^cuda.*= *['\"]" $(1)/lib/python3.*/site-packages/torch/version.py; then \
  $(UV) pip install --python $(1) --require-hashes --no-deps -r requirements/cuda.txt; fi
endef
pip = $(UV_ENV)/bin/python -m pip --python $(1)/bin/python --disable-pip-version-check

.venv/.requirements: requirements/dev.txt
.venv-lowest/.requirements: requirements/lowest.txt

%/.requirements: requirements/torch.txt requirements/cuda.txt | $(UV)
	$(call new-environment,$*)
	$(UV) pip install --quiet --python $* --require-hashes --no-deps -r $(filter-out %/torch.txt %/cuda.txt,$^)
	@touch $@

%/.package: %/.requirements pyproject.toml
	$(UV) pip install --quiet --python $* --no-deps --no-build-isolation -e .
	@touch $@


# Environments of the peer libraries in `make bench`.

PEERS := $(patsubst %,.venv-peer-%/.done,easyfsl higher learn2learn torchopt)
PEER_PIP = $(UV) pip install --quiet --no-deps --python $(@D)

# easyfsl and learn2learn need an older PyTorch, which is among their locked versions. The others use ours.
peer-environment = $(call new-environment,$(@D))
.venv-peer-easyfsl/.done .venv-peer-learn2learn/.done: \
  peer-environment = $(UV) venv --quiet --clear --python $(UV_ENV)/bin/python $(@D)
.venv-peer-learn2learn/.done: build-peer = $(build-learn2learn)

.venv-peer-learn2learn/.done: benchmarks/peers/learn2learn-source.txt
$(PEERS): .venv-peer-%/.done: benchmarks/peers/%.txt | $(UV)
	$(peer-environment)
	$(PEER_PIP) --require-hashes -r $<
	$(build-peer)
	@touch $@

# learn2learn's C files do not compile for Python 3.11, so Cython generates them again from the .pyx files.
define build-learn2learn
$(@D)/bin/python -m pip download --quiet --no-deps --no-build-isolation --no-binary :all: --dest $(@D) \
  --require-hashes -r benchmarks/peers/learn2learn-source.txt
tar --extract --gzip --file $(@D)/learn2learn-0.2.0.tar.gz --directory $(@D)
cd $(@D)/learn2learn-0.2.0 && ../bin/cython -3 --force learn2learn/data/*.pyx
$(PEER_PIP) --no-build-isolation $(@D)/learn2learn-0.2.0
endef


# The locks. One resolution holds for every platform and Python; it is then dealt out into three files.

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --custom-compile-command 'make lock' $(UPGRADE)
ALL := $(UV_ENV)/lock.txt
LOCKED_PEER := benchmarks/peers/$$peer

lock: export deal = $(deal-program)
lock: $(UV) ## write the locks in requirements/ and benchmarks/peers/ anew
	echo uv | $(COMPILE) -o requirements/uv.txt -
	grep -hv $(TORCH_CPU_HASH) requirements/torch.txt requirements/cuda.txt requirements/dev.txt >$(ALL)
	echo torch==$(TORCH) | $(COMPILE) -o $(ALL) --extra all --group dev --group docs pyproject.toml -
	awk "$$deal" torch=requirements/torch.txt cuda=requirements/cuda.txt rest=requirements/dev.txt $(ALL)
	rm $(ALL)  # or its pins would be kept, lowest or not
	echo torch==$(TORCH) | $(COMPILE) -o $(ALL) --extra all --group dev --group docs --resolution lowest-direct pyproject.toml -
	awk "$$deal" torch=/dev/null cuda=/dev/null rest=requirements/lowest.txt $(ALL)
	for peer in easyfsl learn2learn; do $(COMPILE) -o $(LOCKED_PEER).txt $(LOCKED_PEER).in || exit; done
	$(COMPILE) --no-deps -o benchmarks/peers/learn2learn-source.txt benchmarks/peers/learn2learn-source.in
	for peer in higher torchopt; do \
	  rm -f $(ALL); \
	  echo torch==$(TORCH) | $(COMPILE) -o $(ALL) $(LOCKED_PEER).in - || exit; \
	  awk "$$deal" torch=/dev/null cuda=/dev/null rest=$(LOCKED_PEER).txt $(ALL); \
	done

define deal-program
/^[a-z]/ { out = /^torch==/ ? torch : /^(cuda|nvidia|triton)/ ? cuda : rest }
!out { header = header $$0 "\n"; next }
!(out in begun) { begun[out]; printf "%s", header >out }
/^torch==/ {
  print "# The first hash is that of the official +cpu build for CPython 3.11 on Linux x86-64." >out
  print $$0 "\n    --hash=$(TORCH_CPU_HASH) \\" >out; next
}
{ print >out }
endef
