package artifact

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the vectors that are built here to testdata/vectors")

const vectorDir = "../testdata/vectors"

// A vector is an artifact with a verdict. On disk it is NAME.mender beside NAME.txt, which has the fields that are not empty as
// "field: value", one a line.
type vector struct {
	name    string // its case in the list of rules, and what it is
	about   string
	rule    string // the section of the format's document, and its words
	expect  string // of Open: ok or a sentinel, by the word in outcomes
	inspect string // of Inspect, where it is not expect
	may     string // what a tolerant reader may do instead: accept or refuse
	says    string // what the message of a refusal must contain: the member and the rule
	key     string // the key in testdata/keys to verify with; none: anything is trusted
	data    []byte
}

var outcomes = map[string]error{
	"ok": nil, "unsigned": ErrUnsigned, "untrusted": ErrUntrusted, "checksum": ErrChecksum, "format": ErrFormat,
	"truncated": ErrTruncated, "limit": ErrLimit, "unsupported": ErrUnsupported,
}

// sidecar returns NAME.txt.
func (v vector) sidecar() string {
	var b strings.Builder
	for _, f := range v.fields() {
		if *f.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", f.name, *f.value)
		}
	}
	return b.String()
}

type field struct {
	name  string
	value *string
}

func (v *vector) fields() []field {
	return []field{{"about", &v.about}, {"rule", &v.rule}, {"expect", &v.expect}, {"inspect", &v.inspect}, {"may", &v.may}, {"key", &v.key}, {"says", &v.says}}
}

// readVector reads both files.
func readVector(t *testing.T, path string) vector {
	v := vector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		known := v.fields()
		i := slices.IndexFunc(known, func(f field) bool { return f.name == name })
		if i < 0 {
			t.Fatalf("%s: unknown field %q", path, name)
		}
		*known[i].value = value
	}
	if v.data, err = os.ReadFile(strings.TrimSuffix(path, ".txt") + ".mender"); err != nil {
		t.Fatal(err)
	}
	return v
}

// allVectors reads what is on disk.
func allVectors(t *testing.T) (all []vector) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(paths) < len(vectors()) {
		t.Fatalf("%d vectors in %s, want at least %d (%v)", len(paths), vectorDir, len(vectors()), err)
	}
	for _, path := range paths {
		all = append(all, readVector(t, path))
	}
	return all
}

// TestVectors reads every vector with Open and with Inspect.
func TestVectors(t *testing.T) {
	for _, v := range allVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			v.judge(t, "Open", v.expect, v.open())
			_, err := Inspect(bytes.NewReader(v.data))
			v.judge(t, "Inspect", or(v.inspect, v.expect), err)
		})
	}
}

// open reads all of the artifact as an installation would.
func (v vector) open() error {
	var trusted Verifier = anybody{}
	if v.key != "" {
		trusted = testKey(v.key)
	}
	r, err := Open(bytes.NewReader(v.data), trusted)
	for err == nil {
		var p *Payload
		if p, err = r.Next(); err == nil {
			_, err = io.Copy(io.Discard, p)
		}
	}
	if err == io.EOF {
		return nil
	}
	return err
}

func (v vector) judge(t *testing.T, who, expect string, err error) {
	t.Helper()
	want, ok := outcomes[expect]
	if !ok {
		t.Fatalf("unknown expectation %q", expect)
	}
	if want == nil && err != nil {
		t.Errorf("%s: %v, want none", who, err)
	}
	if want == nil {
		return
	}
	for word, s := range outcomes {
		if got := s != nil && errors.Is(err, s); got != (s == want) {
			t.Errorf("%s: %v; %s is %v, want %s", who, err, word, got, expect)
		}
	}
	if err != nil && !strings.Contains(err.Error(), v.says) {
		t.Errorf("%s: %v; want it to say %q", who, err, v.says)
	}
}

// TestVectorsAsBuilt compares the files with what is built here, and writes them with -update. Of those that Mender's tool made only what
// is said of them is built here.
func TestVectorsAsBuilt(t *testing.T) {
	seen := make(map[string]bool)
	for _, v := range vectors() {
		if seen[v.name] {
			t.Errorf("%s stands twice", v.name)
		}
		seen[v.name] = true
		v.asBuilt(t)
	}
	for _, v := range allVectors(t) {
		if strings.HasPrefix(v.name, "p-") {
			ruled(v).asBuilt(t)
		} else if !seen[v.name] {
			t.Errorf("%s is built nowhere", v.name)
		}
	}
}

func (v vector) asBuilt(t *testing.T) {
	t.Helper()
	path := filepath.Join(vectorDir, v.name)
	if *update {
		if err := errors.Join(os.WriteFile(path+".txt", []byte(v.sidecar()), 0o644), os.WriteFile(path+".mender", v.data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if have := readVector(t, path+".txt"); have.sidecar() != v.sidecar() || !bytes.Equal(have.data, v.data) {
		t.Errorf("%s is not what is built here: go test ./artifact -run AsBuilt -update", v.name)
	}
}
