// Package profiles reads what the runtime's profilers wrote and says what this module has to do with it: which of its
// lines allocate (Allocations), and where the processor time goes (CostOf).
package profiles
