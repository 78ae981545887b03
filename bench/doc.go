// Package bench measures the library between two real processes, and beside it the limit: the same descriptors passed
// by a C program that holds nothing of the library (package limit).
//
//	make bench                          everything
//	make bench BENCH=Pass COUNT=10      one benchmark, ten times, for benchstat
//	make bench BENCH=Ratio              the table of ratios to the limit, from interleaved runs
//	make compare                        beside other systems: bench/compare, a module of its own (see README.md)
//
// A figure means little by itself: clock frequency, kernel and the machine's other work move it further than most
// changes to the library do. Compare ratios from the same run, and look at the spread before believing one.
package bench
