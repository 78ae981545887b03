package profiles

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// Part is what processor time is spent on.
type Part string

// Parts are all of them, in the order of the report.
var Parts = []Part{
	systemCalls, rings, packing, sysAround, fastpass, standard, scheduler, netpoll, allocating, collecting, runtimeRest, program,
}

const (
	systemCalls Part = "system calls"
	rings       Part = "ring"
	packing     Part = "cmsgpool, wire, flow, page"
	sysAround   Part = "internal/sys, around the calls"
	fastpass    Part = "fastpass"
	standard    Part = "standard library under them"
	scheduler   Part = "runtime: scheduler"
	netpoll     Part = "runtime: netpoll"
	allocating  Part = "runtime: allocation"
	collecting  Part = "runtime: GC"
	runtimeRest Part = "runtime: the rest"
	program     Part = "the program itself"
)

var partOfPackage = map[string]Part{
	module + "/ring":          rings,
	module + "/cmsgpool":      packing,
	module + "/internal/wire": packing,
	module + "/internal/flow": packing,
	module + "/internal/page": packing,
	module + "/internal/sys":  sysAround,
	module + "/fastpass":      fastpass,
}

// Cost is where the processor time in a CPU profile went.
type Cost struct {
	Total   time.Duration
	Samples int64 // how many times the profiler looked: the fewer, the coarser
	Parts   map[Part]time.Duration
	Calls   []Line // the system calls, by the outermost function of internal/sys that makes them; the dearest first
	Lines   []Line // this module's lines, with what they call but for system calls; the dearest first
}

// Line is a place in the source.
type Line struct {
	Where string
	Time  time.Duration
}

// CostOf reads a CPU profile.
func CostOf(p *profile.Profile) (Cost, error) {
	samples, value := valueIndex(p, "samples"), valueIndex(p, "cpu")
	if samples < 0 || value < 0 {
		return Cost{}, fmt.Errorf("profiles: no samples and cpu among %v", p.SampleType)
	}
	c := Cost{Parts: map[Part]time.Duration{}}
	calls, lines := map[string]time.Duration{}, map[string]time.Duration{}
	for _, s := range p.Sample {
		stack, d := stackOf(s), time.Duration(s.Value[value])
		if len(stack) == 0 {
			continue
		}
		part := partOf(stack)
		c.Total += d
		c.Samples += s.Value[samples]
		c.Parts[part] += d
		if part == systemCalls {
			calls[callOf(stack)] += d
		} else if f, ok := owner(stack); ok && f.library() {
			lines[fmt.Sprintf("%s:%d", f.shortFile(), f.line)] += d
		}
	}
	c.Calls, c.Lines = dearestFirst(calls), dearestFirst(lines)
	return c, nil
}

// partOf says what the processor was doing. The runtime's copying and clearing of memory is the work of whoever
// asked for it.
func partOf(stack []frame) Part {
	for len(stack) > 1 && stack[0].pkg() == "runtime" && hasPrefixOf(stack[0].function, forCaller) {
		stack = stack[1:]
	}
	switch leaf := stack[0]; {
	case within(stack, garbage):
		return collecting
	case within(stack, polling):
		return netpoll
	case leaf.pkg() == "runtime" || strings.HasPrefix(leaf.pkg(), "internal/runtime/") && !strings.HasPrefix(leaf.pkg(), kernelEntry):
		switch {
		case within(stack, []string{"runtime.mallocgc", "runtime.newobject", "runtime.growslice"}):
			return allocating
		case within(stack, scheduling):
			return scheduler
		}
		if leaf.pkg() == "runtime" {
			return runtimeRest
		}
	}
	f, ok := owner(stack)
	switch {
	case !ok:
		return runtimeRest // goroutines of the standard library's own, and signals
	case !f.library():
		return program
	case strings.HasPrefix(stack[0].pkg(), kernelEntry):
		return systemCalls
	case !stack[0].ours():
		return standard
	}
	return cmp.Or(partOfPackage[f.pkg()], program)
}

// What the runtime's functions do, by the beginnings of their names.
var (
	forCaller = []string{"runtime.mem", "runtime.duff", "runtime.typedmemmove", "runtime.bulkBarrier", "runtime.gcWriteBarrier", "runtime.wb"}
	garbage   = []string{
		"runtime.gcBgMarkWorker", "runtime.gcStart", "runtime.gcDrain", "runtime.gcAssist", "runtime.bgsweep", "runtime.bgscavenge",
		"runtime.gcMark", "runtime.GC", "runtime.sweepone", "runtime.(*gcWork)",
	}
	polling    = []string{"runtime.netpoll", "internal/runtime/syscall/linux.EpollWait"}
	scheduling = []string{
		"runtime.schedule", "runtime.findRunnable", "runtime.park_m", "runtime.mcall", "runtime.gopark", "runtime.goready", "runtime.ready",
		"runtime.wakep", "runtime.startm", "runtime.stopm", "runtime.futex", "runtime.note", "runtime.sysmon", "runtime.mstart",
		"runtime.entersyscall", "runtime.exitsyscall", "runtime.reentersyscall", "runtime.casgstatus", "runtime.gosched", "runtime.goschedImpl",
		"runtime.semacquire", "runtime.semrelease", "runtime.chansend", "runtime.chanrecv", "runtime.selectgo", "runtime.selectnb",
		"runtime.lock", "runtime.unlock", "runtime.usleep", "runtime.osyield", "runtime.procyield", "runtime.handoffp", "runtime.retake",
		"runtime.gogo", "runtime.goexit", "runtime.newproc", "runtime.morestack", "runtime.resettimer", "runtime.(*timer)", "runtime.(*timers)",
	}
)

// kernelEntry is where the instruction that enters the kernel stands.
const kernelEntry = "internal/runtime/syscall"

func within(stack []frame, prefixes []string) bool {
	return slices.ContainsFunc(stack, func(f frame) bool { return hasPrefixOf(f.function, prefixes) })
}

func hasPrefixOf(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// callOf names the system call at the top of the stack by the outermost function in a row of internal/sys, or else by
// the line that made it.
func callOf(stack []frame) string {
	f, _ := owner(stack)
	if f.pkg() != module+"/internal/sys" {
		return fmt.Sprintf("%s:%d", f.shortFile(), f.line)
	}
	for _, g := range stack {
		if g.pkg() == f.pkg() {
			f = g
		} else if g.ours() {
			break
		}
	}
	return f.shortName()
}

func dearestFirst(m map[string]time.Duration) []Line {
	var all []Line
	for where, d := range m {
		all = append(all, Line{where, d})
	}
	slices.SortFunc(all, func(a, b Line) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Where, b.Where)) })
	return all
}
