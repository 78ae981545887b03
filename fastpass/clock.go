//go:build unix

package fastpass

import "time"

// clock is a clock that several parts of a link go by, so that it is read once for all of them: a reading takes a third
// of the time that a descriptor takes in a full message.
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
