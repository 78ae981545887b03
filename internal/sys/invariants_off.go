//go:build !invariants

package sys

const invariants = false
