package image

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/plimsoll-ota/plimsoll/partition/internal/program"
)

// A usage is what an ext4 file system counts as used.
type usage struct {
	bytes  []span
	inodes []span // numbers
}

// A span is from start up to, and without, end.
type span struct{ start, end int64 }

// readUsage asks dumpe2fs what is free, and returns the rest.
func readUsage(ctx context.Context, img string) (usage, error) {
	out, _, err := program.Call{Name: "dumpe2fs", Args: []string{img}, Time: time.Unix(1, 0)}.Run(ctx)
	if err != nil {
		return usage{}, err
	}
	size := map[string]int64{}
	var freeBlocks, freeInodes []span
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch key {
		case "Block count", "Block size", "Inode count":
			if size[key], err = strconv.ParseInt(value, 10, 64); err != nil {
				return usage{}, fmt.Errorf("dumpe2fs: %w", err)
			}
		case "  Free blocks":
			freeBlocks, err = appendSpans(freeBlocks, value)
		case "  Free inodes":
			freeInodes, err = appendSpans(freeInodes, value)
		}
		if err != nil {
			return usage{}, fmt.Errorf("dumpe2fs: %w", err)
		}
	}
	if len(size) != 3 {
		return usage{}, fmt.Errorf("dumpe2fs: it says nothing of the size of %s", img)
	}
	u := usage{
		bytes:  without(span{0, size["Block count"]}, freeBlocks),
		inodes: without(span{1, size["Inode count"] + 1}, freeInodes),
	}
	for i := range u.bytes {
		u.bytes[i].start *= size["Block size"]
		u.bytes[i].end *= size["Block size"]
	}
	return u, nil
}

// appendSpans reads "3, 5-9" and the like.
func appendSpans(spans []span, list string) ([]span, error) {
	for _, f := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		first, last, ok := strings.Cut(f, "-")
		if !ok {
			last = first
		}
		a, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return nil, err
		}
		b, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return nil, err
		}
		spans = append(spans, span{a, b + 1})
	}
	return spans, nil
}

// without returns what is left of a span; holes are in order.
func without(s span, holes []span) (left []span) {
	for _, h := range holes {
		if h.start > s.start {
			left = append(left, span{s.start, h.start})
		}
		s.start = max(s.start, h.end)
	}
	if s.start < s.end {
		left = append(left, s)
	}
	return left
}
