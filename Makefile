# The project's commands; `make` alone lists them. They need Python 3.13 and make.
# What they install goes to .venv and .local, which git ignores.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

# Dependencies get their bytecode when they are first imported. Compiling all of it would take twice as long.
unexport PYTHONDONTWRITEBYTECODE

# Another project's active virtual environment must not leak in.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

# Nor may a shell of the local AWS, whose certificates are no others'.
unexport AWS_ENDPOINT_URL AWS_ENDPOINT_URL_WORKMAIL
# The machine's own certificates stay: npm and botocore may need them.
ifneq (,$(findstring /.local/,$(AWS_CA_BUNDLE)$(NODE_EXTRA_CA_CERTS)))
unexport AWS_CA_BUNDLE NODE_EXTRA_CA_CERTS
endif

RUN := .venv/bin/python
MYPY_PATHS = functions config_reader infra lockout local bench verify docs/pictures requirements app.py

# pytest's workers: one for each core. `make test WORKERS=0` runs everything in one process.
WORKERS ?= auto
PYTEST = $(RUN) -m pytest --numprocesses $(WORKERS)

.PHONY: help checked-code bench up shell down demo test unit cases coverage check fix synth lock clean verify verify-list verify-long histories mutants fuzz faults picture recording sbom audit

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: for-demo ## start the local AWS and show devices being locked, released and expired
	@$(RUN) -m local.demo

up: for-up ## start the local AWS and deploy the stack to it
	@$(RUN) -m local.up

shell: ## a shell in the local AWS of `make up`, with lockout on the path; exit leaves it
	@[ -e .local/env ] || { echo "No local AWS is up: make up"; exit 1; }
	@set -a; . .local/env; set +a; unset AWS_PROFILE; export PATH="$$PWD/.venv/bin:$$PATH"; \
	echo "This shell is in the local AWS until you exit. Try: lockout status"; exec "$${SHELL:-/bin/sh}"

down: ## stop the local AWS
	@if [ -e .venv/run ]; then $(RUN) -m local.down; fi

test: install ## run every test, in about twenty minutes
	@$(PYTEST) --dist loadscope --no-loadscope-reorder

# Leaves out what `make check` runs of itself: cfn-lint and cdk-nag.
unit: export HYPOTHESIS_PROFILE ?= quick
unit: install ## run the tests that need no server, with fewer random examples, in half a minute
	@$(PYTEST) --dist worksteal -m "not slow and not local_aws" --ignore tests/infra/test_rules.py \
	tests/functions tests/config_reader tests/infra tests/lockout

cases: install ## print what becomes of each input in tests/cases, as senders and people write them
	@$(RUN) -m pytest -q -n0 tests/lockout/test_cases.py

coverage: install ## run the same tests and report the branches of functions/ that they miss; fails below the floor
	@$(MAKE) unit WORKERS=0 RUN="$(RUN) -m coverage run"
	@$(RUN) -m coverage report

bench: install ## measure cold starts, bursts and sweeps, in about twenty minutes; writes .local/bench.json
	@$(RUN) -m bench

check: .venv/dev ## check style, imports, types, and the templates of config/ and at each limit; changes nothing
	@$(MAKE) -j2 checked-code .local/templates-checked

# cfn-lint and cdk-nag take longer than all else, so they run beside it, and only if what they look at has changed.
.local/templates-checked: $(wildcard app.py requirements/dev.txt tests/infra/test_rules.py tests/infra/limits.py \
	tests/infra/conftest.py infra/*.py config_reader/*.py config/*.toml config/catalogue/*.toml functions/device_lockout/values/*.py)
	@$(PYTEST) --numprocesses 0 tests/infra/test_rules.py
	@touch $@

checked-code:
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@.venv/bin/lint-imports --no-logo --cache-dir .local/imports
	@$(RUN) -m mypy $(MYPY_PATHS)

fix: .venv/dev ## fix what ruff can fix
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

SEARCH := $(RUN) -m verify
verify: .venv/dev ## search all histories of the protocol's scenarios, try every decision; BREAK=NAME switches one guard off
	@$(SEARCH) $(if $(BREAK),--break $(BREAK))
	@$(if $(BREAK),,EVERY=1 $(RUN) -m pytest -q -n0 -k in_every_combination tests/functions/decisions/test_decision.py)

verify-list: .venv/dev ## list the names for BREAK=
	@$(SEARCH) --list

histories: .venv/dev ## walk 100,000 long random histories of more devices, in about an hour; COUNT=N walks N
	@$(SEARCH).histories $(or $(COUNT),100000)

verify-long: .venv/dev ## search with one more fault, walk the histories, check every pair of override and record
	@$(SEARCH) --deep
	@$(MAKE) histories COUNT=10000
	@$(SEARCH).pairs

# mutmut wants the package at the top of a directory, with its configuration beside it.
MUTATED := .local/mutants/work
mutants: .venv/dev .local/mutants/installed ## change the core in three thousand ways; list what neither mypy nor a unit test notices
	@rm -rf $(MUTATED) && mkdir -p $(MUTATED)
	@cp -r functions/device_lockout functions/schemas tests local docs config config_reader samples $(MUTATED)
	@cp tests/mutants.toml $(MUTATED)/pyproject.toml
	@cd $(MUTATED) && ../bin/python -m mutmut run && ../bin/python -m mutmut results | sed "/caught by type check/d"

fuzz: .venv/dev ## try a million mutated inputs on whatever strangers can write; INPUTS=N tries N
	@$(RUN) -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS))

faults: install ## run the fault matrix on a local AWS of its own, in about five minutes; ROWS="NAME …" picks rows
	@$(RUN) -m local.fault_matrix $(ROWS)

PICTURES := .local/pictures/bin/python docs/pictures/draw.py
picture: .local/pictures/installed ## draw docs/pictures/overview.svg from overview.d2
	@$(PICTURES) overview

recording: install .local/pictures/installed down ## record the demo in docs/pictures/demo.svg
	@$(PICTURES) demo

CONFIG ?= $(or $(config),local)
synth: for-demo ## write the CloudFormation template and the package to cdk.out; CONFIG=NAME picks config/NAME.toml
	@$(RUN) app.py --config $(CONFIG)
	@echo "cdk.out has the template and the package of config/$(CONFIG).toml"

sbom: .venv/dev ## write cdk.out/sbom.json, the CycloneDX list of what is in the package
	@mkdir -p cdk.out
	@$(RUN) -W ignore::UserWarning -m cyclonedx_py requirements functions/requirements.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --of JSON -o cdk.out/sbom.json

audit: .venv/dev ## look for known vulnerabilities in everything that is installed, in the advisories of PyPI
	@$(RUN) requirements/audit.py functions/requirements.txt $(LISTS) requirements/local.txt

clean: down ## remove everything that git ignores
	@rm -rf .venv .local cdk.out .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installing: the recorded versions and hashes, by plain pip under whatever PIP_* settings the machine has.
# Each list of .venv contains the one before it: run, client, dev. A target installs the shortest list that it needs.

LISTS := requirements/run.txt requirements/client.txt requirements/dev.txt
INSTALL := $(RUN) requirements/install.py

.PHONY: install for-demo for-up needs-python
install: needs-python ## install everything that the targets above need
	@$(MAKE) -s -j2 .venv/dev .local/ministack/installed

# Asked once, since two installations at a time would both say that it is missing.
needs-python:
	@[ -e .venv/run ] || ($(find_python)) >/dev/null

for-demo: needs-python
	@$(MAKE) -s -j2 .venv/project .local/ministack/installed

for-up: needs-python
	@$(MAKE) -s -j2 .venv/client .local/ministack/installed

# A change of any list makes .venv anew, so that nothing of an older list stays behind.
.venv/run: $(LISTS)
	$(virtual_environment)
	@$(INSTALL) requirements/run.txt
	@touch $@

.venv/project: pyproject.toml .venv/run
	@$(INSTALL) --project
	@touch $@

.venv/client: .venv/run | .venv/project
	@$(INSTALL) requirements/client.txt
	@touch $@

.venv/dev: .venv/client
	@$(INSTALL) requirements/dev.txt
	@touch $@

.local/ministack/installed: requirements/local.txt
.local/pictures/installed: requirements/pictures.txt
.local/lock/installed: requirements/lock.txt
.local/mutants/installed: requirements/mutants.txt
.local/%/installed:
	$(virtual_environment)
	@$(@D)/bin/python requirements/install.py $<
	@touch $@

define virtual_environment
	@echo "$(@D): creating a virtual environment"
	@python=$$($(find_python)) && "$$python" -m venv --clear $(@D)
endef

# The first Python 3.13 of: PYTHON=…, the PATH, pyenv's.
define find_python
	for python in "$(PYTHON)" python3.13 python3 python "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; \
	  then echo "$$python"; exit 0; fi; \
	done; \
	{ echo "Python 3.13 is needed (the version of the Lambda runtime) and was not found."; \
	  echo "Install it, for instance with 'pyenv install 3.13', 'uv python install 3.13', 'brew install python@3.13'"; \
	  echo "or your system's package python3.13 with python3.13-venv; or say where it is: make PYTHON=/path/to/python3.13 …"; } >&2; \
	exit 1
endef

# A pin stays unless pyproject.toml rules it out; `make lock UPGRADE=1` takes the newest version of everything else.
LOCK := .local/lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.13 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header $(if $(UPGRADE),--upgrade)

lock: .local/lock/installed ## compile pyproject.toml into requirement files with hashes; UPGRADE=1 takes the newest versions
	@$(LOCK) pyproject.toml -o functions/requirements.txt
	@$(LOCK) pyproject.toml --group dev --constraint functions/requirements.txt -o requirements/dev.txt
	@$(LOCK) pyproject.toml --group client --constraint requirements/dev.txt -o requirements/client.txt
	@$(LOCK) pyproject.toml --group run --constraint requirements/dev.txt -o requirements/run.txt
	@$(LOCK) --group local -o requirements/local.txt
	@$(LOCK) --group pictures -o requirements/pictures.txt
	@$(LOCK) pyproject.toml --group mutants --constraint requirements/dev.txt -o requirements/mutants.txt
	@$(LOCK) --group lock -o requirements/lock.txt
