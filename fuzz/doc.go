// Package fuzz holds the fuzz targets of example.com/fdpass. It is a module of its
// own, so that who imports the library never sees what only checking needs, and has
// nothing to import.
//
// One file holds one target, named for what it feeds:
//
//	controlmessages_test.go  FuzzControlMessages  cmsgpool's decoder
//
// Each has its corpus in testdata/fuzz/<target>; every `go test` runs it. What fuzzing
// finds is added there with the fix. To fuzz:
//
//	cd fuzz && go test -run '^$' -fuzz '^FuzzControlMessages$' -fuzztime 60s -fuzzminimizetime 100x
//
// The bound on minimizing matters: left to itself it takes up to a minute for each
// interesting input, during which nothing else is tried.
package fuzz
