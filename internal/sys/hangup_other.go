//go:build unix && !linux

package sys

const pollHangUp = 0 // poll(2) does not tell everywhere

// MarkMessages implements Kernel.
func (*system) MarkMessages(int) bool { return false }
