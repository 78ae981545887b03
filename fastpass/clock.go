//go:build unix

package fastpass

import "time"

// clock is a clock that is read seldom: reading one takes a tenth of passing a descriptor.
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
