//go:build unix && !linux && !darwin && !freebsd

package sys

import "errors"

// PeerCredentials is not to be had here without cgo: who may connect is up to the socket's mode.
func PeerCredentials(int) (Credentials, error) { return unknownCredentials, errors.ErrUnsupported }
