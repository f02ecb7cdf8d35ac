package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// A byteSize is a flag for a number of bytes, in the decimal units of Mender's
// tool. 0 is none.
type byteSize int64

func (s *byteSize) Type() string { return "SIZE" }

func (s *byteSize) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

var units = map[string]float64{"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

func (s *byteSize) Set(text string) error {
	m := regexp.MustCompile(`^([0-9]+(?:\.[0-9]*)?)([A-Za-z]*)$`).FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return fmt.Errorf("%q: want a number of B, KB, MB, GB or TB, such as 1.5GB", text)
	}
	unit, ok := units[strings.ToUpper(m[2])]
	if !ok {
		return fmt.Errorf("%q: want B, KB, MB, GB or TB, which are decimal", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n*unit < 1 || n*unit >= math.MaxInt64 {
		return fmt.Errorf("%q: want at least a byte, and less than 9 million TB", text)
	}
	*s = byteSize(n * unit)
	return nil
}
