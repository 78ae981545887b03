//go:build !invariants

package ring

// invariants turns on the checks of preconditions that the hot path cannot afford.
const invariants = false
