//go:build invariants

package sys

// invariants turns a close of what is not open into a panic.
const invariants = true
