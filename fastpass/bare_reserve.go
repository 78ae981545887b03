//go:build unix && (!linux || fdpass_portable)

package fastpass

// fillShort waits: where peeking is not to be trusted a message is received only when there is room for the largest
// that there can be.
func (in *inbox) fillShort(*vector, int) bool {
	in.lookAgain()
	return false
}
