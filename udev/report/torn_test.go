package report

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// envelope puts an object into an envelope that is right.
func envelope(object string) string {
	return fmt.Sprintf(`{"report":%s,"sha256":"%x"}`, object, sha256.Sum256([]byte(object)))
}

// before is what a file may hold when a report is written over it.
func before(t testing.TB) map[string][]byte {
	old := sample()
	old.Revision, old.Final, old.Result, old.Code, old.Detail = 2, false, "restarting", "", ""
	longer := old
	longer.Detail = string(slices.Repeat([]byte("x"), 900))
	garbage := make([]byte, fileSize)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(garbage); i++ {
		garbage[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"blank": blank(fileSize), "zeros": make([]byte, fileSize), "erased": slices.Repeat([]byte{0xff}, fileSize), "garbage": garbage,
		"an older revision": padded(encode(t, old, nil)), "a longer one": padded(encode(t, longer, nil)), "nothing": {},
	}
}

// wholeOrNothing: b is the new report or the old one, as they were, or none.
func wholeOrNothing(t *testing.T, what string, b, old []byte) {
	t.Helper()
	s, err := Parse(b)
	if err != nil {
		return
	}
	if was, err := Parse(old); err == nil && cmp.Equal(was.Report, s.Report) {
		return
	}
	if d := cmp.Diff(sample(), s.Report); d != "" {
		t.Fatalf("%s: read as a report that nobody wrote:\n%s", what, d)
	}
}

// TestTornAtEveryByte: the writing stops at a byte, whatever was there before.
func TestTornAtEveryByte(t *testing.T) {
	b := padded(encode(t, sample(), newKey(1)))
	for name, old := range before(t) {
		for n := range b {
			torn := append(slices.Clone(b[:n]), old[min(n, len(old)):]...)
			wholeOrNothing(t, fmt.Sprintf("%s, cut at %d", name, n), torn, old)
		}
	}
}

// TestTornSectors: a stick may have written some of the sectors, in any order.
func TestTornSectors(t *testing.T) {
	const sector = 512
	r := rand.New(rand.NewPCG(6, 7))
	b := padded(encode(t, sample(), newKey(1)))
	for name, old := range before(t) {
		if len(old) == 0 {
			continue
		}
		for mask := range uint32(1 << (fileSize / sector)) {
			if mask > 64 && r.IntN(20) > 0 { // all that matters is in the first six
				continue
			}
			torn := slices.Clone(old)
			for i := range fileSize / sector {
				if mask>>i&1 == 1 {
					copy(torn[i*sector:], b[i*sector:(i+1)*sector])
				}
			}
			wholeOrNothing(t, fmt.Sprintf("%s, sectors %#x", name, mask), torn, old)
		}
	}
}
