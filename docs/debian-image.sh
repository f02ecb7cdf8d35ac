#!/bin/bash
# A real root file system to measure with: Debian 12 with systemd, a kernel and
# what a device has, as a 1 GiB ext4 image; with "updated" the next release of
# the same, with Debian's updates, its security updates and one more package.
# Needs root, mmdebstrap, e2fsprogs, and a Debian mirror in apt's sources.
# usage: debian-image.sh IMAGE [updated]
set -euo pipefail
image=$(realpath "${1:?usage: debian-image.sh IMAGE [updated]}") updated=${2:-}
[ ! -s "$image" ] || exit 0
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
packages=systemd,systemd-sysv,udev,openssh-server,python3,vim-tiny,iproute2,curl,ca-certificates,linux-image-cloud-amd64
suites=(bookworm)
[ -z "$updated" ] || { packages+=,tcpdump; suites+=(bookworm-updates bookworm-security); }
sources=()
for suite in "${suites[@]}"; do
  # shellcheck disable=SC2016 # apt's own words, not the shell's
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk -v s="$suite" '$2==s{print $1; exit}')
  [ -n "$mirror" ] || { echo "debian-image.sh: apt has no mirror of $suite" >&2; exit 1; }
  sources+=("deb $mirror $suite main")
done
mmdebstrap --quiet --variant=minbase --include=$packages bookworm "$work/root.tar" "${sources[@]}"
mkdir "$work/root" && tar xf "$work/root.tar" -C "$work/root" --exclude='./dev/*'
# Two images of one recipe: what is not in the files is the same in both.
id=6d61726b-6c6f-4164-8564-6e6f66757274
truncate -s 1G "$work/image"
E2FSPROGS_FAKE_TIME=1700000000 mke2fs -q -F -t ext4 -U $id -E hash_seed=$id,lazy_itable_init=0 -d "$work/root" "$work/image"
mv "$work/image" "$image"
