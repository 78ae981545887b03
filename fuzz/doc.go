// Package fuzz holds the fuzz targets of example.com/fdpass. It is a module of its
// own, so that who imports the library never sees what only checking needs, and has
// nothing to import.
//
// One file holds what is fed in one manner:
//
//	controlmessages_test.go  FuzzControlMessages         cmsgpool's decoder, against x/sys
//	frames_test.go           FuzzFrames                  internal/wire's parser
//	flow_test.go             FuzzSender, FuzzReceiver    the state machines of internal/flow
//	window_test.go           FuzzWindow                  ring.Window
//	peer_test.go             FuzzPeer                    a link, on a real socket
//
// Each has its corpus in testdata/fuzz/<target>; every `go test` runs it. What fuzzing finds is added there with the
// fix. make fuzz fuzzes them; what it finds interesting stays in the go command's cache, for the next time.
//
// The package linearizability beside this one checks the rings.
package fuzz
