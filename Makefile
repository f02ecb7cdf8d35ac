# Everything that people and CI do with this project is a target here.
#   make demo     a story of one device: a real bootloader in an emulated board
#   make test     every kind of test, in about half an hour on two cores
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(PATH):/usr/sbin:/sbin
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
FLAGS := -trimpath -buildvcs=false -ldflags '-s -w -X main.Version=$(VERSION)'

# What the demo and the tests run beside Go, as command:package.
FILES := mke2fs:e2fsprogs mkenvimage:u-boot-tools fw_printenv:libubootenv-tool
DEMO := mke2fs:e2fsprogs mkfs.vfat:dosfstools mcopy:mtools fakeroot:fakeroot depmod:kmod qemu-system-aarch64:qemu-system-arm
TEST := $(FILES) $(DEMO) sfdisk:fdisk mkfs.btrfs:btrfs-progs bmaptool:bmap-tools setpriv:util-linux mender-artifact:mender-artifact openssl:openssl softhsm2-util:softhsm2 pkcs11-tool:opensc p11-kit:p11-kit script:bsdutils losetup:mount unshare:util-linux dmsetup:dmsetup \
	parted:parted strace:strace busybox:busybox-static xz:xz-utils zstd:zstd cpio:cpio gcc:gcc \
	mender:mender-client mdb_load:lmdb-utils sshd:openssh-server ssh:openssh-client e2fsck:e2fsprogs \
	mkfs.exfat:exfatprogs mkfs.ntfs:ntfs-3g cryptsetup:cryptsetup-bin mkfs.xfs:xfsprogs mkfs.f2fs:f2fs-tools mksquashfs:squashfs-tools xorriso:xorriso partx:util-linux
BENCH := $(DEMO) mkenvimage:u-boot-tools mmdebstrap:mmdebstrap time:time

# Where goroutines meet: the codecs, and standard input that can be interrupted.
RACE := ^(TestVectors|TestReaders|TestSourceFails|TestSignVerifies|TestTruncation|TestScripts|TestPieceFails|TestPiecesInOrder|TestZeros|TestWriterFails|TestWriterAborts)$$

.PHONY: build demo demo-files test check bench fuzz soak conformance release clean need-demo need-files need-test need-bench

build: ## the command, in build/
	go build $(FLAGS) -o build/plimsoll ./cmd/plimsoll

demo: need-demo build ## an emulated board: an image, an update from a stick, a broken one that comes back
	go run ./cmd/internal/demo build/plimsoll

demo-files: need-files build ## a device made of files, in a minute, without root: install, commit, refuse, roll back
	docs/demo.sh build/plimsoll

test: need-test check ## every kind of test; long counts as a seeded sample
	go test -timeout 75m ./... ./testdata/vectors/run
	CGO_ENABLED=1 go test -race -timeout 20m ./signing ./bootloader ./partition ./udev ./udev/tell ./udev/volume
	CGO_ENABLED=1 go test -race -timeout 20m -run '$(RACE)' ./artifact ./cmd/plimsoll
	docs/demo.sh build/plimsoll > build/demo.txt

check: build ## formatting, vet, staticcheck, arrows between packages
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	go vet ./... ./testdata/vectors/run
	go tool staticcheck ./... ./testdata/vectors/run
	for arch in arm arm64 riscv64; do GOARCH=$$arch go vet ./... ; done
	go test -run 'TestArrows' ./cmd/plimsoll

soak: need-test build ## the full counts that make test samples (an hour or so)
	PLIMSOLL_SOAK=1 go test -timeout 4h -count=1 ./...

FUZZTIME ?= 60s
fuzz: ## every fuzz target for FUZZTIME each
	for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$pkg; \
	  done; \
	done

# JOBS="install verify" measures only these and leaves docs/benchmarks.md alone;
# BENCH_LONG=1 measures anew what takes minutes (xz); SLOT is a folder on another medium.
IMAGE ?= build/debian.ext4
UPDATED ?= $(if $(filter build/debian.ext4,$(IMAGE)),build/debian-updated.ext4)
ROUNDS ?= 5
bench: need-bench build ## side by side with the peers and the limit, on a real Debian image or on IMAGE: docs/benchmarks.md
	docs/debian-image.sh "$(IMAGE)"
	$(if $(UPDATED),docs/debian-image.sh "$(UPDATED)" updated)
	GOARCH=arm64 go build $(FLAGS) -o build/plimsoll-arm64 ./cmd/plimsoll
	go run ./cmd/internal/bench -rounds $(ROUNDS) -jobs "$(JOBS)" $(if $(JOBS),,-o docs/benchmarks.md) $(if $(BENCH_LONG),-long) \
	  $(if $(SLOT),-slot "$(SLOT)") $(if $(UPDATED),-updated "$(UPDATED)") -stripped build/plimsoll-arm64 build/plimsoll "$(IMAGE)"

conformance: build ## what readers make of the vectors, with Mender's client as root: docs/conformance.md
	docs/conformance.sh build/plimsoll

release: ## not yet: binaries and packages
	@echo "make release cannot make packages yet; make build makes the command" >&2; exit 1

clean:
	rm -rf build

# Commands that are missing are installed when root, and named when not.
define need
	@missing=(); for pair in $(1); do command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$${missing[@]}" >/dev/null; \
	  else echo "missing Debian packages; as root: apt-get install $${missing[*]}" >&2; exit 1; fi; \
	fi
endef
need-demo:
	$(call need,$(DEMO))
need-files:
	$(call need,$(FILES))
need-test:
	$(call need,$(TEST))
need-bench:
	$(call need,$(BENCH))
