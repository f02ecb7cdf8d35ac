#!/bin/bash
# Installs artifact $1 with Mender's client (3.x, in the path as mender) as on a device, and ends as the client does. With $2, a
# public key, only what it signed is installed.
#   go run ./testdata/vectors/run -jobs 1 -timeout 60s -- testdata/vectors/run/mender-client.sh {file} {key}
# The device is a root of a few files on a loop device, with this machine's /usr on it, a second loop device for the other slot and
# an environment of U-Boot in a file; the module "files" takes whatever comes. Exit 125: the device could not be made. Needs root, loop devices, e2fsprogs, u-boot-tools and libubootenv-tool.
set -Eeuo pipefail
trap 'exit 125' ERR
artifact=$(realpath "$1") key=${2:+$(realpath "$2")}
dir=$(mktemp -d)
f=$dir/files
mkdir -p "$f"/{usr,proc,dev,tmp,run,data,etc/mender,var/lib/mender,root}
for l in bin sbin lib lib64; do ln -s usr/$l "$f/$l"; done
echo 'device_type=rpi3' >"$f/var/lib/mender/device_type"
echo 'artifact_name=rel-0' >"$f/etc/mender/artifact_info"
verify=
if [ -n "$key" ]; then cp "$key" "$f/etc/mender/key.pem" && verify=',"ArtifactVerifyKey":"/etc/mender/key.pem"'; fi
echo "{\"RootfsPartA\":\"/dev/mmcblk0p2\",\"RootfsPartB\":\"/dev/mmcblk0p3\",\"ServerURL\":\"https://server.invalid\"$verify}" >"$f/etc/mender/mender.conf"
cp "$artifact" "$f/data/artifact.mender"
printf '/data/uboot.env 0x0 0x4000\n/data/uboot.env 0x4000 0x4000\n' >"$f/etc/fw_env.config"
printf '%s\n' mender_boot_part=2 mender_boot_part_hex=2 upgrade_available=0 bootcount=0 bootlimit=1 mender_check_saveenv_canary=1 mender_saveenv_canary=1 >"$dir/env.txt"
mkenvimage -r -s 0x4000 -o "$dir/env.bin" "$dir/env.txt"
cat "$dir/env.bin" "$dir/env.bin" >"$f/data/uboot.env"
truncate -s 16M "$dir/a.img" "$dir/b.img"
mke2fs -q -F -t ext4 -O ^has_journal -d "$f" "$dir/a.img"
a=$(losetup -f --show "$dir/a.img")
trap 'losetup -d $a ${b:-}; rm -r "$dir"' EXIT
b=$(losetup -f --show "$dir/b.img")
mkdir "$dir/root"
printf '#!/bin/sh\nexit 0\n' >"$dir/files.sh"
trap - ERR
set +e
unshare -m bash -c '
	set -Eeuo pipefail
	trap "exit 125" ERR
	mount "$1" "$3"; mount --rbind /usr "$3/usr"; mount -t proc proc "$3/proc"; mount -t tmpfs tmpfs "$3/dev"; mount -t tmpfs tmpfs "$3/tmp"
	mount -t tmpfs tmpfs "$3/usr/share/mender/modules"; mkdir "$3/usr/share/mender/modules/v3"
	install -m 755 "$4" "$3/usr/share/mender/modules/v3/files"
	cd "$3/dev"; mknod -m 666 null c 1 3; mknod -m 666 urandom c 1 9
	mknod mmcblk0p2 b $((0x$(stat -c %t "$1"))) $((0x$(stat -c %T "$1"))); mknod mmcblk0p3 b $((0x$(stat -c %t "$2"))) $((0x$(stat -c %T "$2")))
	exec chroot "$3" mender install /data/artifact.mender' x "$a" "$b" "$dir/root" "$dir/files.sh"
