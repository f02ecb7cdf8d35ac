#!/bin/bash
# What each verb needs for one image: wall and CPU seconds and peak memory,
# the median of ROUNDS by wall time. usage: bench.sh PLIMSOLL IMAGE
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
plimsoll=$(realpath "${1:?usage: bench.sh PLIMSOLL IMAGE}") image=$(realpath "${2:?usage: bench.sh PLIMSOLL IMAGE}")
rounds=${ROUNDS:-3}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/plimsoll-bench.XXXX") && trap 'rm -rf "$work"' EXIT && cd "$work"

row() { # row NAME PREPARE COMMAND...
  local name=$1 prepare=$2; shift 2
  for _ in $(seq "$rounds"); do
    eval "$prepare" >log 2>&1 || { cat log >&2; exit 1; }
    /usr/bin/time -o t -f '%e %U %S %M' "$@" >log 2>&1 || { cat log >&2; exit 1; }
    cat t
  done | sort -n | awk -v n="$name" '{l[NR]=$0} END{split(l[int((NR+1)/2)],a," "); printf "%-34s %7.2f s  cpu %6.2f s  %6.1f MiB\n", n, a[1], a[2]+a[3], a[4]/1024}'
}

size=$(stat -c %s "$image")
mkdir state
truncate -s "$size" slot2.img slot3.img
cat > plimsoll.toml <<TOML
device_type = "bench"
state_dir = "state"
[trust]
keys = ["public.pem"]
[slots]
a = "slot2.img"
b = "slot3.img"
running = "bootloader"
[bootloader]
fw_env_config = "fw_env.config"
lock = "lock"
TOML
printf '%s=%s\n' mender_boot_part 2 mender_boot_part_hex 2 upgrade_available 0 bootcount 0 bootlimit 3 altbootcmd "run mender_altbootcmd" > env.txt
mkenvimage -r -s 0x4000 -o env.bin env.txt
printf '%s 0x0 0x4000\n%s 0x4000 0x4000\n' "$work/uboot.env" "$work/uboot.env" > fw_env.config
"$plimsoll" key generate -o private.pem > log
"$plimsoll" key public private.pem -o public.pem
p() { "$plimsoll" --quiet --config plimsoll.toml "$@"; }
fresh() { rm -f state/* slot3.img; truncate -s "$size" slot3.img; cat env.bin env.bin > uboot.env; sync; }

echo "image: $size bytes; $(nproc) cores, $(uname -srm); median of $rounds"
for c in zstd gzip none; do
  row "artifact write --compression $c" : "$plimsoll" --quiet artifact write rootfs-image -f "$image" -n A -c bench --compression $c -o "$c.mender"
  row "artifact sign ($c)" "cp $c.mender s.mender" "$plimsoll" --quiet artifact sign -k private.pem s.mender
  mv s.mender "$c.mender"
  row "artifact verify ($c)" : "$plimsoll" --quiet artifact verify -k public.pem "$c.mender"
  row "install ($c)" fresh "$plimsoll" --quiet --config plimsoll.toml install "$c.mender"
  cmp -n "$size" slot3.img "$image"
  row "install the same again ($c)" "p rollback" "$plimsoll" --quiet --config plimsoll.toml install "$c.mender"
  printf '%-34s %10d bytes\n' "size ($c)" "$(stat -c %s "$c.mender")"
done
row "commit" "fresh; p install zstd.mender" "$plimsoll" --quiet --config plimsoll.toml commit
row "status" : "$plimsoll" --quiet --config plimsoll.toml status
