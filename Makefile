# make run    set everything up and run the main job on real data (EXIT=1: end by itself afterwards)
# make test   set everything up, check the code, run every test
# make test-quick  run the unit tests of what has changed since main, for a minute at most
# make test-rare   run the tests that are slow and of what seldom changes (CONTRIBUTING.md has the last date)
# make setup  set everything up
# make extra-torch  install an extra: torch, tensorflow, images, boosting, text, dask, isolation or signing (make extras: all of them)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := run
.PHONY: run setup test test-quick test-rare check lock clean extras

# The first that this machine has: the locks hold for each.
PYTHON ?= $(or $(shell for each in python3.11 python3.12 python3.13 python3; do command -v $$each && break; done),python3.11)
MODELRAIL := .venv/bin/modelrail
EXTRAS := torch tensorflow images boosting text dask isolation signing

# Some environments forbid bytecode; without it every process compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

run: .venv/run.done
	$(MODELRAIL) example flights .modelrail/flights
	exec $(MODELRAIL) up models/flight-delay.yaml --run $(if $(EXIT),--exit)

setup: .venv/run.done

# The check and two pools of tests, beside each other.
test: .venv/test.done
	exec .venv/bin/python -m tests.pools

test-quick: .venv/test.done
	exec .venv/bin/python -m tests.quick

test-rare: .venv/test.done
	exec .venv/bin/python -m pytest -m rare -n 2 --dist loadgroup --durations=25

check: .venv/test.done
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(MODELRAIL) check models/*.yaml examples/*.yaml

# What is installed is exactly what the lock files name, byte by byte.
.venv/run.done: requirements.txt pyproject.toml
	$(call install,requirements.txt)

.venv/test.done: requirements-dev.txt pyproject.toml
	$(call install,requirements-dev.txt)
	touch .venv/run.done

# An extra goes on top of either of these: its lock has no other version of what they have. It is complete but for
# requirements-excluded.in, which must not be missed.
extras: $(EXTRAS:%=extra-%)

$(EXTRAS:%=extra-%): extra-%: .venv/extra-%.done

.venv/extra-%.done: requirements-%.txt | .venv/run.done
	$(call install,$<,--no-deps)

define install
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11, 3.12 or 3.13 is needed, not " + sys.version.split()[0]) if not (3, 11) <= sys.version_info < (3, 14) else None'
	test -x .venv/bin/python || { echo "Making .venv with $(notdir $(PYTHON)) ..."; $(PYTHON) -m venv .venv; }
	# Where its making was interrupted, Python is there already, and pip is not.
	command -v uv >/dev/null || test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	command -v uv >/dev/null || .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	uv="$$(command -v uv || echo .venv/bin/uv)"
	echo "Installing the $$(grep -c '^[a-z0-9]' $(1)) packages of $(1) (downloaded the first time, then compiled) ..."
	# uv says a line as each phase ends, and then lists every package: that is left out.
	"$$uv" pip install --python .venv/bin/python --require-hashes $(2) -r $(1) 2>&1 | while read -r line; do
	  case "$$line" in "+ "* | "- "* | "~ "* | "Using "*) ;; *) echo "  $$line" ;; esac
	done
	"$$uv" pip install --quiet --python .venv/bin/python --no-deps --build-constraints requirements-build.txt --editable .
	echo "Done in $$SECONDS s"
	touch $@
endef

lock:
	options="--quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate"
	uv pip compile $$options --extra airflow --extra examples --extra s3 -o requirements.txt pyproject.toml
	uv pip compile $$options --extra airflow --extra examples --extra s3 --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	uv pip compile $$options --group build -o requirements-build.txt
	uv pip compile $$options --group serving -c requirements.txt -o requirements-serving.txt
	# Extras agree with what is above and with each other, and a lock has only what an extra adds.
	folder="$$(mktemp -d)"; trap 'rm -rf "$$folder"' EXIT
	wanted() { $(PYTHON) -c 'import sys, tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*(each for name in sys.argv[1:] for each in extras[name]), sep="\n")' "$$@"; }
	wanted $(EXTRAS) | uv pip compile $$options --excludes requirements-excluded.in -c requirements-dev.txt -o "$$folder/all.txt" -
	for extra in $(EXTRAS); do
	  wanted $$extra | uv pip compile $$options --excludes requirements-excluded.in -c "$$folder/all.txt" -o requirements-$$extra.txt -
	done
	uv pip compile $$options --extra s3 -c requirements.txt -o requirements-pipeline.txt pyproject.toml
	# What a server needs on top that keeps captures in an object store.
	wanted s3 | uv pip compile $$options -c requirements.txt -o requirements-s3.txt -
	# What a pod of Airflow's own needs on top.
	wanted airflow | uv pip compile $$options -c requirements.txt -o requirements-airflow.txt -
	# Environments of programs: each is by itself.
	for each in pipeline/steps/train/containers/*/requirements.in tests/isolated/requirements.in; do
	  uv pip compile $$options -o "$${each%.in}.txt" "$$each"
	done

clean:
	test ! -x $(MODELRAIL) || $(MODELRAIL) down
	rm -rf .venv .modelrail
