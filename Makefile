# `make` alone lists the targets. Everything runs in .venv, which the first of them makes.
PYTHON_VENV = .venv/bin/python
# For pytest: more workers than cores, as most tests wait. A part of them: make test PYTEST=tests/unit
PYTEST ?= -n 6 --dist loadfile --no-loadscope-reorder

# What was translated or compiled once is taken from build/cache by every other build: of a copy of the
# tree, or of a wheel. ccache finds it under another directory if told to leave directories out.
export PATH := /usr/lib/ccache:$(PATH)
export FASTLB_TRANSLATIONS ?= $(CURDIR)/build/cache/c
export CCACHE_DIR ?= $(CURDIR)/build/cache/ccache
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR = 1

.DEFAULT_GOAL = help
.PHONY: help run test test-all test-again toys generate mutants lint typecheck sanitize sanitize-quick fuzz coverage bench bench-quick policies soak wheel clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 18

run: ## Balance some traffic on this machine, to try things (fastlb demo)
	@tools/setup.sh run
	@.venv/bin/fastlb demo

test: ## The whole test suite
	@tools/setup.sh test
	@$(PYTHON_VENV) -m pytest $(PYTEST)

test-all: ## The same with every flow test in every mode; before a release
	@tools/setup.sh test
	@$(PYTHON_VENV) -m pytest --modes=all $(PYTEST)

N ?= 10
LOAD ?= 2

test-again: ## The suite N times beside LOAD busy loops: make test-again N=10 LOAD=2
	@tools/setup.sh test
	@$(PYTHON_VENV) -m tools.again $(N) $(LOAD) $(PYTEST)

toys: ## Add the toys of docs/extending.md to a copy of the tree, build it, and run their tests
	@tools/setup.sh test
	@$(PYTHON_VENV) -m tools.toys $(PYTEST)

generate: ## What is made from the code: docs/config.md, fastlb/keywords, the list of modules, full.toml
	@tools/setup.sh test
	@$(PYTHON_VENV) -m fastlb.config.docs > build/config.md && mv build/config.md docs/config.md
	@$(PYTHON_VENV) -m fastlb.config.typed
	@$(PYTHON_VENV) -m fastlb.config.full
	@$(PYTHON_VENV) -m tools.modules

mutants: ## Break N random lines of the core, one at a time: do tests notice? SEED=1 repeats
	@tools/setup.sh test
	@$(PYTHON_VENV) -m tools.mutants $(N) $(SEED)

lint: ## ruff, mypy, the stubs, Cython's hints and annotation, C warnings, the tidy tests
	@tools/setup.sh dev
	@tools/lint.sh

typecheck: ## mypy alone, and stubtest on the compiled modules
	@tools/setup.sh dev
	@tools/lint.sh types

sanitize: ## The test suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/setup.sh test
	@tools/sanitize.sh $(PYTEST)

# What parses bytes of strangers, keeps books of memory, or ends in the middle of something.
SANITIZED = tests/core tests/adversity tests/flow/udp tests/flow/sniff tests/flow/proxied \
	tests/flow/tcp tests/flow/http/hostile tests/flow/http/test_compression_bodies.py \
	tests/flow/http2/test_hostile.py \
	tests/flow/http2/servers/test_hostile.py tests/flow/manners tests/flow/test_faults.py \
	tests/flow/tls/test_handshakes.py tests/flow/tls/test_endings.py tests/flow/explain

sanitize-quick: ## The part of it that finds the most, in some minutes
	@tools/setup.sh test
	@tools/sanitize.sh $(PYTEST) $(SANITIZED)

fuzz: ## Mutated streams into the parsers and a balancer, under the sanitizers, FUZZ_SECONDS each
	@tools/setup.sh test
	@tools/sanitize.sh fuzz

coverage: ## Lines and branches that the tests reach, of the nogil code and of the Python
	@tools/setup.sh dev
	@tools/coverage.sh $(PYTEST)

bench: ## Every balancer on the same work: the table of docs/benchmarks.md
	@tools/setup.sh test
	@$(PYTHON_VENV) bench/run.py
	@$(PYTHON_VENV) -m bench.micro.compression

policies: ## Policies in simulations, next to their papers: docs/policies.md
	@tools/setup.sh test
	@$(PYTHON_VENV) -m pip install --quiet "matplotlib>=3.9"
	@$(PYTHON_VENV) -m bench.policies.run

bench-quick: ## The same in short, as a first look after a change
	@tools/setup.sh test
	@$(PYTHON_VENV) bench/run.py --quick

soak: ## The tests that take minutes
	@tools/setup.sh test
	@$(PYTHON_VENV) -m pytest -m soak $(PYTEST)

wheel: ## An sdist and a wheel for this machine, in dist/
	@tools/setup.sh run
	@rm -rf build/lib.* build/bdist.* dist
	@$(PYTHON_VENV) -m pip --disable-pip-version-check wheel -q --no-deps --no-build-isolation -w dist .
	@$(PYTHON_VENV) -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' >/dev/null
	@ls dist

clean: ## Remove what was built; .venv stays
	@rm -rf build dist *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
	@find fastlb tests bench \( -name '*.so' -o -name '__pycache__' \) -prune -exec rm -rf {} +
