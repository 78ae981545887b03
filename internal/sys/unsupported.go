//go:build !unix

package sys

// Implementation names what carries the messages: nothing, here.
const Implementation = "none"

// PeerAddress returns 0.
func PeerAddress(int) uint64 { return 0 }
