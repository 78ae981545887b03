//go:build linux

package simkernel

// Go implements sys.Kernel: what the real one runs beside the caller is done at once here, so that it comes at a time
// that the driver has chosen.
func (p *Process) Go(f func()) { f() }

// Dup implements sys.Kernel: there is no room. Nobody holds a socket here longer than its Conn.
func (p *Process) Dup(int) int { return -1 }
