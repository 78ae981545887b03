// Package linearizability records what goroutines do to the rings of package ring, call by call with its begin and its
// end, and has porcupine look for an order that explains all results. There is nothing to import.
//
// A ring promises less than that each call takes effect in one instant, so a call is not modelled as one. It has up to
// three moments, in this order, anywhere between its begin and its end:
//
//   - It looks, if it got less than it asked for: at that moment exactly so much was free, or filled.
//   - It claims what it got, in one piece: the order of the claims is the order of the queue.
//   - It passes that on, in one piece: filled cells to the consumers, emptied ones to the producers.
//
// That is what the documentation of ring says, and no more: Pop may find nothing behind a producer that is just filling
// the next cell, but only then; a batch may be taken in part, but only if there was no room for more at some moment of
// the call; and no other call comes between the values of a batch.
//
//	queue_test.go   SPSC, MPSC, MPMC, and MPMC with an Event at each side
//	window_test.go  Window, whose entries are claimed, published, read and released by themselves
//	broken_test.go  queues and windows with a mistake in them, each of which must be caught
//	stepped_test.go all of it once more with rings that may yield before each of their statements, and with
//	                mistakes put into their source
package linearizability
