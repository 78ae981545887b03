//go:build unix && (!linux || fdpass_portable)

package fastpass

// probeIsCheap: a probe takes longer the more slots it looks for, so it looks for no margin.
const probeIsCheap = false

// fillShort waits: where peeking is not to be trusted a message is received only when there is room for the largest
// that there can be.
func (in *inbox) fillShort(*vector) bool {
	in.slots.unlock(false)
	return in.retryForLargest()
}
