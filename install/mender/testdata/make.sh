#!/bin/bash
# make.sh: makes the stores in this folder anew, each with what the real mdb_dump says of it. As root, on Debian 12 for amd64:
#   apt-get install mender-client mender-artifact lmdb-utils python3-lmdb gcc
# The 32-bit store is made by Debian's armhf mdb_load; its packages and qemu-user-static are downloaded and not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT; cd "$tmp"; chmod 755 .

keep() { # STORE NAME: and the dump is by the one who wrote it
  "${dump[@]}" -n "$1" | gzip -9n > "$here/$2.dump.gz"; gzip -9n < "$1" > "$here/$2.mdb.gz"
}
dump=(mdb_dump)

# Debian's mender-client 3.4.0: nothing yet; an update that waits for its commit; three updates, one taken back.
mkdir data etc mods; echo device_type=bench > data/device_type; echo artifact_name=rel-0 > etc/artifact_info; echo '{}' > etc/mender.conf
printf '#!/bin/sh\n[ "$1" != SupportsRollback ] || echo Yes\n' > mods/nothing; chmod +x mods/nothing
echo payload > file
for i in 1 2 3; do mender-artifact write module-image -T nothing -n "rel-$i" -g fleet -t bench -p "site:harbour-$i" -f file -o "$i.mender"; done
mender() { unshare -m sh -c 'mount --bind mods /usr/share/mender/modules/v3; mount --bind etc /etc/mender; exec mender --no-syslog -b "$PWD/none" -d "$PWD/data" "$@"' x "$@" >log 2>&1 || { cat log; return 1; }; }
mender show-provides; keep data/mender-store mender-empty
mender install 1.mender; keep data/mender-store mender-installed
mender commit; mender install 2.mender; mender rollback; mender install 3.mender; mender commit; keep data/mender-store mender-committed

# LMDB 0.9.24 by itself: several levels; keys that went; transactions without end; values around and above what a page holds.
cat > stores.py <<'P'
import lmdb, sys
def store(name, *transactions):
    e = lmdb.open(name, subdir=False, map_size=64 << 20, sync=False)
    for t in transactions:
        with e.begin(write=True) as txn:
            for k, v in t:
                txn.put(k, v) if v is not None else txn.delete(k)
    e.close()
long = lambda i: b"key %04d " % (i * 7 % 1000) + b"k" * 480
store("deep", *[[(long(i), b"value %d" % i)] for i in range(120)])
store("deleted", [(long(i), b"v" * (i * 37 % 3000)) for i in range(400)], *[[(long(i), None)] for i in range(400) if i % 5])
store("updates", *[[(b"artifact-name", b"rel-%d" % i), (b"standalone-state", b"s" * (i * 131 % 6000) if i % 3 else None)] for i in range(1, 3000)])
store("overflow", [(b"%d" % n, b"v" * n) for n in [0, 1, 2000, 2025, 2026, 2027, 2028, 2029, 2030, 2100, 4079, 4080, 4081, 8176, 8177, 100000, 1 << 20]], [(b"3", b"\0\n")])
store("emptied", [(b"a", b"1"), (b"b", b"v" * 9000)], [(b"a", None), (b"b", None)])
P
/usr/bin/python3 stores.py
for name in deep deleted updates overflow emptied; do keep $name $name; done

# The same code where pages have 16 KiB, as on some arm64.
cat > pages.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
long sysconf(int n) { return n == _SC_PAGESIZE ? 16384 : ((long (*)(int))dlsym(RTLD_NEXT, "sysconf"))(n); }
C
gcc -shared -fPIC -o pages.so pages.c -ldl; rm deep overflow
LD_PRELOAD=./pages.so /usr/bin/python3 stores.py; dump=(env LD_PRELOAD=./pages.so mdb_dump)
for name in deep overflow; do keep $name $name-16k; done

# And where a word has 32 bits: loaded, and loaded over.
mkdir -p lists/partial cache/archives/partial
apt=(apt-get -qq -o APT::Sandbox::User=root -o Dir::State::lists="$tmp/lists" -o Dir::Cache="$tmp/cache" -o Dir::State::status=/dev/null -o APT::Architecture=armhf -o APT::Architectures=armhf)
"${apt[@]}" update || true; "${apt[@]}" download lmdb-utils liblmdb0 libc6; apt-get -qq -o APT::Sandbox::User=root download qemu-user-static
for deb in *_armhf.deb; do dpkg -x "$deb" arm; done; dpkg -x qemu-user-static_*.deb qemu
run=(qemu/usr/bin/qemu-arm-static -L arm)
load() { { printf 'VERSION=3\nformat=print\ntype=btree\nmapsize=16777216\nHEADER=END\n'; cat; echo DATA=END; } | "${run[@]}" arm/usr/bin/mdb_load -n arm32; }
lines() { awk -v from="$1" -v n="$2" -v size="$3" 'BEGIN { for (i = from; i < from + n; i++) { k = sprintf(" key %04d ", i*7%1000); while (length(k) < 450) k = k "k"; v = " "; while (length(v) <= i*size%9000) v = v "v"; print k; print v } }'; }
lines 0 90 1 | load; lines 30 30 611 | load; lines 0 60 37 | load
dump=("${run[@]}" arm/usr/bin/mdb_dump); keep arm32 arm32
