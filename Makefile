# Front door. `make run` and `make test` do everything on a fresh Debian machine; the rest assumes `make deps`.
.DEFAULT_GOAL := build
MESON ?= meson
BUILD ?= build
PREFIX ?= /usr/local

.PHONY: deps build debug run test test-fast unit e2e sanitize bench fuzz lint interop case coverage install uninstall clean

deps:
	@scripts/install-deps.sh

$(BUILD)/build.ninja:
	@$(MESON) setup $(BUILD) >/dev/null

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD)
	@ln -sfn $(BUILD)/compile_commands.json compile_commands.json

# Without optimisation, for a debugger; warnings are errors here, too, and some are found by this build only.
debug: deps
	@[ -f build-debug/build.ninja ] || $(MESON) setup build-debug -Dbuildtype=debug -Doptimization=0 -Dwerror=true >/dev/null
	@ninja -C build-debug

run: build
	@scripts/demo.sh $(BUILD)/bin

test: build
	@scripts/run-tests.sh all

test-fast: build
	@scripts/run-tests.sh fast

unit e2e sanitize interop: build
	@scripts/run-tests.sh $@

# One failed case again: make case CASE=exec_passes_stdin, or CASE='create_reaches_ready exec_passes_stdin'
case: build
	@scripts/run-tests.sh case $(CASE)

coverage: build
	@scripts/coverage.sh

bench: build
	@scripts/run-bench.sh $(BUILD)

fuzz: deps
	@scripts/run-fuzz.sh

lint: deps
	@scripts/lint.sh

install: build
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install.sh install $(BUILD)

uninstall: build
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install.sh uninstall $(BUILD)

clean:
	rm -rf build build-debug build-asan build-fuzz build-clang build-cov compile_commands.json
