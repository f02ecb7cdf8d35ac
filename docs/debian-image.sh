#!/bin/bash
# A real root file system to measure with: Debian 12 with systemd, a kernel and
# what a device has, as a 1 GiB ext4 image. Needs root, mmdebstrap, e2fsprogs,
# and a Debian mirror in apt's sources. usage: debian-image.sh IMAGE
set -euo pipefail
image=$(realpath "${1:?usage: debian-image.sh IMAGE}")
[ ! -s "$image" ] || exit 0
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk '$2=="bookworm"{print $1; exit}')
packages=systemd,systemd-sysv,udev,openssh-server,python3,vim-tiny,iproute2,curl,ca-certificates,linux-image-cloud-amd64
[ -n "$mirror" ] || { echo "debian-image.sh: apt has no mirror of bookworm" >&2; exit 1; }
mmdebstrap --quiet --variant=minbase --include=$packages bookworm "$work/root.tar" "deb $mirror bookworm main"
mkdir "$work/root" && tar xf "$work/root.tar" -C "$work/root" --exclude='./dev/*'
truncate -s 1G "$work/image" && mke2fs -q -F -t ext4 -d "$work/root" "$work/image"
mv "$work/image" "$image"
