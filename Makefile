# Everything that a contributor runs. Tools are pinned in tools/go.mod and built by Go itself.
GO      ?= go
TIMEOUT ?= 40m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOL    := $(GO) tool -modfile=tools/go.mod
LDFLAGS := -s -w -X main.linked=$(VERSION)

.PHONY: run test e2e faults soak mutants noninterference fuzz lint bench figures bench-compare build

run: build ## serve on 127.0.0.1:8099
	bin/bezoar serve

build: ## bin/bezoar
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/bezoar ./cmd/bezoar

test: ## every test: fast ones under the race detector, then seeded bugs, real Nx, attacks and crashes
	$(GO) test -race -timeout $(TIMEOUT) ./...
	GO=$(GO) .ci/cover 100 ./internal/trust/policy
	GO=$(GO) $(GO) run .ci/conditions.go internal/trust/policy
	$(MAKE) mutants
	$(MAKE) e2e

STEPS ?= 10000000
noninterference: ## random histories, STEPS in all (10 million take 8 minutes): what others do changes nothing of what a trusted build gets
	$(GO) test -count=1 -timeout 24h -run 'TestUntrustedStepsChangeNothing$$' -v ./test/noninterference -steps=$(STEPS)

mutants: ## the same over code with a bug in it, which has to be found; one bug after the other, 2 minutes in all
	$(GO) test -tags mutants -count=1 -timeout $(TIMEOUT) -parallel 2 -v -run Mutants ./test/noninterference

FUZZTIME ?= 30s
fuzz: ## every parser of what comes from outside, FUZZTIME each; go test runs what was found before
	GO=$(GO) .ci/fuzz $(FUZZTIME)

e2e: ## real Nx releases, from npm, against the built binary; processes killed at random; the ledger in PostgreSQL; replicas behind nginx
	.ci/postgres
	.ci/nginx
	$(GO) test -tags e2e -count=1 -timeout $(TIMEOUT) -v ./test/...
	$(GO) test -tags e2e -count=1 -timeout $(TIMEOUT) ./internal/ledger ./internal/purge

faults: ## what the server depends on breaks in 350 ways while real Nx builds, and no build may feel it; writes docs/faults.md, half an hour in all
	.ci/postgres
	$(GO) test -tags faults -count=1 -timeout 2h -parallel 3 -v ./test/faults -write

SOAK ?= 1h
soak: ## servers while everything around them breaks in turn, for SOAK and 10 minutes; writes docs/soak.md. It needs root
	$(GO) test -tags e2e -count=1 -timeout 0 -v ./test/soak -soak=$(SOAK) -write=$(CURDIR)/docs/soak.md

lint: ## formatting, vet, linters, known vulnerabilities
	$(TOOL) golangci-lint run --build-tags e2e,bench,mutants,faults ./...
	GOOS=darwin $(GO) vet ./cmd/... ./internal/...
	GOOS=windows $(GO) vet ./cmd/... ./internal/...
	GO=$(GO) .ci/vulncheck

figures: ## those of docs/performance.md
	$(GO) test -tags bench -run '^$$' -bench . -benchtime 1x -timeout $(TIMEOUT) ./test/bench/...

# SHORT=1 is the short form, into dist/. ARGS are more flags of test/bench/peers, such as -dir, -cells or -rounds.
OUT ?= $(if $(SHORT),,$(CURDIR)/docs)
bench: ## bezoar beside nginx and other caches, and builds by Nx: docs/benchmarks.md, in 25 minutes on a quiet machine; SHORT=1: dist/benchmarks.md, in 3
	.ci/bench
	$(GO) test -tags bench -count=1 -timeout 2h -v ./test/bench/peers -run TestPeers $(if $(SHORT),-short) $(if $(OUT),-out $(OUT)) $(ARGS)

BASE ?= main
bench-compare: ## Go benchmarks of the working tree beside those of BASE, in turns, by benchstat; PACKAGES, BENCH and COUNT choose
	GO=$(GO) .ci/benchcmp $(BASE) $(PACKAGES)
