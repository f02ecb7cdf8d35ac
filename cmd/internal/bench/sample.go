package main

import (
	"cmp"
	"slices"
	"time"
)

// A sample is what one run of a contender took.
type sample struct {
	Wall    time.Duration
	Settled time.Duration // plimsoll: until the read-back began
	CPU     time.Duration
	Peak    int64   // bytes of resident memory, of the largest process
	Written int64   // bytes that the slot's device was told to write
	Size    int64   // bytes of the file that was made, or other bytes that count
	Uneven  float64 // by which part of its mean a rate that was told was ever off
}

// A figure is all samples of one contender, or why there are none.
type figure struct {
	samples []sample
	err     error
	note    string // what the reader should know of it
}

// A part is one number of a sample.
type part func(sample) float64

func wall(s sample) float64    { return s.Wall.Seconds() }
func settled(s sample) float64 { return s.Settled.Seconds() }
func cpu(s sample) float64     { return s.CPU.Seconds() }
func peak(s sample) float64    { return float64(s.Peak) }
func written(s sample) float64 { return float64(s.Written) }
func size(s sample) float64    { return float64(s.Size) }
func uneven(s sample) float64  { return s.Uneven }

func (f figure) all(p part) []float64 {
	v := make([]float64, len(f.samples))
	for i, s := range f.samples {
		v[i] = p(s)
	}
	return v
}

// median returns the middle one, of two the lower: a sample that was measured.
func median[T cmp.Ordered](v []T) T {
	v = slices.Sorted(slices.Values(v))
	return v[(len(v)-1)/2]
}
