# Two commands do everything on a fresh machine with Python 3.11, make and git:
#   make demo   the main job, embedded: no Docker, no broker, no data download
#   make test   lint, types, unit, contract, integration; uses what servers it finds
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
# CPU-only torch wheels, for example: make demo PIP_FLAGS="--extra-index-url URL"
PIP_FLAGS ?=
BIN := $(VENV)/bin
# What needs no server: a file of tests per core, and each computes on its own.
SIDE_BY_SIDE = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile
# What asks servers waits most of the time; each process starts its own. Those given are one's alone.
GIVEN = $(LATECOMER_TEST_AMQP_URLS)$(LATECOMER_TEST_REDIS_URLS)
ON_SERVERS = $(BIN)/python -m pytest $(if $(GIVEN),,-n 2 --dist loadgroup)
# What `make tables` evaluates; most data is not shipped, see docs/data.md.
RECIPES ?= heart-disease online-retail
# And these with --full-ranking, and with --protocol pfedrec-compat.
FULL_RANKING ?=
PFEDREC ?=

.PHONY: help demo test check unit integration quality chaos proof compose figures tables performance performance-servers peers up down status install install-dev clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.installed ## the main job, end to end, in one process
	@$(BIN)/latecomer demo

test: $(VENV)/.installed-dev check ## everything that is tested
	$(SIDE_BY_SIDE) tests/unit tests/simulation
	$(BIN)/python -m pytest tests/quality
	$(ON_SERVERS) tests/contract tests/integration tests/chaos

check: $(VENV)/.installed-dev ## lint, format, types, import law
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: $(VENV)/.installed-dev ## what needs no server
	$(SIDE_BY_SIDE) tests/unit

integration: $(VENV)/.installed-dev ## contract and integration tests over every server found
	$(ON_SERVERS) tests/contract tests/integration -m "not compose"

quality: $(VENV)/.installed-dev ## the demo over three seeds (minutes)
	$(BIN)/python -m pytest tests/quality

chaos: $(VENV)/.installed-dev ## kill, break and empty everything on real servers (under 20 minutes)
	$(BIN)/python -m pytest tests/chaos --chaos full

proof: chaos ## and the same in virtual time; writes the README's table of faults
	@mkdir -p runs/faults
	$(BIN)/latecomer bench faults --seeds 1000 --format json > runs/faults/report.json
	$(BIN)/python benchmarks/proof.py

compose: $(VENV)/.installed-dev ## the compose deployment under kills (needs a Docker engine)
	$(BIN)/python -m pytest tests/integration/test_compose.py

figures: $(VENV)/.installed ## measure the README's table (minutes)
	$(BIN)/python benchmarks/figures.py

tables: $(VENV)/.installed ## measure the README's recommenders; data sets are found by LATECOMER_DATA
	@mkdir -p runs docs/evaluated
	evaluate() { \
	  $(BIN)/latecomer evaluate recipes/$$1.toml --seeds 3 --format json $$3 > runs/evaluated.json \
	    && mv runs/evaluated.json docs/evaluated/$$1$$2.json; }; \
	for recipe in $(RECIPES); do evaluate $$recipe || exit 1; done; \
	for recipe in $(FULL_RANKING); do evaluate $$recipe -full --full-ranking || exit 1; done; \
	for recipe in $(PFEDREC); do \
	  evaluate $$recipe -pfedrec "--protocol pfedrec-compat" || exit 1; done
	$(BIN)/python benchmarks/tables.py

performance: $(VENV)/.installed ## measure how cost grows; writes docs/performance.md (minutes)
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[report]"
	@mkdir -p runs/performance
	$(BIN)/latecomer bench fold --format json > runs/performance/fold.json
	$(BIN)/latecomer bench growth --format json > runs/performance/growth.json
	$(BIN)/latecomer bench stragglers --format json > runs/performance/stragglers.json
	$(BIN)/latecomer bench stragglers --many --format json > runs/performance/stragglers-many.json
	$(BIN)/latecomer bench codec --format json > runs/performance/codec.json
	$(BIN)/latecomer bench devices ml-100k --format json > runs/performance/devices-ml-100k.json
	$(BIN)/latecomer bench devices ml-1m --format json > runs/performance/devices-ml-1m.json
	$(BIN)/python benchmarks/performance.py

performance-servers: $(VENV)/.installed ## the same on the servers of LATECOMER_BROKER_URL and LATECOMER_STORE_URL
	@mkdir -p runs/performance
	$(BIN)/latecomer bench pipeline --format json > runs/performance/pipeline.json
	$(BIN)/latecomer bench memory --format json > runs/performance/memory.json
	$(BIN)/latecomer bench cold-start --format json > runs/performance/cold-start.json
	$(MAKE) performance

peers: benchmarks/peers/.installed benchmarks/peers/stragglers/.installed ## what `latecomer bench` is compared with, in environments of their own

benchmarks/peers/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv benchmarks/peers/.venv
	benchmarks/peers/.venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

benchmarks/peers/stragglers/.installed: benchmarks/peers/stragglers/requirements.txt
	$(PYTHON) -m venv benchmarks/peers/stragglers/.venv
	benchmarks/peers/stragglers/.venv/bin/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) "$$(grep ^torch== $<)"
	benchmarks/peers/stragglers/.venv/bin/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) --no-deps -r $<
	@touch $@

up: ## the long-running deployment
	docker compose up --build -d --wait

down: ## stop it; volumes stay
	docker compose --profile observability down

status: $(VENV)/.installed ## the deployment's one table, from the host
	@PATH="$(abspath $(BIN)):$$PATH" infra/status.sh

install: $(VENV)/.installed ## what a worker needs

install-dev: $(VENV)/.installed-dev ## and what its developers need

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e ".[worker]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt \
		-e ".[worker,data,report,dev]"
	@touch $@

clean: ## remove what was installed and measured here
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
