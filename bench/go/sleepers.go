package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// sleepers fills the process with sleeping goroutines; the keys are those of src/figures/sleepers.rs.
func sleepers(quick bool) sample {
	count := 1_000_000
	if quick {
		count = 100_000
	}
	residentBefore, tablesBefore := memory()
	start := time.Now()
	var asleep int64
	for i := 0; i < count; i++ {
		go func() {
			atomic.AddInt64(&asleep, 1)
			time.Sleep(time.Hour)
		}()
	}
	for atomic.LoadInt64(&asleep) < int64(count) {
		runtime.Gosched()
	}
	seconds := time.Since(start).Seconds()
	resident, tables := memory()
	return sample{
		"resident_bytes":      (resident - residentBefore) / float64(count),
		"page_table_bytes":    (tables - tablesBefore) / float64(count),
		"seconds_per_million": seconds * 1e6 / float64(count),
	}
}

// memory returns what is resident and what the page tables take, in bytes.
func memory() (resident, tables float64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	return field(status, "VmRSS"), field(status, "VmPTE")
}

func field(status []byte, name string) float64 {
	found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		fail(fmt.Errorf("no %s in the status of this process", name))
	}
	kibibytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		fail(err)
	}
	return float64(kibibytes) * 1024
}
