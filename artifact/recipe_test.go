package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// A Writer that is told the Recipe makes the same artifact again, to the last byte where the payload is compressed at the same level.
func TestRecipe(t *testing.T) {
	when := time.Unix(1700000000, 0)
	for _, c := range allCompressions {
		for _, h := range []Header{
			{Name: "rel-1", DeviceTypes: []string{"bench"}, Type: RootFS, Clears: []string{"*"}, HasClears: true},
			{Name: "rel-1", DeviceTypes: []string{"bench"}, Type: "files", MetaData: json.RawMessage(`{"b":1,"a":[2]}`)},
			{Name: "rel-1", DeviceTypes: []string{"bench"}, Provides: map[string]string{"a": "b"}},
		} {
			write := func(o Options) []byte {
				var b bytes.Buffer
				o.TempDir = t.TempDir()
				w := Create(&b, h, o)
				if h.Type != "" {
					w.AddScript("ArtifactInstall_Enter_01", 4, strings.NewReader("true"))
					w.Add("f", 5, strings.NewReader("hello"))
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if w.Size() != int64(b.Len()) {
					t.Errorf("%s %q: Size is %d, have %d bytes", c, h.Type, w.Size(), b.Len())
				}
				return b.Bytes()
			}
			one := write(Options{Compression: c, ModTime: when})
			r, err := Open(bytes.NewReader(one), anybody{})
			if err != nil {
				t.Fatal(err)
			}
			recipe := r.Recipe()
			if !recipe.Exact || !recipe.ModTime.Equal(when) {
				t.Errorf("%s %q: recipe is %v", c, h.Type, recipe)
			}
			again, err := Open(bytes.NewReader(write(Options{Compression: recipe.Compression, ModTime: recipe.ModTime})), anybody{})
			if err != nil {
				t.Fatal(err)
			}
			if again.ManifestSum() != r.ManifestSum() {
				t.Errorf("%s %q: the recipe %v makes another manifest", c, h.Type, recipe)
			}
		}
	}
}

// What is too large is not written at all, and one byte decides.
func TestMaxSize(t *testing.T) {
	write := func(max int64) (*Writer, int, error) {
		var b bytes.Buffer
		w := Create(&b, Header{Name: "rel-1", DeviceTypes: []string{"bench"}, Type: "files"}, Options{TempDir: t.TempDir(), MaxSize: max})
		w.Add("f", 5, strings.NewReader("hello"))
		err := w.Close()
		return w, b.Len(), err
	}
	w, n, err := write(0)
	if err != nil || w.Size() != int64(n) || n == 0 {
		t.Fatalf("%d bytes, Size %d: %v", n, w.Size(), err)
	}
	size := w.Size()
	if _, n, err := write(size); err != nil || int64(n) != size {
		t.Errorf("at its size: %d bytes, %v", n, err)
	}
	w, n, err = write(size - 1)
	if n != 0 || w.Size() != size {
		t.Errorf("a byte too large: wrote %d bytes, Size %d", n, w.Size())
	}
	if !errors.Is(err, ErrSize) {
		t.Errorf("%v, want %v", err, ErrSize)
	}
}
