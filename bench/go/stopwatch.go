package main

import (
	"sort"
	"time"
)

// How long one batch must last at least; as in src/stopwatch.rs.
const batch = 15 * time.Millisecond

// nanoseconds returns the median time of one operation, where work(n) does n of them.
func nanoseconds(quick bool, work func(int)) sample {
	batches := 15
	if quick {
		batches = 3
	}
	count := 64
	for !lasts(work, count) {
		count *= 2
	}
	each := make([]float64, batches)
	for i := range each {
		each[i] = float64(stopwatch(work, count).Nanoseconds()) / float64(count)
	}
	sort.Float64s(each)
	return sample{"ns": each[batches/2]}
}

// lasts tells whether so many operations take long enough, not only once by bad luck.
func lasts(work func(int), count int) bool {
	for try := 0; try < 3; try++ {
		if stopwatch(work, count) < batch {
			return false
		}
	}
	return true
}

func stopwatch(work func(int), count int) time.Duration {
	start := time.Now()
	work(count)
	return time.Since(start)
}
