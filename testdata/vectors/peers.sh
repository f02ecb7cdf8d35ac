#!/bin/sh
# Made the vectors p-*: artifacts by Mender's own tool (Debian's mender-artifact 3.9.0), which must be read. Each run makes other bytes,
# because the tool writes the time and the user into them; they were made once and are kept.
set -eu
cd "$(dirname "$0")"
keys=$(cd ../keys && pwd)
out=$PWD
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
cd "$tmp"
i=0
while [ $i -lt 200 ]; do
	printf 'block %06d of a small root file system\n' $i
	i=$((i + 1))
done >rootfs.ext4
printf '#!/bin/sh\nexit 0\n' | tee ArtifactInstall_Enter_01_check >ArtifactCommit_Leave_90
echo '{"a": {"b": [1, 2]}}' >meta.json
echo one >one.txt
echo two >two.txt

# made NAME ABOUT [FIELD...]: the tool wrote NAME; say what must happen.
made() {
	name=$1
	about=$2
	shift 2
	printf 'about: %s, by mender-artifact 3.9.0\n' "$about" >"$out/$name.txt"
	printf '%s\n' "$@" >>"$out/$name.txt"
}
rootfs() { # NAME FLAG...
	name=$1
	shift
	mender-artifact write rootfs-image --no-progress -n "$name" -t rpi3 -t bbb -f rootfs.ext4 -o "$out/$name.mender" "$@" 2>/dev/null
}
module() { # NAME FLAG...
	name=$1
	shift
	mender-artifact write module-image --no-default-software-version -n "$name" -t rpi3 -T files -o "$out/$name.mender" "$@" 2>/dev/null
}

for c in none gzip lzma; do
	rootfs p-rootfs-$c --compression $c
	made p-rootfs-$c "a root file system, compression $c" 'expect: ok'
done
for k in rsa2048 rsa3072 p256; do
	rootfs p-rootfs-$k -k "$keys/$k.pem"
	made p-rootfs-$k "a root file system signed by $k" 'expect: ok' "key: $k"
	rootfs p-rootfs-sign-$k
	mender-artifact sign -k "$keys/$k.pem" "$out/p-rootfs-sign-$k.mender"
	made p-rootfs-sign-$k "a root file system signed afterwards by $k" 'expect: ok' "key: $k"
done
rootfs p-rootfs-all -s ArtifactInstall_Enter_01_check -s ArtifactCommit_Leave_90 -N rel-0 -N rel-1 -g blue -G blue -G green \
	-d rootfs-image.checksum:0123 -p site:harbour --clears-provides 'site.*' --compression lzma
made p-rootfs-all 'a root file system with scripts, provides, depends and groups' 'expect: ok'
rootfs p-rootfs-bare --no-default-software-version --no-default-clears-provides --no-checksum-provide
made p-rootfs-bare 'a root file system without any default' 'expect: ok'
module p-module -f two.txt -f one.txt -m meta.json
made p-module "a module's payload of two files with meta-data" 'expect: ok'
module p-module-no-files
made p-module-no-files "a module's payload of no files" 'expect: ok'
module p-augmented -f one.txt --augment-type other --augment-file two.txt --augment-provides x:y
made p-augmented 'an augmented artifact' 'expect: unsupported' 'inspect: ok' 'says: manifest-augment'
mender-artifact write bootstrap-artifact -n p-bootstrap -t rpi3 -p site:harbour -o "$out/p-bootstrap.mender" 2>/dev/null
made p-bootstrap 'a null payload' 'expect: ok'
rootfs p-wrong-key -k "$keys/rsa2048.pem"
made p-wrong-key 'a root file system signed by another key than the one asked for' 'expect: untrusted' 'inspect: ok' 'key: rsa3072'
