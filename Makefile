# Everything a developer does, by one word each; `make help` lists them.

VENV ?= .venv
# A Python to use instead of the one that is found: make PYTHON=/path/to/python3.12
export PYTHON
# Without bytecode on disk, every Airflow process compiles some thousand modules anew: seconds each.
unexport PYTHONDONTWRITEBYTECODE

PREFERRED = 3.13 3.12 3.11 3.10
VENV_PYTHON = $(VENV)/bin/python
STAMP = $(VENV)/.installed
SETUP = scripts/setup_venv.sh scripts/find_python.sh pyproject.toml

# The combinations of `make test-matrix` and `make test-server`, as Python-Airflow; Pythons that this machine lacks are left out.
# Python 3.13 is what `make test` prefers, so it is tested there.
MATRIX ?= 3.10-3.2 3.11-3.3 3.12-3.3 3.14-3.3
# Twice as many processes as processors, since most tests wait for something: a webhook, a time-out, a server.
# More than 8 gain nothing: those with the real Airflow stay together in one of them, see tests/conftest.py.
PROCESSORS = $(shell getconf _NPROCESSORS_ONLN)
PARALLEL ?= -n $(shell echo $$(( $(PROCESSORS) < 4 ? 2 * $(PROCESSORS) : 8 )))
PYTEST_ARGS ?=
# Of a hundred lines and branches, how many have to be run by the tests.
COVERED ?= 98

SEEDS ?= 60
SEED_START ?= 0
SEED ?= 0
DATABASE ?= sqlite
PLANT ?=
NIGHTS ?= 10
PEOPLE ?= 140
API_SERVER ?= uvicorn
FAMILY ?=
MINUTES ?= 60
ONLY ?=
AUDIT_ARGS ?=
WRITE ?=
# botocore demands an older dateutil than Airflow's constraints have, which what is measured of it never imports.
BENCH_SETUP = $(VENV_PYTHON) -m pip install -q -c constraints/airflow-3.3.txt -e . --group bench && \
	$(VENV_PYTHON) -m pip install -q --no-deps 'botocore>=1.36' jmespath

.PHONY: help demo demo-stop test unit test-kills deployment instructions faults faults-long night flood fuzz check format \
	test-matrix test-server test-lowest dist test-dist test-sdist audit bench bench-long constraints clean
.DEFAULT_GOAL := help

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

$(STAMP): $(SETUP) constraints/airflow-3.3.txt
	@scripts/setup_venv.sh $(VENV) constraints/airflow-3.3.txt test,lint,deployment $(PREFERRED)
	@touch $@

demo: $(STAMP) ## call a small list in a real Airflow against the sandbox, and stop; KEEP=1 leaves both running
	@$(VENV_PYTHON) scripts/demo.py run $(if $(filter-out 0,$(KEEP)),--keep)

demo-stop: $(STAMP) ## stop what `make demo KEEP=1` has left running
	@$(VENV_PYTHON) scripts/demo.py stop

test: $(STAMP) ## run all tests but those of `make deployment`, with real servers, and check the branch coverage
	@started=$$(date +%s); \
	$(VENV_PYTHON) -m pytest $(PARALLEL) -m "not deployment" -p tests.support.quick_coverage --cov --cov-report=term \
	  --cov-fail-under=$(COVERED) $(PYTEST_ARGS); result=$$?; \
	echo "make test: exit status $$result after $$(( $$(date +%s) - started )) s"; \
	exit $$result

unit: $(STAMP) ## run the quick tests only
	$(VENV_PYTHON) -m pytest $(PARALLEL) -m "not integration" $(PYTEST_ARGS)

test-kills: $(STAMP) ## kill a campaign of 2,000 contacts 100 times, and the receiver and PostgreSQL during 100,000 webhooks: half an hour
	VOICEINFRA_TEST_KILLS=100 VOICEINFRA_TEST_CONTACTS=2000 $(VENV_PYTHON) -m pytest -s \
	  tests/integration/test_campaigns.py -k killed_again_and_again $(PYTEST_ARGS)
	VOICEINFRA_TEST_KILLS=20 VOICEINFRA_TEST_DELIVERIES=100000 $(VENV_PYTHON) -m pytest -s \
	  tests/integration/test_receiver_killed.py $(PYTEST_ARGS)

deployment: $(STAMP) ## start the documented deployment on Celery, and kill all of it in NIGHTS=10 nights with PEOPLE=140 each
	VOICEINFRA_TEST_NIGHTS=$(NIGHTS) VOICEINFRA_TEST_CONTACTS=$(PEOPLE) VOICEINFRA_TEST_API_SERVER=$(API_SERVER) \
	  $(VENV_PYTHON) -m pytest -s -m deployment --durations=5 tests/deployment $(PYTEST_ARGS)

instructions: $(STAMP) ## count the instructions of claims, settlements and webhooks with valgrind; WRITE=1 writes them down
	@PYTHONPATH=$(CURDIR) $(VENV_PYTHON) -m tests.instructions.guard $(if $(WRITE),--write)

faults: $(STAMP) ## run SEEDS=60 runs of many processes with random faults from SEED_START=0 on, on DATABASE=sqlite|postgresql
	@PYTHONPATH=$(CURDIR):$(CURDIR)/scripts $(VENV_PYTHON) -m tests.faults.run --seeds $(SEEDS) --seed-start $(SEED_START) \
	  --database $(DATABASE) $(if $(PLANT),--plant $(PLANT)) $(if $(FAMILY),--family $(FAMILY)) $(FAULTS_ARGS)

faults-long: $(STAMP) ## run random seeds of `make faults` for MINUTES=60 on DATABASE=sqlite|postgresql
	@scripts/faults_long.sh $(MINUTES) $(DATABASE) $(if $(FAMILY),FAMILY=$(FAMILY)) $(if $(FAULTS_ARGS),FAULTS_ARGS="$(FAULTS_ARGS)")

night: $(STAMP) ## run one night of 5,000 contacts under all rules, with kills and opt-outs, SEED=0 on DATABASE=sqlite|postgresql
	@PYTHONPATH=$(CURDIR):$(CURDIR)/scripts $(VENV_PYTHON) -m tests.faults.night --seed $(SEED) --database $(DATABASE) \
	  $(if $(PLANT),--plant $(PLANT)) $(NIGHT_ARGS)

flood: $(STAMP) ## flood the receiver for SECONDS=600, nine of ten requests forged, on DATABASE=sqlite|postgresql
	@PYTHONPATH=$(CURDIR):$(CURDIR)/scripts $(VENV_PYTHON) -m tests.attack.flood --seconds $(or $(SECONDS),600) \
		--seed $(SEED) --database $(DATABASE)

fuzz: $(STAMP) ## send the receiver REQUESTS=1000000 that are noise, on DATABASE=sqlite|postgresql
	@PYTHONPATH=$(CURDIR):$(CURDIR)/scripts $(VENV_PYTHON) -m tests.attack.fuzz --requests $(or $(REQUESTS),1000000) \
		--seed $(SEED) --database $(DATABASE)

check: $(STAMP) ## lint, formatting, types, dead code, dependencies
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/vulture
	$(VENV)/bin/deptry airflow_provider_voiceinfra

format: $(STAMP) ## fix what ruff can fix by itself
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test-matrix: ## run the quick tests on every supported Python found, with the oldest and the newest Airflow
	@scripts/test_matrix.sh "not integration" $(MATRIX) -- $(PARALLEL) $(PYTEST_ARGS)

# In one process, so that one Airflow is started for all of them.
test-server: ## run the tests with a real Airflow that each version has to pass, on MATRIX=3.10-3.2 or all of test-matrix
	@VOICEINFRA_TEST_ONE_AIRFLOW=1 scripts/test_matrix.sh every_airflow $(MATRIX) -- --durations=5 $(PYTEST_ARGS)

test-lowest: $(STAMP) ## run the quick tests with the oldest packages that pyproject.toml allows, on Python 3.10
	@scripts/test_lowest.sh $(VENV) $(PARALLEL) $(PYTEST_ARGS)

dist: $(STAMP) ## build the wheel and the sdist into dist/, and the software bill of materials into build/
	@scripts/dist.sh $(VENV)

test-dist: $(STAMP) ## install the wheel into an Airflow that has nothing besides, and call with it
	@$(VENV_PYTHON) -m pip install -q uv
	$(VENV_PYTHON) -m pytest tests/release/bare_airflow.py $(PYTEST_ARGS)

test-sdist: $(STAMP) ## unpack the sdist and run its quick tests there, in an environment of its own
	@scripts/test_sdist.sh $(VENV)

audit: $(STAMP) ## look up the pinned packages among known vulnerabilities; asks a service on the internet
	@$(VENV_PYTHON) -m pip install -q uv
	@$(VENV)/bin/uv --quiet venv --clear --python $(VENV_PYTHON) .venv-release
	@$(VENV)/bin/uv --quiet pip install --python .venv-release -c constraints/airflow-3.3.txt --group release
	.venv-release/bin/pip-audit --strict --no-deps --disable-pip -r constraints/airflow-3.3.txt $(AUDIT_ARGS)

bench: $(STAMP) ## run the benchmarks against their peers and limits, in half an hour; ONLY=name for one of them, with WRITE=1 into the results
	@$(BENCH_SETUP)
	@$(VENV_PYTHON) benchmarks/run.py $(addprefix --only ,$(ONLY)) $(if $(WRITE),--write)

bench-long: $(STAMP) ## run the long benchmarks and print their tables, which takes some hours
	@$(BENCH_SETUP)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(VENV_PYTHON) "$$script" || exit 1; done
	@BENCH_LONG=1 $(VENV_PYTHON) benchmarks/run.py

constraints: $(STAMP) ## write constraints/*.txt anew
	scripts/constraints.sh $(VENV)

clean: ## remove environments, caches and what the demo has left
	@if [ -x $(VENV_PYTHON) ]; then $(VENV_PYTHON) scripts/demo.py stop; fi
	rm -rf $(VENV) .venv-* .demo build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
