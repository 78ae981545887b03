//go:build unix && (!linux || fdpass_portable)

package fastpass

// leastMargin is 0, for none: to look for a margin would mean to duplicate that many descriptors.
const leastMargin = 0

// fillShort waits: where peeking is not to be trusted a message is received only when there is room for the largest
// that there can be.
func (in *inbox) fillShort(*vector) bool {
	in.slots.unlock(false)
	return in.retryForLargest()
}
