package mender

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// bounded fails if f allocates more than n bytes.
func bounded(t *testing.T, n uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > n {
		t.Errorf("%d bytes were allocated, at most %d may be", got, n)
	}
}

// FuzzPairs: what is read of artifact_info and device_type, written again, reads the same.
func FuzzPairs(f *testing.F) {
	f.Add([]byte("# a device\ndevice_type=rpi3\n\nartifact_name = rel-1\r\n"))
	f.Add([]byte("a=b\na=c"))
	f.Add([]byte("=b\nc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "f")
		again := func(b []byte) (map[string]string, error) {
			must(t, os.WriteFile(path, b, 0o600))
			return readPairs(path)
		}
		bounded(t, 1<<20, func() {
			pairs, err := again(b)
			if err != nil {
				return
			}
			var text strings.Builder
			for k, v := range pairs {
				fmt.Fprintf(&text, "%s=%s\n", k, v)
			}
			if text.Len() > maxPairs {
				return // blanks that were cut off make room for more of them
			}
			if second, err := again([]byte(text.String())); err != nil || !maps.Equal(pairs, second) {
				t.Errorf("%q became %q, %v", pairs, second, err)
			}
		})
	})
}

// FuzzRecords: whatever a client recorded of an update, it is understood, or an error; never taken for none.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`{"Version":1,"ArtifactName":"rel-1","ArtifactTypeInfoProvides":{"a":"b"},"PayloadTypes":["rootfs-image"]}`))
	f.Add([]byte(`{"Version":2,"ArtifactName":"rel-1","PayloadTypes":["x"],"InState":"ArtifactCommit","Failed":true}`))
	f.Add([]byte(`{"Version":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, 64<<20, func() {
			var s Standalone
			if err := s.decode(b); err == nil && (s.Artifact == "" || len(s.Types) != 1 || s.Version < 1 || s.Version > 2) {
				t.Errorf("%q is understood as %+v", b, s)
			}
			provides := map[string]string{"before": "it"}
			if err := decode(b, &provides); err != nil && provides["before"] != "it" {
				t.Errorf("%q: %v, and something was changed", b, err)
			}
		})
	})
}
