package artifact

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A rule is what a vector is about. Its words are those of the format's own document (mender-artifact,
// Documentation/artifact-format-v3.md) where they stand in quotation marks; where the document is silent the rule is what readers in the
// field do, or what safety asks for, and says so.
type rule struct {
	prefix  string // of the names of the vectors that are about it; the longest one counts
	section string // of the document
	words   string
	may     string // "accept" or "refuse": what a tolerant reader may do, whatever is expected
}

// Nothing that was not verified is installed, and all readers that accept it understand the same: only then a tolerant reader may
// accept what is to be refused. It may refuse what is to be accepted only where older or smaller readers are known to do without.
const accept, refuse = "accept", "refuse"

const (
	exactly  = `"Contains the below content exactly"`
	listing  = `"formatted exactly like below"`
	sums     = `"contains checksums of the header, version and the data files that are part of the Artifact"`
	unlisted = `"if any file inside the archive appears that isn't listed in any of the manifest files, an error should be produced and the update should fail"`
	met      = `silent: what is listed must be there, or a file could be taken away`
	numbered = `"If any file appears in the data directory that doesn't have a corresponding header number (i.e. "0000") [...] an error should be produced and the update should fail"`
	oneType  = `"The first and the only required entry is the type of the payload corresponding to the type in header-info file"`
	ambigu   = `silent: a key that stands twice means two things to two readers`
	printed  = `silent: names are at most 256 bytes of printable characters, as mender-artifact 4.1.1 and later have it`
	behind   = `silent: nothing but zeros follows the end of an archive`
	regular  = `silent: members are regular files, and say their size once`
	bounded  = `silent: a reader bounds what it holds before anything is trusted`
	suffixes = `"the suffix corresponds to the compression method"`
	whole    = `silent: a compressed stream is whole, its own checks are right, and nothing follows it`
	ordering = `"Some ordering rules are enforced on the Artifact tar file": version, manifest, manifest.sig, header.tar, data`
	signing  = `"File containing the signature of manifest"`
	encoding = `"base64 encoded ecdsa or rsa signature": standard alphabet with padding, in one piece`
	exact    = `silent: names are compared as they stand; nothing else is in the tree`
	shortEnd = `silent: an archive ends with two blocks of zeros`
	plainNam = `silent: file names are of letters, digits, "_", "-", "." and ",", as mender-artifact's reader and writer have it`
)

var rules = []rule{
	{"v01", "version", exactly + ", as JSON", ""},
	{"v02", "version", exactly, accept},
	{"v03", "version", exactly + `: "version": 3`, ""},
	{"v03-version-fraction", "version", exactly + `: "version": 3`, accept},
	{"v0", "version", `"the version value is a way to extend/change the format later if needed"`, ""},
	{"v07", "version", `"The format value is to confirm that this is indeed a Mender Artifact file"`, ""},
	{"v07-format-case", "version", exactly, accept},
	{"v07-bytes", "version", exactly, accept},
	{"v08", "Ordering", `"version: First in .mender tar archive"`, ""},
	{"v09", "manifest", sums, ""},

	{"m0", "manifest", sums, ""},
	{"m02", "manifest", listing, accept},
	{"m05", "data", unlisted, ""},
	{"m06", "manifest", met, ""},
	{"m07", "manifest", "silent: a name is listed once", accept},
	{"m08", "manifest", `"the sum and the name of the file separated by the two spaces"`, accept},
	{"m08-three", "manifest", `"the sum and the name of the file separated by the two spaces"`, ""},
	{"m09", "manifest", listing, accept},
	{"m10", "manifest", listing, accept},
	{"m11", "manifest", listing, accept},
	{"m11-empty", "manifest", sums, ""},
	{"m12", "manifest", plainNam, accept},
	{"m13", "manifest", sums + ", and nothing else", ""},
	{"m14", "manifest", "silent: a name with data/0000/ is at most 100 characters, as Mender's client 4 and later has it", accept},
	{"m14-name-90", "manifest", "silent: a name with data/0000/ is at most 100 characters, as Mender's client 4 and later has it", ""},
	{"m-", "manifest", listing, ""},

	{"h01", "header-info", `"header-info must be the first file within header.tar"`, ""},
	{"h02", "Ordering", `"headers: After scripts"`, accept},
	{"h03", "header.tar", exact, accept},
	{"h04", "type-info", oneType, ""},
	{"h05", "Ordering", `"type-info: First in every xxxx bucket"`, accept},
	{"h06", "type-info", oneType, ""},
	{"h07", "header.tar", "silent: each member stands once", ""},
	{"h08", "header-info", `"Currently headers/0000 is supported exclusively"`, ""},
	{"h09", "header.tar", regular, accept},
	{"h10", "header.tar", exact, ""},
	{"h11", "header.tar", exact, ""},
	{"h12", "scripts", `"Each script corresponds to a Mender state according to the script API": State_Event_NN, then _ and a name, or nothing`, accept},
	{"h12-script-state", "scripts", `"States in parentheses are states that [...] are not included in the Artifact itself"`, accept},
	{"h12-script-evil", "scripts", "silent: a script is a file in the folder scripts", ""},
	{"h12-script-folder", "scripts", "silent: a script is a file in the folder scripts", ""},
	{"h12-script-link", "scripts", regular, ""},
	{"h12-scripts", "scripts", `"Each script corresponds to a Mender state according to the script API"`, ""},
	{"h12-null", "Empty payload artifacts", "silent: no script of a null payload is ever run", refuse},
	{"h13-bytes", "header.tar", behind, accept},
	{"h13-zeros", "header.tar", behind, ""},
	{"h13-no-end", "header.tar", shortEnd, accept},
	{"h14", "manifest", sums, ""},
	{"h-no", "meta-data", `"For rootfs-image there are no additional information needed and the file might be empty"`, ""},

	{"j-", "header-info", "silent: JSON of these types, and each value that is needed", ""},
	{"j-unknown", "header-info", "silent: a key that is not known is refused, as mender-artifact has it", accept},
	{"j-unknown-depends", "artifact_depends", `"will be installed, only if the device itself and the Artifact currently installed on the device are providing a full set of matching parameters": what is not understood is not met`, ""},
	{"j-twice", "header-info", ambigu, ""},
	{"j-case", "header-info", "silent: keys are compared as they stand", ""},
	{"j-bytes", "header-info", "silent: one JSON object, and nothing else", accept},
	{"j-white", "header-info", "silent: one JSON object, and nothing else; white space is no matter", ""},
	{"j-deep", "header-info", bounded, ""},
	{"j-name", "header-info", printed, ""},
	{"j-name-257", "header-info", printed, accept},
	{"j-group", "header-info", printed, ""},
	{"j-device", "artifact_depends", `"at least device_type is present", a list of strings`, ""},
	{"j-depends-missing", "artifact_depends", `"at least device_type is present"`, ""},
	{"j-depends-null", "artifact_depends", `"at least device_type is present"`, ""},
	{"j-payload", "header-info", `"type is the type of payload contained within the image": a name, or null`, ""},
	{"j-payload-type-path", "header-info", `"all other strings will trigger use of external update modules": a name that leads elsewhere is the name of none`, refuse},
	{"j-payloads", "header-info", `"The payloads list should have only one entry with the payload contained within the Artifact"`, ""},
	{"j-type", "type-info", oneType, ""},
	{"j-type-empty", "type-info", oneType + `; tools before 4.3.1 wrote "" for a root file system`, refuse},
	{"j-type-empty-module", "type-info", oneType, ""},
	{"j-type-unknown", "type-info", `"It can also contain some additional parameters"`, refuse},
	{"j-type-twice", "type-info", ambigu, ""},
	{"j-provides-list", "type-info", `"the value is either a string, or an array of strings", which no reader of provides accepts`, accept},
	{"j-provides-number", "type-info", `"the value is either a string, or an array of strings"`, ""},
	{"j-provides-reserved", "type-info", `"a set of parameters specific for a given payload type", not those of header-info`, ""},
	{"j-provides-twice", "type-info", ambigu, ""},
	{"j-depends", "type-info", `"the value is either a string, or an array of strings"`, ""},
	{"j-depends-all", "artifact_depends", `"will be installed, only if the device itself and the Artifact currently installed on the device are providing a full set of matching parameters": not on any device`, refuse},
	{"j-depends-string", "type-info", `"the value is either a string, or an array of strings"; a device that does not provide it refuses`, refuse},
	{"j-depends-list", "type-info", `"the value is either a string, or an array of strings"`, refuse},
	{"j-depends-empty", "type-info", `"the value is either a string, or an array of strings": one of none is never met`, accept},
	{"j-depends-reserved", "type-info", `"a set of parameters specific for a given payload type", not those of header-info`, ""},
	{"j-clears", "type-info", `"It is a string list"`, ""},
	{"j-meta", "meta-data", `"Format: JSON", an object`, ""},
	{"j-meta-object", "meta-data", `"It can only contain top level keys with values that are strings, numbers, or lists of strings and numbers", which tools since 3.11.2 do not insist on`, refuse},
	{"j-meta-behind", "meta-data", `"Format: JSON", one object`, accept},
	{"j-meta-null", "Empty payload artifacts", `"do not contain any meta-data"`, ""},
	{"j-meta-deep", "meta-data", bounded, ""},
	{"j-null", "type-info", oneType, ""},

	{"d01", "data", unlisted, ""},
	{"d02", "data", unlisted, ""},
	{"d03", "data", plainNam, accept},
	{"d04", "data", plainNam, ""},
	{"d05", "data", "silent: a file stands once", accept},
	{"d06", "manifest", sums, ""},
	{"d07", "data", regular, ""},
	{"d08", "data", unlisted, ""},
	{"d09", "data", `"Directory containing image files", of any size`, ""},
	{"d10", "manifest", "silent: any order is as good", ""},
	{"d1", "data", `"<image-file (ext4)>": a root file system is one file`, ""},
	{"d13", "Empty payload artifacts", `"data/xxxx.tar archive must be missing or empty"`, ""},
	{"d14", "manifest", met, ""},
	{"d15-null", "Empty payload artifacts", `"data/xxxx.tar archive must be missing or empty"`, refuse},
	{"d15-module-no-data", "data", `"It is legal for a payload file to not contain any data files at all"; Mender's clients since 4 ask for the empty archive`, accept},
	{"d15-module-no-files", "data", `"It is legal for a payload file to not contain any data files at all"`, ""},
	{"d16", "data", numbered, ""},
	{"d17", "data", "silent: the payload stands once", ""},
	{"d18", "data", `"where xxxx are four digits [...] Currently 0000.tar is supported exclusively"`, ""},
	{"d19", "data", numbered, ""},
	{"d20", "Ordering", `"If any non-data file is found after a data file, this will cause the update to immediately fail"`, ""},
	{"d20-other-before", "Ordering", exact, ""},
	{"d20-data-foo", "data", `"Each file in the data folder should be a file of the format xxxx.tar"`, ""},
	{"d20-header", "Ordering", ordering, ""},
	{"d20-signature", "Ordering", ordering, ""},
	{"d21", "Compression", suffixes, accept},
	{"d21-suffix-unknown", "Compression", suffixes, ""},
	{"d22", "data", "silent: an artifact that ends too early is none", ""},
	{"d22-inner-no-end", "data", shortEnd, accept},
	{"d23", "version", exactly, ""},
	{"d-bytes", "data", behind, accept},
	{"d-zeros", "data", behind, ""},
	{"d-dirty", "data", "silent: padding is zero", accept},
	{"d-sparse", "data", regular, ""},

	{"c-", "Ordering", ordering, ""},
	{"c-dot", "Ordering", exact, ""},
	{"c-folder", "Ordering", regular, accept},
	{"c-manifest-prefix", "Ordering", exact, ""},
	{"c-signature-prefix", "Ordering", exact, ""},
	{"c-header-prefix", "Ordering", exact, ""},
	{"c-version-link", "Ordering", regular, ""},
	{"c-contiguous", "Ordering", regular, accept},
	{"c-pax", "Ordering", regular, ""},
	{"c-pax-global", "Ordering", regular, accept},
	{"c-pax-mtime", "Ordering", "silent: PAX records are part of tar", ""},
	{"c-pax-name", "Ordering", exact, ""},
	{"c-pax-bomb", "Ordering", bounded, accept},
	{"c-gnu", "Ordering", "silent: long names in the manner of GNU are part of tar", refuse},
	{"c-old", "Ordering", "silent: a header without a magic is part of tar", refuse},
	{"c-base256", "Ordering", "silent: sizes in base 256 are part of tar", refuse},
	{"c-bad", "Ordering", "silent: a tar header is as POSIX has it", ""},
	{"c-negative", "Ordering", "silent: a tar header is as POSIX has it", ""},
	{"c-huge", "header.tar", bounded, ""},
	{"c-dirty", "Ordering", "silent: padding is zero", accept},
	{"c-no-end", "Ordering", shortEnd, accept},
	{"c-half", "Ordering", shortEnd, accept},
	{"c-zeros", "Ordering", behind, ""},
	{"c-byte", "Ordering", behind, accept},
	{"c-archive", "Ordering", behind, accept},
	{"c-limit", "Ordering", bounded, accept},
	{"c-limit-version-just", "version", exactly + ", as JSON", ""},
	{"c-header-gz", "Compression", suffixes, ""},
	{"c-data-gz", "Compression", suffixes, ""},
	{"c-augmented", "manifest-augment", `"the checksums of the files which could change [...] and therefore which can not be signed explicitly": not for a device that installs what is signed`, accept},
	{"c-augmented-", "manifest-augment", sums + ", and so does that of the augmented part", ""},
	{"c-augmented-zst", "manifest-augment", suffixes, accept},
	{"c-augment-header", "Ordering", `"header-augment.tar: Optional after header.tar", if a manifest lists it`, ""},

	{"s-", "manifest.sig", signing, ""},
	{"s-newline", "manifest.sig", encoding, accept},
	{"s-wrapped", "manifest.sig", encoding, accept},
	{"s-space", "manifest.sig", encoding, accept},
	{"s-url", "manifest.sig", encoding, accept},
	{"s-no-padding", "manifest.sig", encoding, accept},
	{"s-stray", "manifest.sig", encoding, accept},
	{"s-binary", "manifest.sig", encoding, ""},
	{"s-empty", "manifest.sig", encoding, ""},
	{"s-twice", "Ordering", ordering, ""},
	{"s-early", "Ordering", `"manifest.sig: Optional after manifest"`, ""},
	{"s-unsigned", "manifest.sig", `"An Artifact is not required to contain a signature file", unless somebody asks for one`, ""},
	{"s-manifest", "manifest.sig", signing, ""},
	{"s-image", "manifest", sums, ""},
	{"s-header", "manifest", sums, ""},
	{"s-rsa-", "manifest.sig", `silent: RSASSA-PKCS1-v1_5 with SHA-256, and nothing else`, ""},
	{"s-p256-der", "manifest.sig", `silent: tokens write ECDSA in DER, and readers since 3.11.3 take it`, refuse},
	{"s-p256-der-behind", "manifest.sig", `silent: tokens write ECDSA in DER, and nothing after it`, ""},
	{"s-p256", "manifest.sig", `silent: ECDSA is r and s, 32 bytes each, with their leading zeros`, ""},

	{"z-gzip", "Compression", suffixes, ""},
	{"z-gzip-crc", "Compression", whole, accept},
	{"z-gzip-length", "Compression", whole, accept},
	{"z-gzip-cut", "Compression", whole, accept},
	{"z-gzip-behind", "Compression", whole, accept},
	{"z-gzip-empty", "Compression", whole, ""},
	{"z-gzip-bomb", "header.tar", bounded, accept},
	{"z-zstd", "Compression", `".zst (zstd) are also supported", since mender-artifact 3.10`, refuse},
	{"z-zstd-crc", "Compression", whole, accept},
	{"z-zstd-cut", "Compression", whole, ""},
	{"z-zstd-behind", "Compression", whole, accept},
	{"z-zstd-empty", "Compression", whole, ""},
	{"z-zstd-window", "Compression", bounded, accept},
	{"z-zstd-dictionary", "Compression", "silent: a stream needs nothing but itself", ""},
	{"z-zstd-bomb-header", "header.tar", bounded, accept},
	{"z-zstd-bomb-image", "manifest", sums + ", of whatever size", ""},
	{"z-xz", "Compression", suffixes, ""},
	{"z-xz-streams", "Compression", suffixes, refuse},
	{"z-xz-crc", "Compression", whole, accept},
	{"z-xz-cut", "Compression", whole, accept},
	{"z-xz-behind", "Compression", whole, accept},
	{"z-xz-empty", "Compression", whole, ""},
	{"z-xz-dictionary", "Compression", bounded, accept},
	{"z-header-zst", "Compression", `".zst (zstd) are also supported", since mender-artifact 3.10`, refuse},
	{"z-header-xz", "Compression", suffixes, ""},
	{"z-header-behind", "Compression", whole, accept},

	{"p-", "Mender Artifact file format", "what Mender's own tool writes is read", ""},
	{"p-bootstrap", "Empty payload artifacts", "what Mender's own tool writes is read, by clients since 3.5", refuse},
	{"p-rootfs-all", "artifact_depends", "what Mender's own tool writes is read; a device that does not provide what it depends on refuses", refuse},
	{"p-augmented", "manifest-augment", `"the checksums of the files which could change [...] and therefore which can not be signed explicitly": not for a device that installs what is signed`, accept},
	{"p-wrong-key", "manifest.sig", signing, ""},
}

// ruled returns v with the rule that it is about.
func ruled(v vector) vector {
	longest := -1
	for _, r := range rules {
		if strings.HasPrefix(v.name, r.prefix) && len(r.prefix) > longest {
			v.rule, v.may, longest = r.section+": "+r.words, r.may, len(r.prefix)
		}
	}
	return v
}

// TestRules: each vector has a rule, none has one that tells a tolerant reader to do what is expected of all, and no rule is without
// a vector.
func TestRules(t *testing.T) {
	used, count := make(map[string]bool), make(map[string]int)
	for _, v := range allVectors(t) {
		if v.rule == "" {
			t.Errorf("%s is about no rule", v.name)
		}
		if v.may == accept && v.expect == "ok" || v.may == refuse && v.expect != "ok" {
			t.Errorf("%s: expect %s, may %s", v.name, v.expect, v.may)
		}
		used[v.rule] = true
		count[v.name[:1]]++
	}
	readme, err := os.ReadFile(filepath.Join(vectorDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for letter, n := range count {
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\| `%s` \\| .* \\| %d \\|$", letter, n)).Match(readme) {
			t.Errorf("README.md does not say that %d begin with %s", n, letter)
		}
	}
	for _, r := range rules {
		if !used[r.section+": "+r.words] {
			t.Errorf("no vector is about %q", r.prefix)
		}
	}
}
