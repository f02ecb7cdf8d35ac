package install

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// FuzzState: a state.json that is understood is written the same, with all that this release does not know.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"schema":1,"artifact":"rel-1","provides":{"a":"b"},"slots":{"A":{"status":"good"}},"floor":"1.2"}`))
	f.Add([]byte(`{"schema":1,"future":[1],"trial":{"id":"x","artifact":"rel-2","future":{},"clears":["*"],"before":{"a":1},"uptime":1.5}}`))
	f.Add([]byte(`{"schema":1,"failed":[{"manifest":"0","count":2}],"backup":{"geometry":"g"},"drills":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		load := func(b []byte) (*State, error) {
			if err := os.WriteFile(filepath.Join(dir, "state.json"), b, 0o600); err != nil {
				t.Fatal(err)
			}
			return loadState(dir)
		}
		s, err := load(b)
		if err != nil {
			return
		}
		once, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%q is understood and cannot be written: %v", b, err)
		}
		if s, err = load(once); err != nil {
			t.Fatalf("%q became %q, which is not understood: %v", b, once, err)
		}
		if twice, err := json.Marshal(s); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q became %q, %v", once, twice, err)
		}
	})
}
