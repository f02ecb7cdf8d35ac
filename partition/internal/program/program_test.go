package program

import (
	"errors"
	"strings"
	"testing"
)

// Without a program the error names its package.
func TestMissing(t *testing.T) {
	packages["mke2fs-of-the-future"] = "e2fsprogs"
	defer delete(packages, "mke2fs-of-the-future")
	_, _, err := Call{Name: "mke2fs-of-the-future"}.Run(t.Context())
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "Debian package e2fsprogs") {
		t.Errorf("got %v", err)
	}
}
