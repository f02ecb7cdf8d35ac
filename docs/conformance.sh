#!/bin/bash
# Runs readers on the vectors and writes what they do into docs/conformance.md, below its mark. $1 is plimsoll. Needs root, for the
# device of Mender's client; about ten minutes. With a second argument, a folder that holds results, only what is not in it is run.
set -euo pipefail
plimsoll=$(realpath "$1")
results=${2:-$(mktemp -d)}
cd "$(dirname "$0")/.."
go build -o "$results/run" ./testdata/vectors/run
reads() { # FILE NAME COMMAND...: exit 1 says that something was wrong, which is what the page is about
	local file=$results/$1 name=$2
	shift 2
	[ -s "$file" ] || "$results/run" -json -name "$name" "${limits[@]}" -- "$@" >"$file" || [ $? = 1 ]
}
limits=()
reads plimsoll.json plimsoll "$plimsoll" artifact verify -k '{key}' '{file}'
reads mender-artifact.json 'mender-artifact 3.9' mender-artifact validate -k '{key}' '{file}'
limits=(-timeout 120s)
reads mender-client.json 'mender-client 3.4' testdata/vectors/run/mender-client.sh '{file}' '{key}'
sed '/^<!-- made by/q' docs/conformance.md >"$results/page.md"
"$results/run" -page "$results"/{plimsoll,mender-artifact,mender-client}.json >>"$results/page.md"
mv "$results/page.md" docs/conformance.md
