# Everything that a contributor runs. Tools are pinned in tools/go.mod and built by Go itself.
GO      ?= go
TIMEOUT ?= 40m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TOOL    := $(GO) tool -modfile=tools/go.mod
LDFLAGS := -s -w -X main.linked=$(VERSION)

.PHONY: run test e2e lint bench build

run: build ## serve on 127.0.0.1:8099
	bin/bezoar serve

build: ## bin/bezoar
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/bezoar ./cmd/bezoar

test: ## every test: fast ones under the race detector, then real Nx and crashes
	$(GO) test -race -timeout $(TIMEOUT) ./...
	$(MAKE) e2e

e2e: ## real Nx releases, from npm, against the built binary; processes killed at random
	$(GO) test -tags e2e -count=1 -timeout $(TIMEOUT) -v ./test/...

lint: ## formatting, vet, linters, known vulnerabilities
	$(TOOL) golangci-lint run --build-tags e2e,bench ./...
	GOOS=darwin $(GO) vet ./cmd/... ./internal/...
	GOOS=windows $(GO) vet ./cmd/... ./internal/...
	GO=$(GO) .ci/vulncheck

bench: ## the figures of docs/performance.md
	$(GO) test -tags bench -run '^$$' -bench . -benchtime 1x -timeout $(TIMEOUT) ./test/bench/...
