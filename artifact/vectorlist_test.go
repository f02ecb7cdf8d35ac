package artifact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
)

// vectors returns all that are built here. Names begin with the numbers that the specification gives its rules: V version, M manifest,
// H header, D data; and with C for the container, J for JSON, S for the signature, Z for compressed streams.
func vectors() []vector { return built() }

var built = sync.OnceValue(func() []vector {
	all := slices.Concat(versionVectors(), manifestVectors(), headerVectors(), jsonVectors(), dataVectors(), containerVectors(),
		signatureVectors(), streamVectors(), oldToolVectors(), bombVectors())
	for i, v := range all {
		all[i] = ruled(v)
	}
	return all
})

func versionVectors() []vector {
	version := func(name, about, expect, says, version string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{version: version}.build()}
	}
	return []vector{
		version("v01-pretty", "white space and another order of keys", "ok", "", "{\n  \"version\": 3,\n  \"format\": \"mender\"\n}\n"),
		version("v02-unknown-key", "a key that version 3 does not have", "format", `version: malformed artifact: unknown key "x"`, `{"format":"mender","version":3,"x":1}`),
		version("v03-version-string", "the number is a string", "format", "want a whole number", `{"format":"mender","version":"3"}`),
		version("v03-version-fraction", "the number has a fraction", "format", "want a whole number", `{"format":"mender","version":3.0}`),
		version("v03-version-missing", "no number", "format", "want a whole number", `{"format":"mender"}`),
		version("v04-version-1", "version 1", "unsupported", "version 1 of the format", `{"format":"mender","version":1}`),
		version("v05-version-2", "version 2", "unsupported", "version 2 of the format", `{"format":"mender","version":2}`),
		version("v06-version-4", "version 4", "unsupported", "version 4 of the format", `{"format":"mender","version":4}`),
		version("v07-format-other", "another format", "format", `format is "sandal"`, `{"format":"sandal","version":3}`),
		version("v07-format-missing", "no format", "format", `format is ""`, `{"version":3}`),
		version("v07-format-case", "the key in another case", "format", `unknown key "Format"`, `{"Format":"mender","version":3}`),
		version("v07-format-twice", "a key twice", "format", `key "format" stands twice`, `{"format":"mender","format":"mender","version":3}`),
		version("v07-bytes-behind", "bytes after the object", "format", "bytes after the JSON object", `{"format":"mender","version":3}{}`),
		{name: "v08-name-prefix", about: "a first member whose name only begins with version", expect: "format", says: `want version, have "versionX"`,
			data: parts{members: func(all []file) []file { all[0].name = "versionX"; return all }}.build()},
		{name: "v09-sum", about: "version is not what the manifest has the sum of", expect: "checksum", says: "version: checksum",
			data: parts{members: func(all []file) []file { all[0].body += " "; return all }}.build()},
	}
}

func manifestVectors() []vector {
	manifest := func(name, about, expect, says string, spoil func(string) string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{manifest: spoil}.build()}
	}
	add := func(lines string) func(string) string { return func(s string) string { return s + lines } }
	zero := strings.Repeat("0", 64)
	drop := func(name string) func(string) string {
		return func(s string) string {
			var kept string
			for line := range strings.Lines(s) {
				if !strings.HasSuffix(line, "  "+name+"\n") {
					kept += line
				}
			}
			return kept
		}
	}
	listed := func(name string) string { return fmt.Sprintf("%s  %s\n", zero, name) }
	return []vector{
		manifest("m01-version-sum", "wrong sum of version", "checksum", "version: checksum", replace(sumOf(versionMember), zero)),
		manifest("m01-file-sum", "wrong sum of the image", "checksum", "rootfs.ext4: checksum", replace(sumOf(goodImage), zero)),
		{name: "m01-header-sum", about: "a byte of the header is another", expect: "checksum", says: "header.tar: checksum",
			data: parts{members: func(all []file) []file { all[2].body = replace("rel-1", "rel-2")(all[2].body); return all }}.build()},
		manifest("m02-upper-case", "hexadecimal in upper case", "format", "manifest: line 1: ", func(s string) string { return strings.ToUpper(s[:64]) + s[64:] }),
		manifest("m03-no-version-line", "version is not listed", "format", "manifest: malformed artifact: version is not listed", drop("version")),
		manifest("m04-no-header-line", "the header is not listed", "format", "manifest: malformed artifact: header.tar is not listed", drop("header.tar")),
		{name: "m04-other-header-line", about: "a header by another name is listed", expect: "format", says: `want header.tar.gz, have "header.tar"`,
			data: parts{manifest: replace("header.tar", "header.tar.gz")}.build()},
		manifest("m04-two-header-lines", "two headers are listed", "format", "header.tar and header.tar.gz are both listed", add(listed("header.tar.gz"))),
		{name: "m05-unlisted-file", about: "a file of the payload is not listed", expect: "format", says: "data/0000.tar: malformed artifact: data/0000/b is not listed",
			data: parts{info: moduleInfo, typeInfo: moduleType, data: []file{{name: "a", body: "1"}, {name: "b", body: "2"}}, manifest: drop("data/0000/b")}.build()},
		{name: "m06-missing-file", about: "a listed file is not there", expect: "format", says: "missing: data/0000/b",
			data: parts{info: moduleInfo, typeInfo: moduleType, data: []file{{name: "a", body: "1"}}, manifest: add(listed("data/0000/b"))}.build()},
		manifest("m07-listed-twice", "a name twice, with the same sum", "format", "data/0000/rootfs.ext4 is listed twice", add(sumOf(goodImage)+"  data/0000/rootfs.ext4\n")),
		manifest("m08-one-space", "one space", "format", "manifest: line 1: malformed artifact: want a sum, two spaces", replace("  data", " data")),
		manifest("m08-three-spaces", "three spaces", "format", "manifest: line 1", replace("  data", "   data")),
		manifest("m08-tab", "a tab", "format", "manifest: line 1: malformed artifact: want a sum, two spaces", replace("  data", "\tdata")),
		manifest("m08-space-tab", "a space and a tab", "format", "manifest: line 1: malformed artifact: want a sum, two spaces", replace("  data", " \tdata")),
		manifest("m08-star", "the mark for binary files", "format", "manifest: line 1: malformed artifact: want a sum, two spaces", replace("  data", " *data")),
		manifest("m09-crlf", "lines end in CR LF", "format", "manifest: line 1", func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }),
		manifest("m10-no-last-newline", "the last line has no newline", "format", "manifest: malformed artifact: the last line", func(s string) string { return s[:len(s)-1] }),
		manifest("m11-blank-line", "a blank line at the end", "format", "manifest: line 4", add("\n")),
		manifest("m11-blank-line-first", "a blank line at the beginning", "format", "manifest: line 1", func(s string) string { return "\n" + s }),
		manifest("m11-empty", "no lines at all", "format", "manifest: line 1", func(string) string { return "" }),
		{name: "m12-space-in-name", about: "a file name with a space", expect: "format", says: "manifest: line 1", data: parts{data: []file{{name: "root fs", body: "x"}}}.build()},
		{name: "m12-two-spaces-in-name", about: "a file name with two spaces", expect: "format", says: "manifest: line 1", data: parts{data: []file{{name: "root  fs", body: "x"}}}.build()},
		manifest("m13-data-tar-listed", "the payload member itself", "format", "manifest: line 4", add(listed("data/0000.tar"))),
		manifest("m13-three-digits", "a payload number of three digits", "format", "manifest: line 4", add(listed("data/000/a"))),
		manifest("m13-five-digits", "a payload number of five digits", "format", "manifest: line 4", add(listed("data/00000/a"))),
		manifest("m13-folder", "a file in a folder", "format", "manifest: line 4", add(listed("data/0000/a/b"))),
		manifest("m13-no-name", "a payload and no name", "format", "manifest: line 4", add(listed("data/0000/"))),
		manifest("m13-second-payload", "a file of a second payload", "unsupported", "data/0001/a: more than one payload", add(listed("data/0001/a"))),
		manifest("m13-manifest-listed", "the manifest itself", "format", "manifest: line 4", add(listed("manifest"))),
		manifest("m13-script-listed", "a script", "format", "manifest: line 4", add(listed("scripts/ArtifactInstall_Enter_00"))),
		manifest("m13-empty-name", "no name", "format", "manifest: line 4", add(listed(""))),
		{name: "m14-name-90", about: "a file name of 90 characters", expect: "ok", data: parts{data: []file{{name: strings.Repeat("n", 90), body: "x"}}}.build()},
		{name: "m14-name-91", about: "a file name of 91 characters", expect: "format", says: "manifest: line 1", data: parts{data: []file{{name: strings.Repeat("n", 91), body: "x"}}}.build()},
		manifest("m-nul", "a NUL in a line", "format", "manifest: line 4", add(listed("version\x00"))),
		manifest("m-bom", "a byte order mark", "format", "manifest: line 1", func(s string) string { return "\ufeff" + s }),
	}
}

func headerVectors() []vector {
	header := func(name, about, expect, says string, spoil func([]file) []file) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{header: spoil(goodHeader())}.build()}
	}
	rename := func(i int, name string) func([]file) []file {
		return func(h []file) []file { h[i].name = name; return h }
	}
	const script, typeInfo, meta = "scripts/ArtifactInstall_Enter_00", "headers/0000/type-info", "headers/0000/meta-data"
	return []vector{
		header("h01-no-info", "header-info is missing", "format", `header.tar: malformed artifact: want header-info, have "headers/0000/type-info"`, func(h []file) []file { return h[1:] }),
		header("h01-info-prefix", "a name that begins with header-info", "format", `want header-info, have "header-infoX"`, rename(0, "header-infoX")),
		header("h01-empty", "an archive of nothing", "format", `want header-info, have "the end"`, func([]file) []file { return []file{} }),
		header("h02-script-late", "a script after type-info", "format", `"scripts/ArtifactInstall_Enter_00" where the header ends`, insert(2, file{name: script, body: "#!"})),
		header("h02-script-last", "a script after meta-data", "format", `"scripts/ArtifactInstall_Enter_00" where the header ends`, insert(3, file{name: script, body: "#!"})),
		header("h03-unknown", "a member that the format does not have", "format", `have "notes"`, insert(1, file{name: "notes"})),
		header("h03-files", "the list of files of version 2", "format", `"headers/0000/files" where the header ends`, insert(3, file{name: "headers/0000/files"})),
		header("h04-no-type-info", "neither type-info nor meta-data", "format", `want headers/0000/type-info, have "the end"`, func(h []file) []file { return h[:1] }),
		header("h05-meta-data-first", "meta-data before type-info", "format", `want headers/0000/type-info, have "headers/0000/meta-data"`, func(h []file) []file { h[1], h[2] = h[2], h[1]; return h }),
		header("h06-meta-data-only", "meta-data without type-info", "format", `want headers/0000/type-info, have "headers/0000/meta-data"`, func(h []file) []file { return []file{h[0], h[2]} }),
		header("h07-type-info-twice", "type-info twice", "format", `"headers/0000/type-info" where the header ends`, insert(2, file{name: typeInfo, body: goodTypeInfo})),
		header("h07-meta-data-twice", "meta-data twice", "format", `"headers/0000/meta-data" where the header ends`, insert(3, file{name: meta})),
		header("h07-info-twice", "header-info twice", "format", `have "header-info"`, insert(1, file{name: "header-info", body: goodInfo})),
		header("h07-script-twice", "a script twice", "format", "scripts/ArtifactInstall_Enter_00: malformed artifact: stands twice", insert(1, file{name: script}, file{name: script})),
		header("h08-second-headers", "headers of a payload that is not there", "format", `"headers/0001/type-info" where the header ends`, insert(3, file{name: "headers/0001/type-info", body: goodTypeInfo})),
		header("h09-folder-headers", "a folder entry", "format", `"headers/": malformed artifact: not a regular file`, insert(1, file{name: "headers/", kind: '5'})),
		header("h09-folder-0000", "a folder entry", "format", `"headers/0000/": malformed artifact: not a regular file`, insert(1, file{name: "headers/0000/", kind: '5'})),
		header("h09-folder-scripts", "a folder entry", "format", `"scripts/": malformed artifact: not a regular file`, insert(1, file{name: "scripts/", kind: '5'})),
		header("h10-dot-dot", "a path that leads back to the right name", "format", `want headers/0000/type-info, have "headers/../headers/0000/type-info"`, rename(1, "headers/../headers/0000/type-info")),
		header("h11-dot-dot-out", "a path that leads out", "format", `want headers/0000/type-info, have "headers/0000/../../x/type-info"`, rename(1, "headers/0000/../../x/type-info")),
		header("h12-script-evil", "a script that leads out of its folder", "format", "scripts/../../evil: malformed artifact: not the name of a state script", insert(1, file{name: "scripts/../../evil"})),
		header("h12-script-state", "a script of a state that artifacts have no scripts for", "format", "scripts/Idle_Enter_00: malformed", insert(1, file{name: "scripts/Idle_Enter_00"})),
		header("h12-script-digits", "a script with three digits", "format", "not the name of a state script", insert(1, file{name: "scripts/ArtifactInstall_Enter_000"})),
		header("h12-script-suffix", "a script with a suffix that is not set off", "format", "not the name of a state script", insert(1, file{name: "scripts/ArtifactInstall_Enter_00.sh"})),
		header("h12-script-space", "a script with a space", "format", "not the name of a state script", insert(1, file{name: "scripts/ArtifactInstall_Enter_00_a b"})),
		header("h12-script-folder", "a script in a folder", "format", "not the name of a state script", insert(1, file{name: "scripts/ArtifactInstall_Enter_00_a/b"})),
		header("h12-script-link", "a script that is a link", "format", "not a regular file", insert(1, file{name: script, kind: '2', link: "/bin/sh"})),
		header("h12-scripts", "scripts, in no order", "ok", "", insert(1, file{name: "scripts/ArtifactInstall_Leave_99_last", body: "#!/bin/sh\n"}, file{name: script, body: "#!/bin/sh\n"})),
		{name: "h13-bytes-behind", about: "a byte after the end of the header's archive", expect: "format", says: "header.tar: malformed artifact: byte 4096, after the end of the archive",
			data: parts{headerEnd: end + strings.Repeat("\x00", block) + "x"}.build()},
		{name: "h13-zeros-behind", about: "zeros after the end of the header's archive", expect: "ok", data: parts{headerEnd: end + end}.build()},
		{name: "h13-no-end", about: "the header's archive has no end", expect: "truncated", says: "header.tar: artifact ends too early", data: parts{headerEnd: end[:block]}.build()},
		{name: "h14-sum", about: "the header is right but for its sum, and would fail to parse", expect: "checksum", says: "header.tar: checksum",
			data: parts{members: func(all []file) []file { all[2].body = "not an archive"; return all }}.build()},
		header("h-no-meta-data", "no meta-data", "ok", "", func(h []file) []file { return h[:2] }),
	}
}

func jsonVectors() []vector {
	info := func(name, about, expect, says, info string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{info: info}.build()}
	}
	typeInfo := func(name, about, expect, says, typeInfo string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{typeInfo: typeInfo}.build()}
	}
	meta := func(name, about, expect, says, meta string) vector {
		h := []file{{name: "header-info", body: moduleInfo}, {name: "headers/0000/type-info", body: moduleType}, {name: "headers/0000/meta-data", body: meta}}
		return vector{name: name, about: about, expect: expect, says: says, data: parts{header: h}.build()}
	}
	return []vector{
		info("j-unknown-top", "an unknown key", "format", `header-info: malformed artifact: unknown key "x"`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]},"x":1}`),
		info("j-unknown-provides", "an unknown key in artifact_provides", "format", `unknown key "x"`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1","x":"1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-unknown-depends", "an unknown key in artifact_depends: what is not understood is not met", "format", `unknown key "x"`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"],"x":["1"]}}`),
		info("j-unknown-payload", "an unknown key in payloads", "format", `payloads: malformed artifact: unknown key "x"`, `{"payloads":[{"type":"rootfs-image","x":1}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-case", "a key in another case", "format", `unknown key "Artifact_Name"`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"Artifact_Name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-twice", "a key twice", "format", `key "device_type" stands twice`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"],"device_type":["bbb"]}}`),
		info("j-bytes-behind", "bytes after the object", "format", `bytes after the JSON object`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}} {"payloads":[]}`),
		info("j-white-space", "white space after the object", "ok", ``, "{\"payloads\":[{\"type\":\"rootfs-image\"}],\"artifact_provides\":{\"artifact_name\":\"rel-1\"},\"artifact_depends\":{\"device_type\":[\"rpi3\"]}}\n"),
		info("j-not-json", "not JSON", "format", `header-info: malformed artifact: want a JSON object`, `name=rel-1`),
		info("j-cut", "JSON that is cut", "format", `header-info: malformed artifact`, `{"payloads":[{"type":"rootfs-image"}]`),
		info("j-array", "an array", "format", `want a JSON object`, `[]`),
		info("j-name-missing", "no artifact_name", "format", `artifact_name of 0 bytes`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-name-empty", "an empty artifact_name", "format", `artifact_name of 0 bytes`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":""},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-name-null", "artifact_name is null", "format", `"artifact_name": malformed artifact: want a string`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":null},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-name-space", "a space in artifact_name", "ok", ``, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel 1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-name-256", "an artifact_name of 256 bytes", "ok", ``, strings.Replace(goodInfo, "rel-1", strings.Repeat("n", 256), 1)),
		info("j-name-257", "an artifact_name of 257 bytes", "format", `artifact_name of 257 bytes`, strings.Replace(goodInfo, "rel-1", strings.Repeat("n", 257), 1)),
		info("j-name-newline", "a line break in artifact_name", "format", `is not printable`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel\n1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-name-escape", "an escape sequence of a terminal in artifact_name", "format", `is not printable`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel\u001b[2J"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-group-newline", "a line break in artifact_group", "format", `is not printable`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1","artifact_group":"a\nb"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-not-utf8", "bytes that are not UTF-8", "format", `not UTF-8`, "{\"payloads\":[{\"type\":\"rootfs-image\"}],\"artifact_provides\":{\"artifact_name\":\"rel\xff\"},\"artifact_depends\":{\"device_type\":[\"rpi3\"]}}"),
		info("j-provides-missing", "no artifact_provides", "format", `artifact_name of 0 bytes`, `{"payloads":[{"type":"rootfs-image"}],"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-depends-missing", "no artifact_depends", "format", `device_type is missing`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"}}`),
		info("j-depends-null", "artifact_depends is null", "format", `artifact_depends`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":null}`),
		info("j-device-missing", "no device_type", "format", `device_type is missing`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{}}`),
		info("j-device-empty", "an empty device_type list", "format", `device_type is missing`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":[]}}`),
		info("j-device-string", "a device_type that is a string", "format", `"device_type": want an array`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":"rpi3"}}`),
		info("j-device-number", "a device_type that is a number", "format", `want a string, have 3`, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":[3]}}`),
		info("j-depends-all", "all that header-info may have", "ok", ``, `{"payloads":[{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1","artifact_group":"g"},"artifact_depends":{"device_type":["rpi3","bbb"],"artifact_name":["rel-0"],"artifact_group":["g","h"]}}`),
		info("j-payloads-none", "no payloads", "format", `payloads: want one`, `{"payloads":[],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-payloads-missing", "payloads is missing", "format", `payloads: want one`, `{"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-payloads-two", "two payloads", "unsupported", `2 payloads, want 1`, `{"payloads":[{"type":"rootfs-image"},{"type":"rootfs-image"}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-payload-no-type", "a payload without a type, which one reader takes for null", "format", `payload type of 0 bytes`, `{"payloads":[{}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		info("j-payload-empty-type", "an empty payload type", "format", `payload type of 0 bytes`, `{"payloads":[{"type":""}],"artifact_provides":{"artifact_name":"rel-1"},"artifact_depends":{"device_type":["rpi3"]}}`),
		typeInfo("j-type-empty", "an empty type in type-info, as written before 4.3.1", "ok", ``, `{"type":""}`),
		typeInfo("j-type-missing", "no type in type-info", "format", `headers/0000/type-info: malformed artifact: type is missing`, `{"artifact_provides":{"a":"b"}}`),
		typeInfo("j-type-null", "a null type for a root file system", "format", `type is null, header-info has "rootfs-image"`, `{"type":null}`),
		typeInfo("j-type-other", "another type than header-info has", "format", `type is "files", header-info has "rootfs-image"`, `{"type":"files"}`),
		typeInfo("j-type-unknown-key", "an unknown key in type-info", "ok", ``, `{"type":"rootfs-image","x":[1]}`),
		typeInfo("j-type-twice", "a key twice in type-info", "format", `key "type" stands twice`, `{"type":"rootfs-image","type":"rootfs-image"}`),
		typeInfo("j-provides-list", "a list among the provides", "format", `want a string, have ["b"]`, `{"type":"rootfs-image","artifact_provides":{"a":["b"]}}`),
		typeInfo("j-provides-number", "a number among the provides", "format", `want a string, have 1`, `{"type":"rootfs-image","artifact_provides":{"a":1}}`),
		typeInfo("j-provides-reserved", "artifact_name among the provides of the payload", "format", `artifact_name belongs in header-info`, `{"type":"rootfs-image","artifact_provides":{"artifact_name":"rel-9"}}`),
		typeInfo("j-provides-twice", "a provide twice", "format", `key "a" stands twice`, `{"type":"rootfs-image","artifact_provides":{"a":"1","a":"2"}}`),
		typeInfo("j-depends-string", "a dependency on one value", "ok", ``, `{"type":"rootfs-image","artifact_depends":{"a":"b"}}`),
		typeInfo("j-depends-list", "a dependency on one of two values", "ok", ``, `{"type":"rootfs-image","artifact_depends":{"a":["b","c"]}}`),
		typeInfo("j-depends-empty-list", "a dependency on one of no values", "format", `"a" can never be met`, `{"type":"rootfs-image","artifact_depends":{"a":[]}}`),
		typeInfo("j-depends-number", "a dependency on a number", "format", `want a string, have 1`, `{"type":"rootfs-image","artifact_depends":{"a":1}}`),
		typeInfo("j-depends-reserved", "device_type among the dependencies of the payload", "format", `device_type belongs in header-info`, `{"type":"rootfs-image","artifact_depends":{"device_type":"rpi4"}}`),
		typeInfo("j-clears-string", "clears_artifact_provides is a string", "format", `"clears_artifact_provides": want an array`, `{"type":"rootfs-image","clears_artifact_provides":"*"}`),
		typeInfo("j-clears-number", "clears_artifact_provides has a number", "format", `want a string, have 1`, `{"type":"rootfs-image","clears_artifact_provides":[1]}`),
		meta("j-meta-object", "meta-data of some depth", "ok", "", `{"a":{"b":[1,{"c":null}]}}`),
		meta("j-meta-array", "meta-data that is an array", "format", "headers/0000/meta-data: malformed artifact: want a JSON object", `[]`),
		meta("j-meta-behind", "bytes after the meta-data", "format", "bytes after the JSON object", `{} {}`),
		{name: "j-meta-null-payload", about: "meta-data of a null payload", expect: "format", says: "a null payload has no meta-data",
			data: parts{header: []file{{name: "header-info", body: nullInfo}, {name: "headers/0000/type-info", body: nullType}, {name: "headers/0000/meta-data"}}, data: []file{}}.build()},
		{name: "j-type-empty-module", about: "an empty type in the type-info of a module's payload", expect: "format", says: `type is "", header-info has "files"`,
			data: parts{info: moduleInfo, typeInfo: `{"type":""}`}.build()},
		{name: "j-null-type-string", about: "a type in the type-info of a null payload", expect: "format", says: `header-info has ""`,
			data: parts{info: nullInfo, typeInfo: `{"type":""}`, data: []file{}}.build()},
	}
}

func dataVectors() []vector {
	module := func(p parts) []byte {
		p.info, p.typeInfo = moduleInfo, moduleType
		return p.build()
	}
	files := func(name, about, expect, says string, manifest func(string) string, data ...file) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: module(parts{data: data, manifest: manifest})}
	}
	member := func(name, about, expect, says string, spoil func([]file) []file) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{members: spoil}.build()}
	}
	a := file{name: "a", body: "1"}
	emptyTar := file{name: "data/0001.tar", body: end}
	dropFirst := func(s string) string { return s[strings.Index(s, "\n")+1:] }
	named := func(to string) func([]file) []file {
		return func(all []file) []file { all[3].name = to; return all }
	}
	// listA makes the manifest list a, whatever the archive holds.
	listA := func(s string) string { return sumOf(a.body) + "  data/0000/a\n" + s[strings.Index(s, "\n")+1:] }
	return []vector{
		files("d01-unlisted", "a file that is not listed", "format", "data/0000/b is not listed", listA, file{name: "b", body: "1"}),
		files("d02-dot-dot", "a path that leads out", "format", "data/0000/../a is not listed", listA, file{name: "../a", body: "1"}),
		files("d02-dot", "a path that leads nowhere", "format", "data/0000/./a is not listed", listA, file{name: "./a", body: "1"}),
		files("d02-root", "an absolute path", "format", "data/0000//a is not listed", listA, file{name: "/a", body: "1"}),
		files("d02-dot-dot-listed", "a path that leads out and is listed", "format", "manifest: line 1", nil, file{name: "../a", body: "1"}),
		files("d03-space", "a space in a name", "format", "manifest: line 1", nil, file{name: "a b", body: "1"}),
		files("d03-plus", "a plus in a name", "format", "manifest: line 1", nil, file{name: "a+b", body: "1"}),
		files("d03-utf8", "a letter beyond ASCII in a name", "format", "manifest: line 1", nil, file{name: "ä", body: "1"}),
		files("d04-dots", "the name ..", "format", "manifest: line 1", nil, file{name: "..", body: "1"}),
		files("d04-dot", "the name .", "format", "manifest: line 1", nil, file{name: ".", body: "1"}),
		files("d05-twice", "a file twice, the same", "format", "data/0000/a stands twice", nil, a, a),
		files("d06-twice-other", "a file twice, different", "format", "data/0000/a stands twice", nil, a, file{name: "a", body: "2"}),
		files("d07-symlink", "a symbolic link, listed with the sum of nothing", "format", `"a": malformed artifact: not a regular file`, nil, file{name: "a", kind: '2', link: "/etc/passwd"}),
		files("d07-hard-link", "a hard link, listed with the sum of nothing", "format", `"a": malformed artifact: not a regular file`, nil, file{name: "a", kind: '1', link: "b"}),
		files("d07-device", "a device, listed with the sum of nothing", "format", `"a": malformed artifact: not a regular file`, nil, file{name: "a", kind: '4'}),
		files("d07-fifo", "a pipe, listed with the sum of nothing", "format", `"a": malformed artifact: not a regular file`, nil, file{name: "a", kind: '6'}),
		files("d08-folder", "a folder entry", "format", `"d/": malformed artifact: not a regular file`, dropFirst, file{name: "d/", kind: '5'}, a),
		files("d09-empty-file", "a file of no bytes", "ok", "", nil, file{name: "a"}),
		files("d10-order", "another order than in the manifest", "ok", "", func(s string) string {
			l := strings.SplitAfter(s, "\n")
			return l[3] + l[1] + l[2] + l[0]
		}, a, file{name: "b", body: "2"}),
		{name: "d11-two-images", about: "a root file system of two files", expect: "format", says: "2 payload files, a root file system has one",
			data: parts{data: []file{a, {name: "b", body: "2"}}}.build()},
		{name: "d12-no-image", about: "a root file system of no files", expect: "format", says: "0 payload files, a root file system has one", data: parts{data: []file{}}.build()},
		{name: "d13-null-file", about: "a null payload with a file that is listed", expect: "format", says: "1 payload files, a null payload has none",
			data: parts{info: nullInfo, typeInfo: nullType}.build()},
		{name: "d13-null-unlisted", about: "a null payload with a file that is not listed", expect: "format", says: "data/0000/rootfs.ext4 is not listed",
			data: parts{info: nullInfo, typeInfo: nullType, manifest: dropFirst}.build()},
		{name: "d14-no-data", about: "no payload member, though a file is listed", expect: "format", says: "missing: data/0000/rootfs.ext4", data: parts{noData: true}.build()},
		{name: "d15-null", about: "a null payload with a payload member of nothing", expect: "ok", data: parts{info: nullInfo, typeInfo: nullType, data: []file{}}.build()},
		{name: "d15-null-no-data", about: "a null payload without a payload member", expect: "ok", data: parts{info: nullInfo, typeInfo: nullType, data: []file{}, noData: true}.build()},
		{name: "d15-module-no-data", about: "a module's payload of no files, without a payload member", expect: "format", says: "data/0000.tar is missing", data: module(parts{data: []file{}, noData: true})},
		{name: "d15-module-no-files", about: "a module's payload of no files", expect: "ok", data: module(parts{data: []file{}})},
		member("d16-second-payload", "a second payload member", "format", `"data/0001.tar" after data/0000.tar`, insert(-1, emptyTar)),
		member("d16-second-garbage", "a second payload member of garbage", "format", `"data/0007.tar.gz" after data/0000.tar`, insert(-1, file{name: "data/0007.tar.gz", body: "garbage"})),
		member("d17-payload-twice", "the payload member twice", "format", `"data/0000.tar" after data/0000.tar`, func(all []file) []file { return append(all, all[3]) }),
		member("d18-one-digit", "a payload number of one digit", "format", `want data/0000.tar, have "data/0.tar"`, named("data/0.tar")),
		member("d18-five-digits", "a payload number of five digits", "format", `want data/0000.tar, have "data/00000.tar"`, named("data/00000.tar")),
		member("d18-first-is-1", "the first payload is number 1", "format", `want data/0000.tar, have "data/0001.tar"`, named("data/0001.tar")),
		member("d19-folder", "a payload in a folder", "format", `want data/0000.tar, have "data/x/0000.tar"`, named("data/x/0000.tar")),
		member("d19-dot-dot", "a payload that leads out", "format", `want data/0000.tar, have "../data/0000.tar"`, named("../data/0000.tar")),
		member("d20-other-last", "a member at the end that the format does not have", "format", `"foo" after data/0000.tar`, insert(-1, file{name: "foo"})),
		member("d20-other-before", "a member before the payload that the format does not have", "format", `want data/0000.tar, have "foo"`, insert(3, file{name: "foo"})),
		member("d20-data-foo", "a payload member by another name", "format", `want data/0000.tar, have "data/foo"`, insert(3, file{name: "data/foo"})),
		member("d20-header-again", "a second header", "format", `want data/0000.tar, have "header.tar"`, func(all []file) []file { return []file{all[0], all[1], all[2], all[2], all[3]} }),
		member("d20-signature-late", "a signature after the header", "format", `want data/0000.tar, have "manifest.sig"`, insert(3, file{name: "manifest.sig", body: "AAAA"})),
		{name: "d21-suffix", about: "gzip in a payload member that is not called .gz", expect: "format", says: "data/0000.tar: malformed", data: parts{packData: func(s string) string { return storedGzip(s) + strings.Repeat("\xff", block) }}.build()},
		{name: "d21-suffix-other", about: "no gzip in a payload member that is called .gz", expect: "format", says: "data/0000.tar.gz: malformed", data: parts{dataName: "data/0000.tar.gz"}.build()},
		{name: "d21-suffix-unknown", about: "a suffix that the format does not have", expect: "format", says: `want data/0000.tar, have "data/0000.tar.bz2"`, data: parts{dataName: "data/0000.tar.bz2"}.build()},
		{name: "d22-cut-data", about: "cut in the payload", expect: "truncated", says: "rootfs.ext4: artifact ends too early", data: parts{cut: 3*block + 512 + 500}.build()},
		{name: "d22-cut-header", about: "cut in the header", expect: "truncated", says: "header.tar: artifact ends too early", data: parts{cut: 6 * block, noData: true}.build()},
		{name: "d22-inner-cut", about: "the payload's archive is cut in the file, the outer one is whole", expect: "truncated", says: "artifact ends too early",
			data: parts{data: []file{{name: "rootfs.ext4", body: goodImage, size: "00000010000"}}, dataEnd: end}.build()},
		{name: "d22-inner-no-end", about: "the payload's archive has no end", expect: "truncated", says: "data/0000.tar: artifact ends too early: the end of the archive is missing", data: parts{dataEnd: end[:block]}.build()},
		{name: "d23-empty", about: "nothing at all", expect: "truncated", says: "artifact ends too early", data: []byte{}},
		{name: "d-bytes-behind", about: "a byte after the end of the payload's archive", expect: "format", says: "data/0000.tar: malformed artifact: byte 2048, after the end of the archive", data: parts{dataEnd: end + "x"}.build()},
		{name: "d-zeros-behind", about: "zeros after the end of the payload's archive", expect: "ok", data: parts{dataEnd: end + end}.build()},
		{name: "d-dirty-padding", about: "a byte of the padding of the image is not zero", expect: "format", says: "padding",
			data: parts{data: []file{{name: "rootfs.ext4", body: goodImage, dirty: true}}}.build()},
		{name: "d-sparse", about: "a sparse file in the manner of GNU tar", expect: "format", says: "not a regular file",
			data: parts{data: []file{{name: "rootfs.ext4", kind: 'S', spoil: func(h []byte) { copy(h[257:], "ustar  \x00") }}}}.build()},
	}
}

func containerVectors() []vector {
	member := func(name, about, expect, says string, spoil func([]file) []file) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{members: spoil}.build()}
	}
	swap := func(i, j int) func([]file) []file {
		return func(all []file) []file { all[i], all[j] = all[j], all[i]; return all }
	}
	fill := func(i, n int) func([]file) []file {
		return func(all []file) []file { all[i].body = strings.Repeat(" ", n); return all }
	}
	return []vector{
		{name: "c-good", about: "what most of the others spoil", expect: "ok", data: parts{}.build()},
		member("c-dot-slash", "names that begin with ./", "format", `want version, have "./version"`, func(all []file) []file {
			for i := range all {
				all[i].name = "./" + all[i].name
			}
			return all
		}),
		member("c-folder", "a folder entry", "format", `"data/": malformed artifact: not a regular file`, insert(3, file{name: "data/", kind: '5'})),
		member("c-manifest-first", "the manifest before version", "format", `want version, have "manifest"`, swap(0, 1)),
		member("c-header-early", "the header before the manifest", "format", `want manifest, have "header.tar"`, swap(1, 2)),
		member("c-payload-early", "the payload before the header", "format", `want header.tar, have "data/0000.tar"`, swap(2, 3)),
		member("c-version-only", "nothing after version", "format", "want manifest, have the end", func(all []file) []file { return all[:1] }),
		member("c-no-header", "nothing after the manifest", "format", "want header.tar, have the end", func(all []file) []file { return all[:2] }),
		member("c-version-link", "version is a link", "format", "not a regular file", func(all []file) []file { all[0].kind, all[0].body = '2', ""; return all }),
		member("c-contiguous", "a contiguous file, which is history", "format", "not a regular file", func(all []file) []file { all[3].kind = '7'; return all }),
		member("c-pax-global", "a global PAX header", "format", "not a regular file", insert(0, file{name: "pax_global_header", kind: 'g', body: "17 comment=hello\n"})),
		member("c-pax-mtime", "a PAX header with a time", "ok", "", insert(3, paxHeader("mtime=1700000000.5"))),
		member("c-pax-size", "a PAX header with another size than the header it belongs to", "format", "its size is in a PAX record", insert(3, paxHeader("size=2048"))),
		member("c-pax-sparse", "a PAX header that makes a file sparse", "format", "a sparse file", insert(3, paxHeader("GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.size=4096", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,2048"))),
		member("c-pax-name", "a PAX header with another name", "format", `want data/0000.tar, have "foo"`, insert(3, paxHeader("path=foo"))),
		member("c-bad-checksum", "a tar header whose own checksum is wrong", "format", "invalid tar header", func(all []file) []file {
			all[2].size = "0000000700x"
			return all
		}),
		member("c-negative-size", "a negative size", "format", "invalid tar header", func(all []file) []file {
			all[2].spoil = func(h []byte) { copy(h[124:], bytes.Repeat([]byte{0xff}, 12)) }
			return all
		}),
		member("c-huge-header", "a header that says it has 1 EiB", "limit", "header.tar: limit exceeded", func(all []file) []file {
			all[2].spoil = func(h []byte) {
				copy(h[124:], "\x80\x00\x00\x00")
				binary.BigEndian.PutUint64(h[128:], 1<<60)
			}
			return all
		}),
		member("c-dirty-padding", "a byte of the padding of version is not zero", "format", "padding before offset 1024 is not zero", func(all []file) []file { all[0].dirty = true; return all }),
		member("c-dirty-padding-manifest", "a byte of the padding of the manifest is not zero", "format", "padding before offset 2048 is not zero", func(all []file) []file { all[1].dirty = true; return all }),
		{name: "c-no-end", about: "no end of the archive", expect: "truncated", says: "the end of the archive is missing", data: parts{cut: 2 * block}.build()},
		{name: "c-half-end", about: "one block of zeros", expect: "truncated", says: "the end of the archive is missing", data: parts{cut: block}.build()},
		{name: "c-zeros-behind", about: "zeros up to 10 KiB, as GNU tar writes them", expect: "ok", data: parts{end: strings.Repeat("\x00", 10240-8*block)}.build()},
		{name: "c-byte-behind", about: "a byte after the end", expect: "format", says: "after the end of the archive, is not zero", data: parts{end: end + "\n"}.build()},
		{name: "c-archive-behind", about: "a second artifact after the end", expect: "format", says: "after the end of the archive, is not zero", data: append(parts{}.build(), parts{}.build()...)},
		{name: "c-limit-version", about: "a version of 1 KiB and a byte", expect: "limit", says: "version: limit exceeded: 1025 bytes", data: parts{version: versionMember + strings.Repeat(" ", 1025-len(versionMember))}.build()},
		{name: "c-limit-version-just", about: "a version of 1 KiB", expect: "ok", data: parts{version: versionMember + strings.Repeat(" ", 1024-len(versionMember))}.build()},
		member("c-limit-manifest", "a manifest of 64 KiB and a byte", "limit", "manifest: limit exceeded: 65537 bytes", fill(1, 64<<10+1)),
		{name: "c-limit-signature", about: "a signature of 8 KiB and a byte", expect: "limit", says: "manifest.sig: limit exceeded: 8193 bytes", data: parts{sign: func(string) string { return strings.Repeat("A", 8193) }}.build()},
		{name: "c-header-gz", about: "a compressed header beside a payload that is not", expect: "ok", data: parts{headerName: "header.tar.gz", packHeader: storedGzip}.build()},
		{name: "c-data-gz", about: "a compressed payload beside a header that is not", expect: "ok", data: parts{dataName: "data/0000.tar.gz", packData: storedGzip}.build()},
		{name: "c-augmented", about: "an augmented artifact", expect: "unsupported", inspect: "ok", says: "manifest-augment", data: augmented(nil)},
		{name: "c-augmented-zst", about: "an augmented artifact with its headers in zstd", expect: "unsupported", inspect: "ok", says: "manifest-augment", data: augmentedIn(".zst", packedRuns, nil)},
		{name: "c-augmented-sum", about: "an augmented header that is not what its manifest says", expect: "unsupported", inspect: "checksum", says: "augment",
			data: augmented(func(all []file) []file { all[4].body += end; return all })},
		{name: "c-augmented-no-header", about: "an augmented manifest without its header", expect: "unsupported", inspect: "format", says: "augment",
			data: augmented(func(all []file) []file { return slices.Delete(all, 4, 5) })},
		{name: "c-augmented-listed-twice", about: "a file that both manifests list", expect: "unsupported", inspect: "format", says: "augment",
			data: augmented(func(all []file) []file { all[2].body += sumOf("1") + "  data/0000/a\n"; return all })},
		{name: "c-augmented-missing-file", about: "a file that the augmented manifest lists is not there", expect: "unsupported", inspect: "format", says: "",
			data: augmented(func(all []file) []file { all[2].body += sumOf("1") + "  data/0000/c\n"; return all })},
		member("c-augment-header-only", "an augmented header without its manifest", "format", `want data/0000.tar, have "header-augment.tar"`, insert(3, file{name: "header-augment.tar", body: end})),
	}
}

// paxHeader is an extended header of records, for the member that follows.
func paxHeader(records ...string) file {
	var body string
	for _, r := range records {
		n := len(r) + 3
		for ; len(fmt.Sprintf("%d %s\n", n, r)) != n; n++ {
		}
		body += fmt.Sprintf("%d %s\n", n, r)
	}
	return file{name: "PaxHeaders.0/x", kind: 'x', body: body}
}

// augmented returns an artifact of a module with a file that the signed manifest lists, a, and one that the other lists, b.
func augmented(spoil func([]file) []file) []byte {
	return augmentedIn("", func(s string) string { return s }, spoil)
}

// augmentedIn is augmented with both headers packed.
func augmentedIn(suffix string, pack func(string) string, spoil func([]file) []file) []byte {
	header := pack(ustar(file{name: "header-info", body: `{"payloads":[{"type":"other"}]}`}, file{name: "headers/0000/type-info", body: `{"type":"other","artifact_provides":{"x":"y"}}`}) + end)
	manifest := sumOf("2") + "  data/0000/b\n" + sumOf(header) + "  header-augment.tar" + suffix + "\n"
	return parts{headerName: "header.tar" + suffix, packHeader: pack, info: moduleInfo, typeInfo: moduleType, data: []file{{name: "a", body: "1"}, {name: "b", body: "2"}},
		manifest: func(s string) string { return replace(sumOf("2")+"  data/0000/b\n", "")(s) },
		members: func(all []file) []file {
			all = insert(2, file{name: "manifest-augment", body: manifest})(all)
			all = insert(4, file{name: "header-augment.tar" + suffix, body: header})(all)
			if spoil != nil {
				all = spoil(all)
			}
			return all
		}}.build()
}

func signatureVectors() []vector {
	signed := func(name, about, expect, inspect, says, key string, sign func(string) string) vector {
		return vector{name: name, about: about, expect: expect, inspect: inspect, says: says, key: key, data: parts{sign: sign}.build()}
	}
	spoil := func(f func(string) string) func(string) string {
		return func(manifest string) string { return f(testKey("rsa2048").base64(manifest)) }
	}
	return []vector{
		signed("s-rsa2048", "RSA, 2048 bits", "ok", "", "", "rsa2048", testKey("rsa2048").base64),
		signed("s-rsa3072", "RSA, 3072 bits", "ok", "", "", "rsa3072", testKey("rsa3072").base64),
		signed("s-p256", "ECDSA P-256", "ok", "", "", "p256", testKey("p256").base64),
		signed("s-other-key", "signed with another key", "untrusted", "ok", "verify manifest: signature is not trusted", "rsa2048", testKey("rsa3072").base64),
		signed("s-other-manifest", "the signature of another manifest", "untrusted", "ok", "verify manifest: signature is not trusted", "rsa2048", func(s string) string { return testKey("rsa2048").base64(s + "\n") }),
		{name: "s-unsigned", about: "no signature where one is asked for", expect: "unsigned", inspect: "ok", says: "verify manifest: artifact is not signed", key: "rsa2048", data: parts{}.build()},
		{name: "s-manifest-changed", about: "a manifest that was changed after it was signed", expect: "untrusted", inspect: "checksum", key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { all[1].body = replace(sumOf(goodImage), sumOf("x"))(all[1].body); return all }}.build()},
		{name: "s-image-changed", about: "an image that was changed after it was signed", expect: "checksum", says: "rootfs.ext4: checksum", key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { all[4].body = replace("system", "sYstem")(all[4].body); return all }}.build()},
		{name: "s-header-changed", about: "a header that was changed after it was signed", expect: "checksum", says: "header.tar: checksum", key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { all[3].body = replace("rpi3", "rpi4")(all[3].body); return all }}.build()},
		signed("s-newline", "a newline after the base64", "format", "", "manifest.sig: malformed artifact: a line break", "rsa2048", spoil(func(s string) string { return s + "\n" })),
		signed("s-wrapped", "the base64 in lines of 64", "format", "", "manifest.sig: malformed artifact: a line break", "rsa2048", spoil(func(s string) string { return s[:64] + "\n" + s[64:] })),
		signed("s-space", "a space after the base64", "format", "", "manifest.sig: malformed artifact: base64", "rsa2048", spoil(func(s string) string { return s + " " })),
		signed("s-url-alphabet", "the alphabet for addresses", "format", "", "manifest.sig: malformed artifact: base64", "rsa2048", spoil(func(s string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(s) })),
		signed("s-no-padding", "base64 without padding", "format", "", "manifest.sig: malformed artifact: base64", "rsa2048", spoil(func(s string) string { return strings.TrimRight(s, "=") })),
		signed("s-stray-bits", "base64 whose last character has bits to spare", "format", "", "manifest.sig: malformed artifact: base64", "", func(string) string { return "AB==" }),
		signed("s-binary", "no base64", "format", "", "manifest.sig: malformed artifact: base64", "rsa2048", spoil(func(s string) string { b, _ := base64.StdEncoding.DecodeString(s); return string(b[:255]) + "\xff" })),
		signed("s-empty", "a signature of no bytes, which must not pass for none", "format", "", "manifest.sig: malformed artifact: the signature is empty", "", func(string) string { return "" }),
		{name: "s-twice", about: "two signatures", expect: "format", says: `want header.tar, have "manifest.sig"`, key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { return insert(3, all[2])(all) }}.build()},
		{name: "s-early", about: "a signature before the manifest", expect: "format", says: `want manifest, have "manifest.sig"`, key: "rsa2048",
			data: parts{sign: testKey("rsa2048").base64, members: func(all []file) []file { all[1], all[2] = all[2], all[1]; return all }}.build()},
	}
}

// Compressed streams are assembled by hand from blocks that are not compressed, so that the vectors do not change with a compressor.

// storedGzip returns s as a gzip stream.
func storedGzip(s string) string {
	b := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	rest := s
	for {
		n := min(len(rest), 0xffff)
		final := byte(0)
		if n == len(rest) {
			final = 1
		}
		b = append(b, final)
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = binary.LittleEndian.AppendUint16(b, ^uint16(n))
		b = append(b, rest[:n]...)
		if rest = rest[n:]; final == 1 {
			break
		}
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(s)))
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(s))))
}

// rawZstd returns s as a zstd frame of one raw block, with the descriptor and header bytes given.
func rawZstd(s string, header ...byte) string {
	b := append([]byte{0x28, 0xb5, 0x2f, 0xfd}, header...)
	n := uint32(len(s))<<3 | 1
	return string(append(b, byte(n), byte(n>>8), byte(n>>16))) + s
}

// rawXZ returns s as an xz stream with CRC32, of one block of LZMA2 chunks that are not compressed, with the dictionary size given in
// the code of the format.
func rawXZ(s string, dict byte) string {
	chunk := append([]byte{1, byte((len(s) - 1) >> 8), byte(len(s) - 1)}, s...)
	return xzHolding(string(append(chunk, 0)), []byte(s), dict)
}

// xzHolding returns LZMA2 chunks as an xz stream of one block with the sums of what they hold.
func xzHolding(chunks string, holds []byte, dict byte) string {
	crc := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	flags := []byte{0, 1}
	head := append([]byte("\xfd7zXZ\x00"), crc(flags)...)
	body := append(crc([]byte{2, 0, 0x21, 1, dict, 0, 0, 0}), chunks...)
	unpadded := uint64(len(body) + 4)
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	body = binary.LittleEndian.AppendUint32(body, crc32.ChecksumIEEE(holds))
	index := binary.AppendUvarint([]byte{0, 1}, unpadded)
	index = binary.AppendUvarint(index, uint64(len(holds)))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = crc(index)
	foot := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	foot = append(foot, flags...)
	foot = append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(foot)), foot...)
	return string(slices.Concat(head, body, index, foot, []byte("YZ")))
}

func streamVectors() []vector {
	data := func(name, about, expect, says, suffix string, pack func(string) string) vector {
		return vector{name: name, about: about, expect: expect, says: says, data: parts{dataName: "data/0000.tar" + suffix, packData: pack}.build()}
	}
	zst := func(s string) string { return rawZstd(s, 0x00, 0x68) } // a window of 8 MiB
	xz := func(s string) string { return rawXZ(s, 28) }            // a dictionary of 64 MiB
	spoilAt := func(s string, i int) string {
		b := []byte(s)
		if i < 0 {
			i += len(b)
		}
		b[i] ^= 1
		return string(b)
	}
	return []vector{
		data("z-gzip", "gzip", "ok", "", ".gz", storedGzip),
		data("z-gzip-members", "gzip in two members", "ok", "", ".gz", func(s string) string { return storedGzip(s[:700]) + storedGzip(s[700:]) }),
		data("z-gzip-crc", "gzip with a wrong CRC", "checksum", "data/0000.tar.gz", ".gz", func(s string) string { return spoilAt(storedGzip(s), -8) }),
		data("z-gzip-length", "gzip with a wrong length", "checksum", "data/0000.tar.gz", ".gz", func(s string) string { return spoilAt(storedGzip(s), -1) }),
		data("z-gzip-cut", "gzip without its last four bytes", "truncated", "data/0000.tar.gz: artifact ends too early", ".gz", func(s string) string { s = storedGzip(s); return s[:len(s)-4] }),
		data("z-gzip-behind", "a byte after the gzip stream", "format", "data/0000.tar.gz", ".gz", func(s string) string { return storedGzip(s) + "xxxxxxxxxx" }),
		data("z-gzip-empty", "a payload member of no bytes", "truncated", "data/0000.tar.gz: artifact ends too early", ".gz", func(string) string { return "" }),
		data("z-zstd", "zstd with a window of 8 MiB", "ok", "", ".zst", zst),
		data("z-zstd-frames", "zstd in two frames", "ok", "", ".zst", func(s string) string { return zst(s[:700]) + zst(s[700:]) }),
		data("z-zstd-skippable", "zstd with a skippable frame", "ok", "", ".zst", func(s string) string { return zst(s) + "\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" }),
		data("z-zstd-window", "zstd with a window of 9 MiB", "limit", "data/0000.tar.zst", ".zst", func(s string) string { return rawZstd(s, 0x00, 0x69) }),
		data("z-zstd-dictionary", "zstd with a dictionary", "unsupported", "data/0000.tar.zst", ".zst", func(s string) string { return rawZstd(s, 0x01, 0x68, 7) }),
		data("z-zstd-crc", "zstd with a wrong checksum", "checksum", "data/0000.tar.zst", ".zst", func(s string) string { return rawZstd(s, 0x04, 0x68) + "abcd" }),
		data("z-zstd-cut", "zstd without its last byte", "truncated", "artifact ends too early", ".zst", func(s string) string { s = zst(s); return s[:len(s)-1] }),
		data("z-zstd-behind", "bytes after the zstd frame", "format", "data/0000.tar.zst", ".zst", func(s string) string { return zst(s) + "xxxxxxxxxx" }),
		data("z-zstd-empty", "a payload member of no bytes", "truncated", "data/0000.tar.zst", ".zst", func(string) string { return "" }),
		data("z-xz", "xz with a dictionary of 64 MiB", "ok", "", ".xz", xz),
		data("z-xz-streams", "xz in two streams, with padding", "ok", "", ".xz", func(s string) string { return xz(s[:700]) + "\x00\x00\x00\x00" + xz(s[700:]) }),
		data("z-xz-dictionary", "xz with a dictionary of 96 MiB", "limit", "data/0000.tar.xz", ".xz", func(s string) string { return rawXZ(s, 29) }),
		data("z-xz-crc", "xz with a wrong CRC", "checksum", "data/0000.tar.xz", ".xz", func(s string) string { return spoilAt(xz(s), 2077) }),
		data("z-xz-cut", "xz without its last byte", "truncated", "data/0000.tar.xz", ".xz", func(s string) string { s = xz(s); return s[:len(s)-1] }),
		data("z-xz-behind", "bytes after the xz stream", "format", "data/0000.tar.xz", ".xz", func(s string) string { return xz(s) + "xxxxxxxxxxxx" }),
		data("z-xz-empty", "a payload member of no bytes", "truncated", "data/0000.tar.xz", ".xz", func(string) string { return "" }),
		{name: "z-header-zst", about: "a header in zstd", expect: "ok", data: parts{headerName: "header.tar.zst", packHeader: zst}.build()},
		{name: "z-header-xz", about: "a header in xz", expect: "ok", data: parts{headerName: "header.tar.xz", packHeader: xz}.build()},
		{name: "z-header-behind", about: "bytes after the gzip stream of the header", expect: "format", says: "header.tar.gz", data: parts{headerName: "header.tar.gz", packHeader: func(s string) string { return storedGzip(s) + "xxxxxxxxxx" }}.build()},
	}
}
