//go:build linux

package simkernel

import "slices"

// entry is a goroutine that wants to use a socket while the driver rests.
type entry struct {
	conn *Conn
	ch   chan struct{}
}

// enter waits until the driver lets the caller in, while that rests or, with Strict, always, unless the caller is the
// driver.
func (c *Conn) enter() {
	k := c.p.k
	k.mu.Lock()
	if !k.resting {
		strict := k.Strict
		k.mu.Unlock()
		if !strict || goroutine() == c.driver {
			return
		}
		k.mu.Lock()
	}
	e := entry{c, make(chan struct{})}
	behind := slices.IndexFunc(k.entering, func(o entry) bool { return o.conn.number > c.number })
	if behind < 0 {
		behind = len(k.entering)
	}
	k.entering = slices.Insert(k.entering, behind, e)
	k.mu.Unlock()
	<-e.ch
}

// Rest lets all other goroutines run, among them those whose timers end meanwhile: wait must return when all of them
// wait for something. Of those that then want to use a socket, pick chooses who does it next, one at a time.
func (k *Kernel) Rest(wait func(), pick func(n int) int) {
	k.setResting(true)
	for wait(); k.admit(pick); {
		wait()
	}
	k.setResting(false)
}

func (k *Kernel) setResting(yes bool) {
	k.mu.Lock()
	k.resting = yes
	k.mu.Unlock()
}

// admit lets in one of those who wait, other than those of a stopped process, and reports whether there was one.
func (k *Kernel) admit(pick func(n int) int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	var may []int
	for i, e := range k.entering {
		if !e.conn.p.stopped {
			may = append(may, i)
		}
	}
	if len(may) == 0 {
		return false
	}
	i := may[0]
	if len(may) > 1 {
		i = may[pick(len(may))]
	}
	close(k.entering[i].ch)
	k.entering = slices.Delete(k.entering, i, i+1)
	return true
}
