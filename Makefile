# Every developer verb is one command. VENV may point to another virtual environment.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test coverage unit lowest lint format docs guide bench soak promtool3 engines servers clean

demo: $(VENV)/.core  ## Show a live node: this machine's GPUs, or simulated ones
	$(BIN)/gpumon demo $(ARGS)

test: $(STAMP) servers  ## Everything: lint, types, unit tests, real servers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile -m 'not engines' $(ARGS)

coverage: $(STAMP) servers  ## Everything once more, and which lines no test runs: a third slower
	$(BIN)/pytest -n 2 --dist loadfile -m 'not engines' --cov --cov-report=term $(ARGS)

unit: $(STAMP)  ## The quick tests only
	$(BIN)/pytest -q -m 'not e2e and not hardware and not grafana and not engines' $(ARGS)

# The tests' own tools are the newest: one version of textual draws the pictures, and
# import-linter, which judges the code and not what it stands on, needs a newer click.
lowest: $(STAMP)  ## Quick tests, and three with real processes, on the oldest dependencies allowed
	$(BIN)/uv venv --quiet --clear .venv-lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra ops --extra kubernetes \
		--output-file .venv-lowest/lowest.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python .venv-lowest --override .venv-lowest/lowest.txt \
		--editable '.[ops,kubernetes,dev]'
	.venv-lowest/bin/pytest -q -n 2 --dist loadfile -p no:cacheprovider \
		-m 'not (e2e or hardware or grafana or engines or newest_binding)' \
		--ignore tests/top/test_pictures.py --ignore tests/test_architecture.py
	.venv-lowest/bin/pytest -q -p no:cacheprovider \
		tests/e2e/test_driver_faults.py tests/e2e/test_http.py tests/e2e/test_web_config.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Write what is generated: metric reference, rules, lists of alerts, dashboards
	$(BIN)/gpumon metrics -o markdown > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md
	$(BIN)/gpumon metrics -o schema > docs/schema.json
	$(BIN)/gpumon rules export --to deploy/prometheus/rules
	$(BIN)/gpumon rules list -o markdown > docs/alerts.md
	$(BIN)/python -m tests.e2e.drills
	$(BIN)/python -m tests.documented
	$(BIN)/python -m dashboards

guide: $(STAMP) servers  ## Run the user guide's examples, and write what they print
	$(BIN)/python -m tests.guide

bench: $(STAMP)  ## Measure against the peers, and write docs/performance.md
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMP) servers  ## A healthy day of 200 nodes, 200,000 hostile requests, 1000 nodes at 15 s: an hour
	GPUMON_TEST_DAY_NODES=200 $(BIN)/pytest -q tests/e2e/test_healthy_day.py
	GPUMON_TEST_HOSTILE_REQUESTS=200000 $(BIN)/pytest -q tests/e2e/test_hostile.py
	$(BIN)/python -m tests.bench.fleet --settle 2100

promtool3:  ## A promtool of Prometheus 3, by Go; tests use it where GPUMON_TEST_PROMTOOL3 names it
	GOBIN="$(CURDIR)/.tools" go install github.com/prometheus/prometheus/cmd/promtool@v0.316.0

# Prometheus without discoveries that need a cloud's library: they take Go minutes.
engines: $(STAMP)  ## The rules on Prometheus 3 and VictoriaMetrics, at full speed: six minutes, and Go's
	GOBIN="$(CURDIR)/.tools" go install -tags remove_all_sd,netgo \
		github.com/prometheus/prometheus/cmd/prometheus@v0.316.0
	for app in victoria-metrics vmagent vmalert; do GOBIN="$(CURDIR)/.tools" go install \
		github.com/VictoriaMetrics/VictoriaMetrics/app/$$app@v1.151.0 || exit 1; done
	GPUMON_TEST_ENGINES="$(CURDIR)/.tools" $(BIN)/pytest -q -m engines tests/engines $(ARGS)

servers:  ## The servers that tests start, where apt may install them
	sh tests/servers.sh

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(STAMP): $(VENV)/.core
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[ops,dev]'
	@touch $@

clean:
	rm -rf $(VENV) .tools .venv-bench .venv-lowest .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
