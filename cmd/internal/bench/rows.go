package main

import (
	"fmt"
	"slices"
)

// A unit is what a number counts.
type unit int

const (
	seconds unit = iota
	milliseconds
	inMiB
	inBytes
	percent
)

func (u unit) String() string { return [...]string{"s", "ms", "MiB", "bytes", "%"}[u] }

func (u unit) format(v float64) string {
	switch u {
	case seconds:
		return fmt.Sprintf("%.2f s", v)
	case milliseconds:
		return fmt.Sprintf("%.1f ms", v*1000)
	case percent:
		return fmt.Sprintf("%.0f %%", v*100)
	case inMiB:
		return fmt.Sprintf("%.1f MiB", v/mib)
	default:
		return fmt.Sprintf("%.0f bytes", v)
	}
}

// A quantity is a number made of the medians of figures: their sum.
type quantity struct {
	part part
	of   []string
	name string // what the table calls it, if there is something to say
}

func q(p part, of ...string) quantity { return quantity{part: p, of: of} }

func (x quantity) as(name string) quantity { x.name = name; return x }

// A row of the table asks for one ratio or one number.
type row struct {
	job    string
	what   string
	unit   unit
	ours   quantity
	peer   quantity // of none: the goal is a number
	goal   float64
	faster bool // the ratio is how many times less ours is; else it is ours by the peer's
	worst  bool // not the median counts, but the largest
}

// allJobs are the jobs that can be asked for.
func allJobs() []string {
	var jobs []string
	for _, r := range (&bench{}).rows() {
		if !slices.Contains(jobs, r.job) {
			jobs = append(jobs, r.job)
		}
	}
	return jobs
}

// rows is the table.
func (b *bench) rows() []row {
	const (
		limit   = "limit: zstd -dc to dd conv=sparse,fsync"
		read    = "limit: dd iflag=direct"
		install = "plimsoll install zstd"
		gzip    = "plimsoll install gzip"
		xz      = "plimsoll install xz"
		again   = "plimsoll install zstd again"
		update  = "plimsoll install zstd, B over A"
		client  = "mender-client install gzip"
		slow    = "plimsoll install zstd on a slow board"
		pace    = "the image at 20 MB/s"
	)
	mender := q(wall, "mender-artifact write xz").as("mender-artifact xz")
	return []row{
		{job: "install", what: "default zstd, without read-back", ours: q(settled, install), peer: q(wall, limit).as("the limit"), goal: 1},
		{job: "install", what: "the same", ours: q(settled, install), peer: q(wall, client).as("mender-client, gzip"), goal: 4, faster: true},
		{job: "install", what: "the same", ours: q(settled, install), peer: q(wall, "rauc install").as("rauc"), goal: 3.5, faster: true},
		{job: "install", what: "the same", ours: q(settled, install), peer: q(wall, "swupdate install zstd").as("swupdate, zstd"), goal: 2, faster: true},
		{job: "install", what: "default zstd, with read-back", ours: q(wall, install), peer: q(wall, limit, read).as("the limit and a read"), goal: 1.1},
		{job: "gzip", what: "mender-artifact's gzip, with read-back", ours: q(wall, gzip), peer: q(wall, client).as("mender-client"), goal: 2.2, faster: true},
		{job: "gzip", what: "the same, without read-back", ours: q(settled, gzip), peer: q(wall, client).as("mender-client"), goal: 2.2, faster: true},
		{job: "xz", what: "mender-artifact's xz, with read-back", ours: q(wall, xz), peer: q(wall, "mender-client install xz").as("mender-client"), goal: 1, faster: true},
		{job: "xz", what: "the same, without read-back", ours: q(settled, xz), peer: q(wall, "mender-client install xz").as("mender-client"), goal: 1, faster: true},
		{job: "xz", what: "the same, peak memory", unit: inMiB, ours: q(peak, xz), goal: 80 * mib, worst: true},
		{job: "again", what: "the same image again, written", unit: inBytes, ours: q(written, again), goal: 0, worst: true},
		{job: "update", what: "B over A, written", unit: inBytes, ours: q(written, update), peer: q(size, "blocks that differ, B and A").as("what differs"), goal: 1.02, worst: true},
		{job: "write", what: "write, default", ours: q(wall, "plimsoll write zstd"), peer: q(wall, "mender-artifact write gzip").as("mender-artifact gzip"), goal: 2, faster: true},
		{job: "write", what: "the same, file", unit: inBytes, ours: q(size, "plimsoll write zstd"), peer: q(size, "mender-artifact write gzip").as("mender-artifact gzip"), goal: 0.88},
		{job: "best", what: "write zstd_best", ours: q(wall, "plimsoll write zstd_best"), peer: mender, goal: 14, faster: true},
		{job: "best", what: "the same, file", unit: inBytes, ours: q(size, "plimsoll write zstd_best"), peer: q(size, mender.of...).as(mender.name), goal: 1.21},
		{job: "lzma", what: "write lzma", ours: q(wall, "plimsoll write lzma"), peer: mender, goal: 2.5, faster: true},
		{job: "lzma", what: "the same, file", unit: inBytes, ours: q(size, "plimsoll write lzma"), peer: q(size, mender.of...).as(mender.name), goal: 1.25},
		{job: "verify", what: "verify, own default", ours: q(wall, "plimsoll verify zstd"), peer: q(wall, "mender-artifact validate gzip").as("mender-artifact, gzip"), goal: 2.2, faster: true},
		{job: "verify", what: "verify, mender-artifact's gzip", ours: q(wall, "plimsoll verify gzip"), peer: q(wall, "mender-artifact validate gzip").as("mender-artifact, gzip"), goal: 1, faster: true},
		{job: "memory", what: "install, default zstd, peak memory", unit: inMiB, ours: q(peak, install), goal: 24 * mib, worst: true},
		{job: "memory", what: "verify, default zstd, peak memory", unit: inMiB, ours: q(peak, "plimsoll verify zstd"), goal: 24 * mib, worst: true},
		{job: "memory", what: "install, 16 GiB, peak memory", unit: inMiB, ours: q(peak, install+", 16 GiB"), goal: 24 * mib, worst: true},
		{job: "memory", what: "verify, 16 GiB, peak memory", unit: inMiB, ours: q(peak, "plimsoll verify zstd, 16 GiB"), goal: 24 * mib, worst: true},
		{job: "status", what: "status, whole process", unit: milliseconds, ours: q(wall, "plimsoll status"), goal: 0.008},
		{job: "status", what: "the program for arm64, stripped", unit: inBytes, ours: q(size, "plimsoll for arm64, stripped"), goal: 10e6},
		{job: "slow", what: "on a board that writes 20 MB/s, without read-back", ours: q(settled, slow), peer: q(wall, pace).as("the image at 20 MB/s"), goal: 1.05},
		{job: "slow", what: "the same, with read-back", ours: q(wall, slow), peer: q(wall, pace).as("the image at 20 MB/s")},
		{job: "slow", what: "the same, the rate that was told, off its mean by", unit: percent, ours: q(uneven, slow), goal: 0.2, worst: true},
		{job: "write-gzip", what: "write gzip", ours: q(wall, "plimsoll write gzip"), peer: q(wall, "mender-artifact write gzip").as("mender-artifact gzip")},
		{job: "write-gzip", what: "the same, file", unit: inBytes, ours: q(size, "plimsoll write gzip"), peer: q(size, "mender-artifact write gzip").as("mender-artifact gzip")},
	}
}

// chosen are the rows of the jobs; no job is all.
func chosen(rows []row, jobs []string) []row {
	return slices.DeleteFunc(rows, func(r row) bool { return len(jobs) > 0 && !slices.Contains(jobs, r.job) })
}

// needed are the names of the figures that the rows are made of, in the
// rows' order: who is compared is measured close to each other.
func needed(rows []row) (names []string) {
	for _, r := range rows {
		for _, name := range slices.Concat(r.ours.of, r.peer.of) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	// The slot is read as the limit left it.
	const write, read = "limit: zstd -dc to dd conv=sparse,fsync", "limit: dd iflag=direct"
	if i := slices.Index(names, read); i >= 0 {
		names = slices.Delete(names, i, i+1)
		names = slices.Insert(names, slices.Index(names, write)+1, read)
	}
	return names
}
