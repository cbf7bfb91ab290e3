# `make figures` and `make test` do all the set-up themselves. `make help` lists the rest.
PYTHON  ?= python3
PROFILE ?= embedded
BIN     := .venv/bin
# A free photograph, for the trained models that come with the package.
CHELSEA := lficam/data/photographs/chelsea.png

.DEFAULT_GOAL := help
.PHONY: help figures test tests_trained tests_untrained docs lab explorer reference results model stress lock pin clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

figures: .venv/ready  ## train what is missing, execute the notebooks, write figures/<profile>/ with its report.html
	$(BIN)/lficam figures --profile $(PROFILE)
	$(BIN)/lficam explain $(CHELSEA) --method all --output figures/$(PROFILE)

test: .venv/tested  ## every test, every notebook by nbval, every committed number, and the linter (38 minutes on 2 cores where the models are trained)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --keep-going --jobs 2 tests_trained tests_untrained

# A session for each of two cores. What they print is mixed; each ends with its own failures and slowest tests.
tests_trained: .venv/tested
	$(BIN)/pytest -m trained

tests_untrained: .venv/tested
	$(BIN)/pytest -m "not trained"

docs: .venv/documented  ## the site: docs/_build/html/index.html
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs docs/_build/html

lab: .venv/ready  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

explorer: .venv/ready  ## the explorer as a page without code, for this machine alone: prints its address
	$(BIN)/lficam explorer

reference: .venv/ready  ## maintainers: remake figures/reference and the outputs stored in the notebooks
	$(BIN)/python -m lficam.reproduce.reference
	$(BIN)/lficam explain $(CHELSEA) --method all --output figures/reference

results: .venv/ready  ## maintainers: train on photographs (hours; resumes), keep what each training leaves in figures/results
	$(BIN)/python -m lficam.reproduce.photographs

model: .venv/ready  ## maintainers: train the models that come with the package (half an hour each; resumes)
	$(BIN)/python -m lficam.reproduce.bundle

# Without --upgrade, what is pinned in the output file stays as it is: another torch or matplotlib would change numbers and pictures.
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --no-annotate --quiet --custom-compile-command "make lock"

# Extras that no figure needs are pinned on top of it and installed only by those who want them.
ON_TOP := for extra in docs export peers; do $(COMPILE) --extra $$extra --constraint requirements.lock --output-file requirements-$$extra.lock; done; \
    $(COMPILE) --extra cluster --constraint requirements.lock --constraint requirements-docs.lock --output-file requirements-cluster.lock

stress: .venv/tested  ## maintainers: kill what is at work 30 times, and look at what is left (10 minutes)
	PYTHONPATH=tests $(BIN)/python tests/stress.py

lock:  ## maintainers: pin the newest versions that pyproject.toml allows (needs uv)
	$(COMPILE) --extra dev --upgrade --output-file requirements.lock
	$(ON_TOP)

pin:  ## maintainers: pin what pyproject.toml newly asks for, and leave every other version as it is (needs uv)
	$(COMPILE) --extra dev --output-file requirements.lock
	$(ON_TOP)

clean:  ## remove the virtual environment and everything generated; data/ stays
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache docs/_build docs/notebooks runs figures/embedded* figures/photos* figures/quick* figures/paper* figures/explorer
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew whenever the lock or the package's own requirements change.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# What the tests need beyond that: exported models are run, the tools of others are tried on the model, and jobs are handed to
# Snakemake.
.venv/tested: .venv/ready requirements-cluster.lock requirements-export.lock requirements-peers.lock
	$(BIN)/python -m pip install --quiet $(foreach extra,cluster export peers,--requirement requirements-$(extra).lock)
	@touch $@

# What the site is built with.
.venv/documented: .venv/ready requirements-docs.lock
	$(BIN)/python -m pip install --quiet --requirement requirements-docs.lock
	@touch $@
