//go:build unix

package fastpass

import "time"

// clock is a clock that several go by, so that it is read once for all of them: that takes a third of the time in which a full message
// passes a descriptor.
type clock struct {
	start time.Time // when it was read first
	now   time.Duration
}

// read brings now up to date.
func (c *clock) read() {
	if c.start.IsZero() {
		c.start = time.Now()
	}
	c.now = time.Since(c.start)
}
