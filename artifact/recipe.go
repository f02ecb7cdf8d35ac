package artifact

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// A Recipe is how a Writer may have been told to write an artifact.
type Recipe struct {
	Compression Compression
	ModTime     time.Time

	// Exact says that a Writer that is told so makes the same header, byte for byte, and with the same files the same manifest. Otherwise
	// another tool wrote the artifact: what a Writer makes says the same in other bytes.
	Exact bool
}

// Recipe finds out how the artifact was written, by writing its header once more. Levels of one compression that make the same header are
// not told apart.
func (r *Reader) Recipe() Recipe {
	name, when := r.a.listed.header, r.a.walked[0].ModTime // a Writer gives every member the same time
	var likely Recipe
	for _, c := range []Compression{None, Gzip, LZMA, ZstdFast, ZstdFastest, ZstdBetter, ZstdBest} {
		if suffix, _ := c.suffix(); name != "header.tar"+suffix {
			continue
		}
		// What a Writer refuses it did not write.
		if header, err := r.rewrite(Options{Compression: c, ModTime: when}); err == nil && bytes.Equal(header, r.a.raw) {
			return Recipe{Compression: c, ModTime: when, Exact: true}
		}
		if likely.Compression == "" {
			likely = Recipe{Compression: c, ModTime: when}
		}
	}
	return likely
}

// rewrite returns the header as a Writer makes it.
func (r *Reader) rewrite(o Options) ([]byte, error) {
	w := Create(io.Discard, *r.a.header, o)
	defer w.Abort()
	err := r.Scripts(func(s Script, text io.Reader) error { return w.AddScript(s.Name, s.Size, text) })
	if err != nil || w.err != nil {
		return nil, errors.Join(err, w.err)
	}
	return w.buildHeader()
}
