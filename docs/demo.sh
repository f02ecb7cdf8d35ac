#!/bin/bash
# A story of one device, told with the real program. Nothing here needs root:
# the device is made of files. usage: demo.sh PLIMSOLL
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
plimsoll=$(realpath "${1:?usage: demo.sh PLIMSOLL}")
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT && cd "$work"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
tell() { printf '%s\n' "$*" | fold -s -w 78; }
run() { # run EXIT COMMAND...: shows a command and its output, and expects its exit code
  local want=$1 got=0; shift
  printf '\n  $ %s\n' "${*/#$plimsoll/plimsoll}"
  "$@" > out 2>&1 || got=$?
  sed 's/^/    /' out
  [ "$got" = "$want" ] || { echo "demo: exit code $got, expected $want" >&2; exit 1; }
}
device() { local want=$1; shift; run "$want" "$plimsoll" --quiet --config device/plimsoll.toml "$@"; }
boots() { printf '    (the bootloader would boot: %s)\n' "$(head -c 40 <(debugfs -R 'cat /etc/release' "device/slot$(fw_printenv -c device/fw_env.config -n mender_boot_part).img" 2>/dev/null))"; }

say "Two releases"
tell "A root file system image is what a build system hands over. These two are small, made of this machine's own files."
for release in 1.0.0 2.0.0; do
  mkdir -p "root-$release"/{bin,boot,etc,sbin,lib,proc,sys,dev,tmp}
  cp /bin/{true,cat,ls} "root-$release/bin/"
  cp /etc/{passwd,hosts} "root-$release/etc/"
  head -c 3M "$plimsoll" > "root-$release/boot/zImage"
  echo "release $release" > "root-$release/etc/release"
  ln -s ../bin/true "root-$release/sbin/init"
  mke2fs -q -F -t ext4 -d "root-$release" "release-$release.ext4" 16M
  printf '    release-%s.ext4: %s bytes\n' "$release" "$(stat -c %s "release-$release.ext4")"
done

say "At the workbench: a key, and two signed artifacts"
run 0 "$plimsoll" key generate -o private.pem
run 0 "$plimsoll" key public private.pem -o public.pem
for release in 1.0.0 2.0.0; do
  run 0 "$plimsoll" --quiet artifact write rootfs-image -f "release-$release.ext4" -n "release-$release" \
    --software-version "$release" -c demo-board -k private.pem -o "release-$release.mender"
done
run 0 "$plimsoll" artifact verify -k public.pem release-2.0.0.mender

say "The device"
tell "It has two slots, of which it runs one, and a boot environment in two copies that says which. It trusts one key. Here all of that is files; on a board it is partitions."
mkdir -p device/state
cp release-1.0.0.ext4 device/slot2.img
truncate -s 16M device/slot3.img
cp public.pem device/
printf '%s=%s\n' mender_boot_part 2 mender_boot_part_hex 2 upgrade_available 0 bootcount 0 bootlimit 3 altbootcmd 'run mender_altbootcmd' > env.txt
mkenvimage -r -s 0x4000 -o env.bin env.txt
cat env.bin env.bin > device/uboot.env
printf '%s 0x0 0x4000\n%s 0x4000 0x4000\n' "$work/device/uboot.env" "$work/device/uboot.env" > device/fw_env.config
cat > device/plimsoll.toml <<'TOML'
device_type = "demo-board"
state_dir   = "state"

[trust]
keys = ["public.pem"]

[slots]
a = "slot2.img"
b = "slot3.img"
running = "bootloader"   # a bench: believe the boot environment

[bootloader]
fw_env_config = "fw_env.config"
lock = "lock"
TOML
sed 's/^/    /' device/plimsoll.toml
device 0 status
boots

say "An update"
tell "The image goes to the slot that is not running; it is read back from the medium; then one write of the boot environment arms it, on trial."
device 0 install release-2.0.0.mender
boots
device 0 status
tell "Until somebody says that it is healthy it is on trial: three boots without a verdict, and the bootloader returns to the old slot by itself. It is healthy, so it is kept:"
device 0 commit
device 0 status

say "A stick that somebody tampered with"
tell "One byte of the image is changed. The manifest is signed and has the image's checksum, so nobody can put it right."
cp release-1.0.0.mender tampered.mender
size=$(stat -c %s tampered.mender)
printf '\xff' | dd of=tampered.mender bs=1 seek=$((size - size / 4)) conv=notrunc status=none
before=$(sha256sum < device/uboot.env)
device 3 install --allow-downgrade tampered.mender
[ "$before" = "$(sha256sum < device/uboot.env)" ]
boots
tell "And an artifact that nobody signed:"
run 0 "$plimsoll" --quiet artifact write rootfs-image -f release-1.0.0.ext4 -n release-1.0.0 -c demo-board -o unsigned.mender
device 3 install unsigned.mender

say "Going back"
tell "An old release is not installed by mistake, only on purpose; and while it is on trial it can be taken back."
device 3 install release-1.0.0.mender
device 0 install --allow-downgrade release-1.0.0.mender
boots
device 0 rollback
boots
device 0 status

say "What happened"
device 0 history
tell "" "That was the whole of it. The README says what is next."
