// Package growth measures whether the cost of passing a descriptor grows with anything: with how many are in flight,
// with how many are open, with the bytes that travel along, with the workers, with the goroutines that send. Beside the
// library runs the C limit (package limit) where C has the dimension, which tells whether it is the kernel whose cost
// grows.
//
// A second suite measures the rings alone.
package growth
