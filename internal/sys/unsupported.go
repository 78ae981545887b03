//go:build !unix

package sys

// Implementation names what carries the messages: nothing, here.
const Implementation = "none"

// PeerAddress returns 0.
func PeerAddress(Stream) uint64 { return 0 }
