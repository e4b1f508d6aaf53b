# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# A short way to say it: CMake presets and scripts/ do the work.
# PRESET is one of CMakePresets.json: release (build/), debug, asan (build-*/).

PRESET ?= release
BUILD := build$(if $(filter-out release,$(PRESET)),-$(PRESET))

.PHONY: all setup build demo test sanitize prove bench docs wheels clean

all: build

setup:
	@scripts/setup.sh $(PRESET)

build: setup
	@scripts/build.sh $(PRESET)

demo: build
	@build/venv/bin/python examples/demo.py

test: build
	@scripts/test.sh $(BUILD)

# What runs in an engine's process, with the sanitizers of threads, addresses and undefined behaviour.
sanitize: build
	@scripts/sanitize.sh

# A quarter of an hour of two cores at first; what was shown once is kept. A sample of it is among the tests.
prove: build
	@PYTHONPATH=$(BUILD)/python build/venv/bin/python -m nsa.prove --results $(BUILD)/proved.jsonl

bench: setup
	@scripts/bench.sh

docs: build
	@cmake --build $(BUILD) --target nsa-docs

wheels: build
	@scripts/wheels.sh

clean:
	rm -rf build build-*
