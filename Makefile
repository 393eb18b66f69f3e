# make demo: the main job on this machine. make test: the tests. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-arm64 test-cameras soak bench lint clean

demo: $(VENV)/.demo
	@$(BIN)/smartbin demo --once

test: $(VENV)/.dev
	@sh tools/ensure-mosquitto.sh
	$(BIN)/python -m pytest

# What CI runs: the slow suites too, and the trainer's (which need torch).
test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow or not slow"

# The edge on a Debian arm64 root under emulation, labels compared with this machine; needs root.
test-arm64: $(VENV)/.dev
	$(BIN)/python -m tools.arm64

# The camera back-ends on a real picamera2, a network camera and GStreamer; needs root.
test-cameras:
	sh tools/cameras/run.sh

# Twenty items a second with camera, broker and disk faults: make soak MINUTES=60
MINUTES ?= 10
soak: $(VENV)/.dev
	$(BIN)/python -m tools.soak --minutes $(MINUTES)

# Side by side with what one would take instead: make bench BENCH="--data DIR --names FILE"
BENCH ?=
bench: $(VENV)/.bench
	@sh tools/ensure-mosquitto.sh
	$(BIN)/python -m tools.bench --out docs/benchmarks.md --picture docs/images/frontier.png $(BENCH)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e '.[dev,bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.demo

$(VENV)/bin/python:
	@sh tools/make-venv.sh $(PYTHON) $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
