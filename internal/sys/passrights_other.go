//go:build unix && (!linux || fdpass_portable)

package sys

// RefuseRights does nothing: only Linux can refuse descriptors before they are sent.
func RefuseRights(int) {}
