// The Go contenders of greenloom's benchmarks. The Rust driver builds this program and calls one part of it at a time:
//
//	greenloom-bench-go (yield|spawn|hop|sleepers) [quick]    measures once and prints a sample as JSON
//	greenloom-bench-go serve                                 announces its address and serves the echo
//
// The number of processors comes in GOMAXPROCS, the cores in the affinity that the process inherits.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	part, quick := "", false
	if len(os.Args) > 1 {
		part = os.Args[1]
	}
	if len(os.Args) > 2 {
		quick = os.Args[2] == "quick"
	}
	switch part {
	case "yield":
		report(nanoseconds(quick, yield))
	case "spawn":
		report(nanoseconds(quick, spawn))
	case "hop":
		report(nanoseconds(quick, hop))
	case "sleepers":
		report(sleepers(quick))
	case "serve":
		fail(serve())
	default:
		fail(fmt.Errorf("unknown part %q", part))
	}
}

// sample holds values by their metric's key, as the Rust side knows them.
type sample map[string]float64

func report(found sample) {
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "greenloom-bench-go:", err)
	os.Exit(1)
}
