# Everything runs in .venv, made from requirements.lock. Nothing is asked for beyond make and Python 3.11 or later.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
INSTALLED := .venv/installed
WITH_SPARK := .venv-spark/installed
# Containers often forbid byte code; without it every start of Python here takes 2.5 s instead of 1 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
MINUTES ?= 10
DATA ?= $(or $(DYNSYNC_DATA_DIR),data)
# One more than processors: the tests that kill, cut and start processes wait for a quarter of their time.
WORKERS ?= $(shell expr $$(nproc) + 1)
.PHONY: help demo test stories test-spark cover mutants deep bench years dev query lint format lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "DynSync needs Python 3.11 or later; say make PYTHON=python3.12 if you have one.")'
	@$(PYTHON) -c 'import ensurepip' || { echo "Python lacks its venv module. On Debian: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) ## sync two emulated systems with sample data and show what happened
	$(BIN)/dynsync demo

# Each file in one process, for what its tests share.
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PART ?= 1/1

test: $(INSTALLED) ## style, types, and the tests of every rule and all short ones
	@$(MAKE) --no-print-directory lint & lint=$$!; \
	$(BIN)/pytest $(SIDE_BY_SIDE); tests=$$?; \
	wait $$lint && exit $$tests

stories: $(INSTALLED) ## the tests that take longer; PART=2/3 takes the second third of their files
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "story and not deep" --part=$(PART)

$(WITH_SPARK): $(INSTALLED) requirements-spark.lock
	test -x .venv-spark/bin/python || $(PYTHON) -m venv .venv-spark
	$(BIN)/uv pip sync --quiet --python .venv-spark/bin/python --require-hashes requirements-spark.lock
	$(BIN)/uv pip install --quiet --python .venv-spark/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

test-spark: $(WITH_SPARK) ## the rule files on Spark against DuckDB; needs Java 17, and installs Spark in .venv-spark
	@java -version 2>/dev/null || { echo "There is no Java. On Debian: apt-get install openjdk-17-jre-headless"; exit 1; }
	.venv-spark/bin/pytest -n 2 --dist loadfile -m spark dynsync_pipeline_tests/spark

cover: $(INSTALLED) ## all tests, and how much of the core they run; fails below the floor in pyproject.toml
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not deep and not spark" --cov --cov-report term:skip-covered

mutants: $(INSTALLED) ## break the rule files in one place at a time; some test must notice (FLAGS="--sample 50")
	$(BIN)/python -m dynsync_pipeline_tests.mutants $(FLAGS)

deep: $(INSTALLED) ## every kill and cut once, then property tests with random examples for MINUTES minutes (10)
	$(BIN)/python -m dynsync_pipeline_tests.properties.deep $(MINUTES)

bench: $(INSTALLED) ## start-up, whole cycles here and through Dagster, plans, publications and extraction, as ratios; on an idle machine, a quarter of an hour
	$(BIN)/python -m dynsync_pipeline_tests.bench.starting
	$(BIN)/python -m dynsync_pipeline_tests.bench.through_dagster
	$(BIN)/python -m dynsync_pipeline_tests.bench.whole_commands 2000 1000000
	$(BIN)/python -m dynsync_pipeline_tests.bench.sizes 2000 200000 1000000
	$(BIN)/python -m dynsync_pipeline_tests.bench.publishing 1000000
	$(BIN)/python -m dynsync_pipeline_tests.bench.extracting 100000
	$(BIN)/python -m dynsync_pipeline_tests.bench.comparing 1000000

years: $(INSTALLED) ## years of cycles in one process, and 200 runs of Dagster: nothing may grow (FLAGS="--cycles 300 --runs 30")
	$(BIN)/python -m dynsync_pipeline_tests.bench.years $(FLAGS)

dev: $(INSTALLED) ## Dagster's UI on 127.0.0.1:3000, syncing unattended
	$(BIN)/dynsync dev

query: $(INSTALLED) ## DuckDB's command line on the snapshot (DATA=data/demo; FLAGS="-c 'from cycles'")
	@test -e $(DATA)/snapshot.duckdb || { echo "There is no snapshot in $(DATA) yet. Name the folder: make query DATA=data/demo"; exit 1; }
	@$(BIN)/duckdb -readonly $(FLAGS) $(DATA)/snapshot.duckdb

lint: $(INSTALLED) ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED) ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(INSTALLED) ## resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --extra dev --extra emulators --extra notify --extra postgres --extra tracing --output-file requirements.lock \
		pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--constraint requirements.lock --extra notify --extra postgres --extra tracing --output-file deploy/requirements.lock \
		pyproject.toml

	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--constraint requirements.lock --extra dev --extra emulators --extra spark --output-file requirements-spark.lock \
		pyproject.toml

clean: ## remove the environment and what runs made
	rm -rf .venv .venv-spark build *.egg-info
