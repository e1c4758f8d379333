# Two commands do everything: make app, make test.
PYTHON ?= python3
PORT ?= 8501
VENV := .venv
RUN := $(VENV)/bin/python
BIOME := node_modules/.bin/biome
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: app test check format runs bench python-version

app: $(VENV)/app.stamp  ## install the requirements and start the app on 127.0.0.1:$(PORT)
	@PORT=$(PORT) $(RUN) -m explorer app

# Two workers drive browsers, which often wait, and one computes meanwhile: tests/support/beside_browsers.py.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
# Tests start many interpreters: they share compiled modules, whatever the environment says.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/dev.stamp $(VENV)/parity.stamp  ## also install the development requirements, and run all tests
	$(RUN) -m pytest $(PYTEST_ARGS)

check: $(VENV)/dev.stamp node_modules/npm.stamp  ## lint, formatting, types and known vulnerabilities
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(BIOME) check --error-on-warnings
	$(RUN) tests/audit.py

format: $(VENV)/dev.stamp node_modules/npm.stamp  ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
	$(BIOME) check --write

runs: $(VENV)/app.stamp  ## retrain the shipped runs (about an hour on two cores)
	PYTHON=$(RUN) data/make_runs.sh

bench: $(VENV)/dev.stamp  ## print the speed tables
	$(RUN) -m benchmarks.run_all

python-version:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
		"Python 3.11 or newer is needed, %s is %d.%d: install one and run make with PYTHON=python3.12." \
		% (sys.executable, *sys.version_info[:2]))'

$(VENV)/app.stamp: requirements.txt requirements-app.txt | python-version
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the requirements into $(VENV) (once; a few minutes) ..."
	@$(RUN) -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt requirements.txt requirements-app.txt | python-version
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the development requirements into $(VENV) (once; a few minutes) ..."
	@$(RUN) -m pip install --quiet -r requirements-dev.txt
	@touch $@ $(VENV)/app.stamp

# Not in dev.stamp: where one of these packages cannot be built, all other tests still run.
$(VENV)/parity.stamp: requirements-parity.txt $(VENV)/dev.stamp
	@echo "Installing the packages that tests/parity compares with into $(VENV) (once; seconds) ..."
	@$(RUN) -m pip install --quiet --no-deps --no-build-isolation -r requirements-parity.txt && touch $@ \
		|| echo "The installation failed: tests/parity skips missing packages, or fails with REQUIRE_PARITY=1."

# The linter of the components' JavaScript; the app itself needs neither Node.js nor a build step.
node_modules/npm.stamp: package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer, which includes it; \
	make check lints the JavaScript with it." >&2; exit 1; }
	@npm ci --silent
	@touch $@
