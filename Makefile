# Every habit is one word. They all work on a new machine that has Python and make: what is missing is fetched.
#
#   make            build asyncloop in place, for the Python of .venv
#   make run        the example: fetch many pages with aiohttp, and see the gain
#   make test       all tests; TESTS=tests/net picks some, PYTEST_ARGS adds options
#   make debug      build with asserts and without optimisation (make test ASYNCLOOP_DEBUG=1 tests that build)
#   make format     let clang-format and ruff have their way
#   make lint       what format would change, ruff's and codespell's findings, layers, workflows, prose, commit messages
#   make layers     the direction of includes and the size of files in src/
#   make types      mypy on the package, stubtest on its stub
#   make asan       the tests under AddressSanitizer and UndefinedBehaviorSanitizer, on a copy in build/, and a short make fuzz
#   make fuzz       random programs whose finalisers and hooks do anything, FUZZ_PROGRAMS of them, under the sanitizers
#   make differential  10,000 random programs of each kind, on asyncio and on asyncloop (EXAMPLES=n: another number)
#   make refleak    references and memory blocks over repeated runs of tests/leaks
#   make faults     every system call of the scenarios of tests/leaks fails once with each of its errors: tests/faults
#   make nomemory   every allocation of the scenarios of tests/leaks fails once, see tests/nomemory/README.md
#   make test-all   make test on every Python that asyncloop supports: 3.11 to 3.15
#   make test-portable  make test without what only Linux has: first on select(), then on poll()
#   make test-accelerated  tests/clients with asyncloop.accelerate(), in the servers and programs they start, too
#   make test-threads  what of the tests concerns CPython 3.14t, which has no GIL; it is built first, in ten minutes
#   make tsan       tests/threads under ThreadSanitizer, with a 3.14t that is built for it
#   make test-fresh  make run and make test on a new Debian 12 and 13, as root and as a user, see tools/fresh-debian
#   make test-install  the README's lines under "Install it", as they stand, on a new Debian 12 and 13
#   make wheels     sdist and wheels for them in dist/, libev inside, each tried where there is no libev
#   make sdist      the source distribution alone, in dist/
#   make published-wheels  the wheels of a release by cibuildwheel, in dist/; it takes docker
#   make changelog-draft   the section of CHANGELOG.md that the fragments in changes/ would make; make changelog: move them there
#   make release-check     version, changelog, tag (TAG=v0.2.0) and what is in dist/: do they agree?
#   make soak       100,000 connections each, plain, Unix and TLS, that end in all ways: does anything grow?
#   make compatibility  docs/compatibility.md anew, for .venv's Python; COMPATIBILITY_ARGS=--conformance: CPython's tests too
#   make docs       the documentation as a site in build/site; make docs-test: is each page all right in a browser?
#   make bench      asyncloop against asyncio and uvloop; BENCH_ARGS adds options
#   make instructions  instructions per operation of the small cases, against a stored baseline
#   make clean      remove what was built; make distclean: .venv too
#
# PYTHON=python3.13 picks the interpreter, VENV=.venv-3.13 keeps its environment beside the first one.

PYTHON ?= python3
VENV ?= .venv
TESTS ?= tests
PY := $(VENV)/bin/python

SOURCES := $(shell find src -name '*.[ch]')
PYTHON_SOURCES := asyncloop benchmarks examples setup.py tests tools tools/fresh-debian

# A stamp says what is done. The first names its interpreter, so that another PYTHON makes another environment.
MADE := $(VENV)/.made-by-$(subst /,-,$(shell $(PYTHON) -c 'import sys; print(sys.executable, sys.version.split()[0], sep="-")' 2>/dev/null))
comma := ,
BUILT := $(VENV)/.built$(if $(ASYNCLOOP_DEBUG),-debug)$(if $(ASYNCLOOP_WITHOUT),-without-$(subst $(comma),-,$(ASYNCLOOP_WITHOUT)))
GROUP := $(VENV)/.group-

.PHONY: build run test test-all test-core test-threads tsan test-fresh test-install debug format lint layers types sanitized asan fuzz refleak faults differential nomemory soak wheels sdist published-wheels commits workflows changelog changelog-draft release-check docs docs-test prose compatibility bench instructions clean distclean

build: $(VENV)/.installed

$(MADE): tools/bootstrap.sh
	@sh tools/bootstrap.sh $(PYTHON) $(VENV)
	@touch $@

$(GROUP)%: pyproject.toml $(MADE)
	$(PY) -m pip install -q --group $*
	@touch $@

$(BUILT): setup.py $(SOURCES) $(GROUP)build
	@rm -f $(VENV)/.built*
	$(PY) setup.py -q build_ext --inplace
	@touch $@

$(VENV)/.installed: pyproject.toml asyncloop/_version.py | $(BUILT)
	$(PY) -m pip install -qq --no-build-isolation --no-deps -e .
	@touch $@

# Who is compared with asyncloop: nice to have, so nothing is compiled for it and nothing fails without it.
$(VENV)/.peers: pyproject.toml $(MADE)
	@$(PY) -m pip install -qq --only-binary :all: --group bench || echo "not all of uvloop and the HTTP packages are there for this Python: compared with what is"
	@touch $@

run: build $(GROUP)examples $(VENV)/.peers
	$(PY) examples/fetch.py $(RUN_ARGS)

# Programs that tests start, and the interpreter's own tests: nice to have, so no test fails without them.
$(VENV)/.packages: tools/test-packages.sh $(MADE)
	@sh tools/test-packages.sh $(PY)
	@touch $@

test: build $(GROUP)test $(VENV)/.packages
	$(PY) -m pytest $(PYTEST_ARGS) $(TESTS)

# Each in an environment of its own beside the others; a Python that is missing is fetched, see tools/find-python.
VERSIONS ?= 3.11 3.12 3.13 3.14 3.15
test-all:
	@set -e; for version in $(VERSIONS); do \
		python=$$(sh tools/find-python $$version); \
		echo "== $$version: $$python"; \
		$(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version; \
	done

# In tests that are about epoll or another of these features a mark says so, see tests/conftest.py.
.PHONY: test-portable
test-portable:
	$(MAKE) --no-print-directory test ASYNCLOOP_WITHOUT=epoll,timerfd,pipe2,accept4,recvmmsg,sendmmsg,pidfd
	$(MAKE) --no-print-directory test ASYNCLOOP_WITHOUT=all
	$(MAKE) --no-print-directory build

# Programs and frameworks with asyncloop's streams, locks, queues and waits under asyncio's names.
.PHONY: test-accelerated
test-accelerated:
	$(MAKE) --no-print-directory test TESTS=tests/clients PYTEST_ARGS=--accelerate

# What needs no packages of others: few of them have wheels for this Python.
THREADS_TESTS ?= tests/threads tests/task tests/sched tests/loop tests/io tests/net tests/tls tests/api
test-core: build $(GROUP)core
	$(PY) -m pytest $(PYTEST_ARGS) $(TESTS)

test-threads:
	$(MAKE) --no-print-directory test-core PYTHON="$$(sh tools/find-python 3.14t)" VENV=.venv-3.14t \
		TESTS="$(THREADS_TESTS)"

TSAN := build/tsan
TSAN_PYTHON := .pythons/3.14t-tsan
$(TSAN_PYTHON)/bin/python3.14t:
	tools/build-python 3.14.7t $(TSAN_PYTHON) --with-thread-sanitizer

# The child of a fork beside threads hangs in ThreadSanitizer itself.
tsan: $(TSAN_PYTHON)/bin/python3.14t
	$(MAKE) --no-print-directory .venv-tsan/.group-core PYTHON=$(abspath $<) VENV=.venv-tsan
	@mkdir -p $(TSAN)
	@find $(TSAN) -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	tar -c --exclude=./build --exclude=./.git --exclude=./.pythons --exclude='./.venv*' --exclude='*.so' . | tar -x -C $(TSAN)
	cd $(TSAN) && $(abspath .venv-tsan)/bin/python setup.py -q build_ext --inplace
	cd $(TSAN) && TSAN_OPTIONS="suppressions=$(abspath tests/threads/tsan.txt) exitcode=66" \
		$(abspath .venv-tsan)/bin/python -m pytest -k asyncloop --ignore tests/threads/test_fork.py $(PYTEST_ARGS) tests/threads

RELEASES ?= bookworm trixie
test-fresh:
	@set -e; for release in $(RELEASES); do for user in "" --user; do \
		echo "== $$release $$user"; \
		tools/fresh-debian $$user $$release 'make run && make test'; \
	done; done

INSTALL_LINES = sed -n '/^\#\# Install it/,/^\#\# See it/p' README.md | sed -n '/^```sh/,/^```/{/^```/!p}'
WORKS = import asyncio, asyncloop; print(asyncloop.run(asyncio.sleep(0, True)))
test-install:
	@set -e; for release in $(RELEASES); do \
		echo "== $$release"; \
		tools/fresh-debian $$release "set -e; $$($(INSTALL_LINES)); cd ~; with-asyncloop/bin/python -c '$(WORKS)'"; \
	done

debug:
	$(MAKE) build ASYNCLOOP_DEBUG=1

format: $(GROUP)lint
	$(VENV)/bin/clang-format -i $(SOURCES)
	$(VENV)/bin/ruff check --fix $(PYTHON_SOURCES)
	$(VENV)/bin/ruff format $(PYTHON_SOURCES)

lint: layers commits prose workflows $(GROUP)lint
	$(VENV)/bin/clang-format --dry-run --Werror $(SOURCES)
	$(VENV)/bin/ruff check $(PYTHON_SOURCES)
	$(VENV)/bin/ruff format --check $(PYTHON_SOURCES)
	$(VENV)/bin/codespell

layers:
	$(PYTHON) tools/check_layers.py

# Commits that the upstream main does not have; nothing in a copy without history.
commits:
	$(PYTHON) tools/check_commits.py

prose:
	$(PYTHON) tools/check_prose.py

# actionlint takes part if it is there: its package fetches a program when it is installed, so it is in no group.
workflows: $(GROUP)workflows
	$(PYTHON) tools/check_workflows.py
	$(VENV)/bin/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	$(VENV)/bin/zizmor --offline --quiet --no-progress .github
	@if command -v actionlint >/dev/null; then actionlint; else echo "no actionlint on the PATH: workflows were not checked with it"; fi

types: build $(GROUP)types
	$(VENV)/bin/mypy
	$(VENV)/bin/stubtest asyncloop._core

# A copy of the tree, because two builds for one Python cannot stand in the same place; tar keeps the times, by which
# setup.py compiles only what has changed. Leaks are refleak's job: the interpreter itself never frees everything.
ASAN := build/asan
ASAN_RUNTIME = $(shell $(CC) -print-file-name=libasan.so):$(shell $(CC) -print-file-name=libubsan.so)
sanitized: build $(GROUP)test
	@mkdir -p $(ASAN)
	@find $(ASAN) -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
	tar -c --exclude=./build --exclude=./.git --exclude='./.venv*' --exclude='*.so' . | tar -x -C $(ASAN)
	cd $(ASAN) && ASYNCLOOP_SANITIZE=1 $(abspath $(PY)) setup.py -q build_ext --inplace

SANITIZED = cd $(ASAN) && LD_PRELOAD=$(ASAN_RUNTIME) PYTHONPATH=$(abspath $(ASAN)) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(abspath $(PY))
asan: sanitized
	$(SANITIZED) -m pytest $(PYTEST_ARGS) $(TESTS)
	$(SANITIZED) -m tests.fuzz --programs 300

# FUZZ_FIRST is the first program's seed: another one, other programs.
FUZZ_PROGRAMS ?= 3000
FUZZ_FIRST ?= 0
fuzz: sanitized
	$(SANITIZED) -m tests.fuzz --programs $(FUZZ_PROGRAMS) --first $(FUZZ_FIRST) --shrink 60 \
		--folder $(abspath build/fuzz) $(FUZZ_ARGS)

EXAMPLES ?= 10000
differential: build $(GROUP)test
	ASYNCLOOP_DIFFERENTIAL=$(EXAMPLES) $(PY) -m pytest -o faulthandler_timeout=0 $(PYTEST_ARGS) tests/differential

# References are counted by a debug build of the interpreter (Debian: python3-dbg), which takes part if it is there.
DEBUG_PYTHON ?= $(shell $(PY) -c 'import shutil, sys; v = "%d.%d" % sys.version_info[:2]; \
	print(shutil.which(f"python{v}-dbg") or shutil.which(f"python{v}d") or "")' 2>/dev/null)
SITE_PACKAGES = $(shell $(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
refleak: build $(GROUP)test
	$(PY) tests/leaks/run.py $(REFLEAK_ARGS)
ifneq ($(DEBUG_PYTHON),)
	PYTHONPATH=$(SITE_PACKAGES) $(DEBUG_PYTHON) setup.py -q build_ext --inplace
	$(DEBUG_PYTHON) tests/leaks/run.py $(REFLEAK_ARGS)
else
	@echo "no debug build of this Python here (Debian: python3-dbg): references were not counted, blocks were"
endif

# One failure at a time; FAULTS_ARGS picks some, see tests/faults/README.md.
faults: build $(GROUP)test
	$(PY) tests/faults/run.py $(FAULTS_ARGS)

nomemory: build
	$(PY) tests/nomemory/run.py $(NOMEMORY_ARGS)

soak: build
	$(PY) benchmarks/soak.py $(SOAK_ARGS)
	$(PY) benchmarks/soak.py --unix $(SOAK_ARGS)
	$(PY) benchmarks/soak.py --tls $(SOAK_ARGS)

wheels: build $(GROUP)wheels
	@set -e; pythons=; for version in $(VERSIONS); do pythons="$$pythons $$(sh tools/find-python $$version)"; done; \
	$(PY) tools/wheels.py $$pythons

sdist: $(GROUP)release
	rm -f dist/*.tar.gz
	$(PY) -m build -q --sdist --outdir dist .

published-wheels: $(GROUP)published
	$(PY) -m cibuildwheel --platform linux --output-dir dist

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' asyncloop/_version.py)
changelog-draft: $(GROUP)release
	$(VENV)/bin/towncrier build --draft --version $(VERSION)

changelog: $(GROUP)release
	$(VENV)/bin/towncrier build --yes --version $(VERSION)

release-check: $(GROUP)release
	$(PY) tools/check_release.py $(TAG)
	@if ls dist/*.tar.gz dist/*.whl >/dev/null 2>&1; then $(VENV)/bin/twine check --strict dist/*; fi

docs: build $(GROUP)docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build -q --strict

docs-test: build $(GROUP)docs $(GROUP)core
	ASYNCLOOP_SCREENSHOTS=build/screenshots $(PY) -m pytest $(PYTEST_ARGS) tests/site

compatibility: build $(GROUP)test $(VENV)/.peers
	$(PY) tools/compatibility.py $(COMPATIBILITY_ARGS) $(PY)

bench: build $(VENV)/.peers
	$(PY) benchmarks/run.py $(BENCH_ARGS)

# Counted by valgrind, so on any machine and whatever else it does; fails if a case takes 5 % more than it did.
instructions: build
	$(PY) benchmarks/instructions.py $(INSTRUCTIONS_ARGS)

clean:
	rm -rf build dist asyncloop/*.so *.egg-info $(VENV)/.built*
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
