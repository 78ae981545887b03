# GNU make. `make` alone lists the targets; `make test` is what CI runs.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Tools are pinned and run by the go command: nothing to install, and go.mod does not know them.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# What the user may set: make bench BENCH=Pass/proto=framed COUNT=10
ARGS     ?=
BENCH    ?= .
CALLS    ?= 50
COUNT    ?= 1
COSTTIME ?= 10s
FUZZ     ?= .
FUZZTIME ?= 5s
TIMEOUT  ?= 8m
JOBS     ?= 2
DURATION ?= 1m
SEED     ?=
SEEDS    ?= 20000
OLD      ?= old.txt
NEW      ?= new.txt

# Every module of the repository: the root, and those that keep their dependencies out of it.
MODULES := $(patsubst %/,%,$(dir $(sort $(shell find . -name go.mod -not -path './.*/*'))))

# The build tags that change which files are compiled; each is checked for itself.
TAGS := fdpass_portable invariants

PLATFORMS := darwin/arm64 freebsd/amd64 netbsd/amd64 openbsd/amd64 dragonfly/amd64 \
	illumos/amd64 solaris/amd64 linux/arm64 linux/s390x windows/amd64 plan9/amd64 js/wasm wasip1/wasm

# One of each family, on which tests and commands are vetted, too: these import net/http, which takes most of the time.
VETTED ?= darwin/arm64 freebsd/amd64 illumos/amd64 windows/amd64

STEPS := lint race unit portable test386 invariants fuzz contenders cross alloc s390x corpus model

GOTEST = go test -timeout $(TIMEOUT)

# What takes longer than tests do.
bench cost ratio: TIMEOUT = 60m
inject: TIMEOUT = 2h

##@ Use

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: ARGS (demo, chaos, bench, ratio, compare, alloc, model, s390x, inject, sim, cost and tests), DURATION and SEED (chaos), SEEDS and SEED (sim), CALLS (inject), BENCH and COUNT (bench), BENCH and COSTTIME (cost), OLD and NEW (benchstat), FUZZ and FUZZTIME (fuzz), VETTED (cross), TIMEOUT (of one test binary), JOBS (test)\n'

# Built, not `go run`: the demo starts itself again as its workers, and Ctrl-C is its own to handle.
.PHONY: demo
demo: ## accept real connections, hand them to workers, kill some; ARGS="--help" for options
	@go build -o .build/demo ./bench/demo
	@exec .build/demo $(ARGS)

##@ Test

# Most tests wait most of the time, so two steps run side by side. What one prints comes when it is done.
.PHONY: test
test: ## everything CI runs: the steps below, JOBS at a time, up to the first failure
	@begin=$$SECONDS; mkdir -p .build/test; \
	step() { \
		start=$$SECONDS; status=0; \
		$(MAKE) --no-print-directory "$$1" >".build/test/$$1.log" 2>&1 || status=$$?; \
		flock .build/test bash -c 'printf "\n==> %s\n" "$$0"; cat ".build/test/$$0.log"' "$$1"; \
		if [ $$status != 0 ]; then \
			printf '\nmake test: FAILED in step "%s" after %ds; again: make %s\n' "$$1" $$((SECONDS - start)) "$$1" >&2; \
			exit 255; \
		fi; \
		printf '==> %s took %ds\n' "$$1" $$((SECONDS - start)); \
	}; \
	export -f step; \
	echo 'make test: $(STEPS), $(JOBS) at a time; progress is in .build/test/'; \
	printf '%s\n' $(STEPS) | xargs -P $(JOBS) -I{} bash -c 'step {}'; \
	printf '\nmake test: all steps passed in %ds: $(STEPS)\n' $$((SECONDS - begin))

.PHONY: lint
lint: ## go vet, staticcheck and gofumpt, over every module and build tag
	@for module in $(MODULES); do ( \
		cd "$$module"; \
		for tag in '' $$([ "$$module" != . ] || echo $(TAGS)); do \
			echo "go vet and staticcheck: $$module$${tag:+ (-tags $$tag)}"; \
			go vet -tags "$$tag" ./...; \
			go run $(STATICCHECK) -tags "$$tag" ./...; \
		done; \
	); done
	@unformatted=$$(go run $(GOFUMPT) -l .); \
	if [ -n "$$unformatted" ]; then \
		printf 'not as gofumpt would have it (make fmt):\n%s\n' "$$unformatted" >&2; exit 1; \
	fi; \
	echo "gofumpt: clean"

.PHONY: unit
unit: ## go test ./...: the build that users get
	$(GOTEST) $(ARGS) ./...

.PHONY: race
race: ## go test -race ./...
	$(GOTEST) -race $(ARGS) ./...

.PHONY: invariants
invariants: ## ring, cmsgpool and fastpass with double-put, double-close and order checks, without what is long
	$(GOTEST) -short -tags invariants $(ARGS) ./ring/... ./cmsgpool/... ./fastpass/...

.PHONY: portable
portable: ## the other Unixes' implementation, run on this system
	$(GOTEST) -tags fdpass_portable $(ARGS) ./...

.PHONY: test386
test386: ## 32-bit, without what is long
	CGO_ENABLED=0 GOARCH=386 $(GOTEST) -short $(ARGS) ./...

.PHONY: cross
cross: ## build for every other platform, and vet for those in VETTED; VETTED="netbsd/amd64 …"
	@for platform in $(sort $(PLATFORMS) $(VETTED)); do \
		export CGO_ENABLED=0 GOOS="$${platform%/*}" GOARCH="$${platform#*/}"; \
		echo "go build: $$platform"; \
		go build ./fastpass ./ring ./cmsgpool || { echo "cross: $$platform does not build" >&2; exit 1; }; \
		case ' $(VETTED) ' in *" $$platform "*) \
			echo "go vet: $$platform"; \
			go vet ./... || { echo "cross: go vet fails on $$platform" >&2; exit 1; };; \
		esac; \
	done

# fuzz/ is a module of its own: it is tested from inside.
.PHONY: corpus
corpus: ## the fuzz targets over their committed corpora
	cd fuzz && $(GOTEST) $(ARGS) ./...

.PHONY: fuzz
fuzz: ## fuzz each target that matches FUZZ for FUZZTIME, and say how many executions that were
	@fuzz/run '$(FUZZ)' '$(FUZZTIME)' fastpass fuzz -- $(ARGS)

.PHONY: model
model: ## spin searches the models of internal/model in full, and finds the mistake in each mutation; ARGS=full: the larger ones too
	@internal/model/check $(ARGS)

.PHONY: s390x
s390x: ## 64-bit, big-endian: cross-compiled tests under qemu-user
	@internal/s390x/run $(ARGS)

.PHONY: alloc
alloc: ## the allocation gate: no line of this module allocates while descriptors pass; ARGS="-sites" lists all
	@go build -o .build/alloc ./bench/alloc
	@.build/alloc $(ARGS)

.PHONY: contenders
contenders: ## every contender of make compare passes a few descriptors; those whose packages are missing are named
	@cd bench/compare && $(GOTEST) -v $(ARGS) ./... | { grep -v -e '^=== ' -e '--- PASS' -e '^PASS' -e 'no test files' || true; }

##@ Longer

# Built, like the demo, and for the same reasons.
.PHONY: chaos
chaos: ## real processes killed, stopped and starved at random for DURATION, from SEED; ARGS="--help" for options
	@go build -o .build/chaos ./internal/chaos
	@exec .build/chaos --duration '$(DURATION)' $(if $(SEED),--seed '$(SEED)') $(ARGS)

.PHONY: inject
inject: ## each error at each of the first CALLS calls of every system call on the path, by strace (about 10 minutes)
	@internal/packages/need strace strace
	$(GOTEST) -run '^TestAnErrorOfASystemCallLosesNothing$$' $(ARGS) ./fastpass -inject $(CALLS)

# Built, not `go test`: that would keep what the run tells of its progress to itself.
.PHONY: sim
sim: ## the simulation with SEEDS seeds, or with one SEED and its trace
	@go test -c -o .build/sim ./fastpass
	@cd fastpass; exec ../.build/sim -test.timeout 0 -test.run '^TestNothingIsLostInTheSimulation$$' \
		$(if $(SEED),-sim.seed $(SEED),-sim.seeds $(SEEDS)) $(ARGS)

.PHONY: ratio
ratio: ## how near Bare and Framed come to the C limit, interleaved with it; ARGS="-rounds 15 -only 253-lend"
	@$(GOTEST) -run '^$$' -bench '^BenchmarkRatio$$' ./bench $(ARGS)

# Two builds of the same program: the portable one is a contender, and is found beside the other.
.PHONY: compare
compare: ## measure beside gVisor, libuv, Cap'n Proto, Python, Perl, C …; ARGS="--quick", ARGS="--help" for options
	@cd bench/compare && go build -o ../../.build/compare .
	@cd bench/compare && go build -tags fdpass_portable -o ../../.build/compare-portable .
	@exec .build/compare $(ARGS)

.PHONY: compare-readme
compare-readme: ## put the tables of bench/results into README.md
	@cd bench/compare && go build -o ../../.build/compare .
	@exec .build/compare --readme README.md

.PHONY: bench
bench: ## Go benchmarks and the C limit beside them; BENCH=regexp COUNT=n, output for benchstat
	@$(GOTEST) -run '^$$' -bench '$(BENCH)' -count $(COUNT) $(ARGS) ./... | { grep -v -e 'no test files' || true; }

.PHONY: cost
cost: ## where the processor time goes, of both processes; BENCH=Pass/proto=bare/batch=1/own=lend, profiles in .build/cost
	@$(GOTEST) -run '^$$' -bench '$(BENCH)' -benchtime $(COSTTIME) ./bench -profiles $(CURDIR)/.build/cost $(ARGS)

.PHONY: benchstat
benchstat: ## compare two outputs of make bench: OLD=old.txt NEW=new.txt
	@go run $(BENCHSTAT) $(OLD) $(NEW)

.PHONY: vuln
vuln: ## govulncheck over every module (asks vuln.go.dev, so it is no part of test)
	@for module in $(MODULES); do (cd "$$module"; echo "govulncheck: $$module"; go run $(GOVULNCHECK) ./...); done

.PHONY: fmt
fmt: ## gofumpt -w
	@go run $(GOFUMPT) -l -w .

.PHONY: clean
clean: ## remove what make built here
	rm -rf .build
