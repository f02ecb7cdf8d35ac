package install_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/plimsoll-ota/plimsoll/artifact"
)

// A footprint is what a device, and the process that updates it, take up.
type footprint struct {
	files, bytes int64 // of the state directory, beside the history
	history      int64 // in bytes
	heap         int64
	descriptors  int
	goroutines   int
}

func (r *rig) footprint() (f footprint) {
	r.Helper()
	r.must(filepath.WalkDir(r.path("state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f.files++
		switch {
		case e.Name() == "history.jsonl":
			f.history = info.Size()
		case info.Mode().IsRegular():
			f.bytes += info.Size()
		}
		return nil
	}))
	open, err := os.ReadDir("/proc/self/fd")
	r.must(err)
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what had a finalizer
	runtime.ReadMemStats(&m)
	f.heap, f.descriptors, f.goroutines = int64(m.HeapAlloc), len(open), runtime.NumGoroutine()
	return f
}

// TestManyInstalls installs a tiny payload again and again in one process: nothing
// grows.
func TestManyInstalls(t *testing.T) {
	settled, n := 20, 50
	if soak {
		settled, n = 150, 10_000 // by then the history was shortened once
	}
	r := newRig(t)
	r.program("modules/test", `#!/bin/sh
case "$1" in
Download) while read -r f < stream-next && [ -n "$f" ]; do read -r line < "$f"; done ;;
esac
`)
	r.dev.Modules.Dirs = []string{r.path("modules")}
	var arts [][]byte
	for _, name := range []string{"mod-1", "mod-2"} {
		arts = append(arts, r.tiny(name))
	}
	var early footprint
	for i := range n {
		r.install(arts[i%2], plain, nil)
		r.notes = nil
		if i == settled {
			early = r.footprint()
		}
	}
	late := r.footprint()
	if rep := r.status("A1"); rep.Artifact != "mod-2" {
		t.Errorf("installed %q", rep.Artifact)
	}
	t.Logf("after %d: %+v", settled, early)
	t.Logf("after %d: %+v", n, late)
	switch {
	case late.files > early.files, late.bytes > early.bytes+1<<10, late.history > 256<<10+4<<10:
		t.Error("the state directory grows")
	case late.heap > early.heap+2<<20:
		t.Error("the heap grows")
	case late.descriptors > early.descriptors:
		t.Error("files stay open")
	case late.goroutines > early.goroutines:
		t.Error("goroutines stay")
	}
}

func (r *rig) tiny(name string) []byte {
	r.Helper()
	var b bytes.Buffer
	w := artifact.Create(&b, artifact.Header{Name: name, Type: "test", DeviceTypes: []string{"rig"}}, artifact.Options{Compression: artifact.None, TempDir: r.dir})
	r.must(w.Add("payload", 3, bytes.NewReader([]byte("hi\n"))))
	r.must(w.Close())
	return b.Bytes()
}

// program writes a file that can be run.
func (r *rig) program(name, text string) {
	r.Helper()
	r.write(name, text)
	r.must(os.Chmod(r.path(name), 0o755))
}
