// Package simkernel is a simulated kernel, as far as a link of package fastpass sees one: processes with descriptor
// tables and limits, open files with reference counts, connected AF_UNIX sockets with their queues, and SCM_RIGHTS with all
// that can go wrong with it. A [Process] is a [example.com/fdpass/internal/sys.Kernel], a [Conn] what a link needs of its
// *net.UnixConn, so the real code of a link runs on it.
//
// Nothing here blocks the goroutine that drives the simulation, and nothing is left to chance: what happens follows
// from the calls and from [Kernel.Fault]. What the simulated kernel does is what kernel-facts.md says and
// what Linux 6.18 does; the tests run one table of cases on both and compare.
package simkernel
