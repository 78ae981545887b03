//go:build !unix

package sys

import "errors"

// Implementation names what carries the messages: nothing, here.
const Implementation = "none"

// EBADF is not to be met here.
var EBADF = errors.ErrUnsupported

// PeerAddress returns 0.
func PeerAddress(int) uint64 { return 0 }
