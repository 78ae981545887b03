//go:build unix

package fastpass

import (
	"sync/atomic"
	"time"

	"example.com/fdpass/ring"
)

// waitAtMost is e.Wait(ready) that returns when d has passed, too.
func waitAtMost(e *ring.Event, d time.Duration, ready func() bool) {
	var late atomic.Bool
	t := time.AfterFunc(d, func() {
		late.Store(true)
		e.Notify()
	})
	defer t.Stop()
	e.Wait(func() bool { return ready() || late.Load() })
}
