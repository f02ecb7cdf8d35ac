package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		v    []int
		want int
	}{
		{[]int{7}, 7},
		{[]int{9, 1}, 1},
		{[]int{3, 1, 2}, 2},
		{[]int{5, 4, 100, 1, 3}, 4},
	} {
		v := slices.Clone(c.v)
		if got := median(v); got != c.want {
			t.Errorf("median(%v) = %d, want %d", c.v, got, c.want)
		}
		if !slices.Equal(v, c.v) {
			t.Errorf("median changed %v to %v", c.v, v)
		}
	}
}

func TestRows(t *testing.T) {
	second := func(s ...float64) *figure {
		f := &figure{}
		for _, v := range s {
			f.samples = append(f.samples, sample{Wall: time.Duration(v * float64(time.Second)), Written: int64(v)})
		}
		return f
	}
	figures := map[string]*figure{
		"ours": second(1, 2, 9), "peer": second(4, 4, 4), "read": second(1), "nothing": second(0, 0),
		"broken": {err: errors.New("it fell over")}, "long": {err: errLong},
	}
	for _, c := range []struct {
		name            string
		row             row
		ratio, goal, is string
	}{
		{"as fast as was asked", row{ours: q(wall, "ours"), peer: q(wall, "peer"), goal: 2, faster: true}, "2.00 ×", "2 × faster", "met"},
		{"not as fast", row{ours: q(wall, "ours"), peer: q(wall, "peer"), goal: 2.1, faster: true}, "2.00 ×", "2.1 × faster", "short"},
		{"no more than", row{ours: q(wall, "ours"), peer: q(wall, "peer"), goal: 0.5}, "0.50 ×", "≤ 0.5 ×", "met"},
		{"more than a sum", row{ours: q(wall, "peer"), peer: q(wall, "ours", "read"), goal: 1}, "1.33 ×", "≤ 1 ×", "short"},
		{"the largest counts", row{ours: q(wall, "ours"), goal: 8, worst: true}, "", "≤ 8.00 s", "short"},
		{"nothing at all", row{ours: q(written, "nothing"), unit: inBytes, worst: true}, "", "0", "met"},
		{"more than nothing", row{ours: q(written, "ours"), unit: inBytes, worst: true}, "", "0", "short"},
		{"only told", row{ours: q(wall, "ours"), peer: q(wall, "peer")}, "0.50 ×", "", ""},
		{"a peer that failed", row{ours: q(wall, "ours"), peer: q(wall, "broken"), goal: 1}, "", "≤ 1 ×", "failed"},
		{"one that takes minutes", row{ours: q(wall, "ours"), peer: q(wall, "long"), goal: 1}, "", "≤ 1 ×", errLong.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.row.cells(figures)[3:]
			if want := []string{c.ratio, c.goal, c.is}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// Every row is made of contenders that exist, and no two have one name.
func TestContenders(t *testing.T) {
	b := &bench{slot: &slot{}}
	seen := make(map[string]bool)
	for _, c := range b.contenders() {
		if seen[c.name] {
			t.Errorf("two are called %s", c.name)
		}
		seen[c.name] = true
	}
	for _, name := range needed(b.rows()) {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
	if got := needed(chosen(b.rows(), []string{"install"})); len(got) < 2 || !strings.HasPrefix(got[1], "limit") && !strings.HasPrefix(got[2], "limit") {
		t.Errorf("the limit is not measured beside the install: %q", got)
	}
}

func TestDiffering(t *testing.T) {
	dir := t.TempDir()
	a, b := make([]byte, mib+block4+100), make([]byte, mib+block4+100)
	b[0], b[1], b[mib-1], b[len(b)-1] = 1, 1, 1, 1
	for name, content := range map[string][]byte{"a": a, "b": b, "short": a[:mib]} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, of, err := differing(filepath.Join(dir, "a"), filepath.Join(dir, "b"))
	if n != 3 || of != 258 || err != nil {
		t.Errorf("got %d of %d blocks, %v; want 3 of 258", n, of, err)
	}
	if _, _, err := differing(filepath.Join(dir, "a"), filepath.Join(dir, "short")); err == nil {
		t.Error("images of two sizes were compared")
	}
}

func TestTimeline(t *testing.T) {
	const sound = `10.00 begin
10.50 {"event":"progress","step":"read"}
11.00 {"event":"progress","step":"write","done":0,"total":100}
11.00 {"event":"progress","step":"write","done":1,"total":100}
12.00 {"event":"progress","step":"write","done":30,"total":100}
13.00 {"event":"progress","step":"write","done":60,"total":100}
15.00 {"event":"progress","step":"write","done":100,"total":100}
15.50 {"event":"progress","step":"verify","done":0,"total":100}
16.00 {"event":"progress","step":"verify","done":100,"total":100}
16.25 end
`
	got, err := timeline(sound)
	if want := (sample{Wall: 6250 * time.Millisecond, Settled: 5500 * time.Millisecond}); err != nil ||
		got.Wall != want.Wall || got.Settled != want.Settled || got.Uneven < 0.199 || got.Uneven > 0.201 {
		t.Errorf("got %+v, %v; want %+v and 20 %% off", got, err, want)
	}
	for name, bad := range map[string]string{
		"nothing":      "",
		"no end":       strings.ReplaceAll(sound, "16.25 end\n", ""),
		"no read-back": strings.ReplaceAll(sound, "verify", "arm"),
		"no time":      "plimsoll: error: no\n" + sound,
		"no event":     strings.ReplaceAll(sound, "}", ""),
		"all at once":  strings.NewReplacer("12.00", "11.00", "13.00", "11.00", "15.00", "11.00").Replace(sound),
	} {
		if _, err := timeline(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
