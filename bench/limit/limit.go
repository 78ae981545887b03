// Package limit measures how fast this kernel passes descriptors between two processes,
// with a C program that holds nothing of the library: the figure that every benchmark of
// the library is a ratio to.
//
// The program, limit.c, is embedded and compiled when it is first needed ([Build]); the
// binary is kept in the user's cache and reused until the source changes. Use it on its
// own as well:
//
//	cc -O2 -pthread -o limit bench/limit/limit.c && ./limit --help
//
// A figure is only worth comparing with others of the same run: the machine's other work,
// its frequency and its kernel move it far more than any change to the library. Interleave
// the runs and compare medians.
package limit

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrNoCompiler is returned by [Build] and [Run] where no C compiler was found and no
// binary from an earlier build is in the cache.
var ErrNoCompiler = errors.New("no C compiler")

// What the program takes of a case, and what is measured beside it takes, too.
const (
	// Sockets is how many TCP connections there are to pass, over and over, or to copy.
	Sockets = 2048

	// Window is fastpass.Config.Window of links that lend: the default of a process that may open many descriptors;
	// here 20,000 may be the limit. What is lent needs no room in the sender's table.
	Window = 16 << 10
)

// Messages is how many messages of batch descriptors are handed over at a time, where one call can take several: single
// descriptors one by one, and of those that are given away no more than a quarter of the sockets that there are. Who
// copies most of them at once writes to the same files, in the same order and at the same time, as the receiver of the
// last call.
func Messages(batch int, lend bool) int {
	switch {
	case batch == 1:
		return 1
	case !lend:
		return min(8, Sockets/4/batch)
	}
	return 8
}

// Options says what to measure. The zero value is the case that the library's targets
// are stated for.
type Options struct {
	Type      string // "seq" (SOCK_SEQPACKET) or "stream" (SOCK_STREAM); "" means "seq"
	Batch     int    // descriptors per message, 1 to 253; 0 means 253
	Messages  int    // messages per system call, 1 to 64; 0 means 8
	Total     int64  // descriptors to pass, rounded up to whole messages; 0 means 2,000,000
	Lend      bool   // the sender passes sockets that it keeps; default: it gives a copy away and closes it
	CloseEach bool   // close(2) one by one; default: close_range(2) over contiguous runs
	Payload   int    // bytes of data with each descriptor, up to 4096; 0 means 8 per message
	Open      int    // descriptors that both processes have open besides
	Workers   int    // receivers, which get a system call's worth in turn; 0 means 1
	InFlight  int    // one process sends so many and then receives them, turn about; 0 means two processes
	Threaded  bool   // both processes have a second thread, which sleeps: what the kernel takes from any Go program
	CloExec   bool   // copies to give away are made with F_DUPFD_CLOEXEC, which costs more; default: dup(2)
}

// Result is one measurement.
type Result struct {
	DescriptorsPerSecond float64 `json:"descriptors_per_second"`
	NsPerDescriptor      float64 `json:"ns_per_descriptor"` // wall clock, first send to last close
	SenderCPUNs          float64 `json:"sender_cpu_ns"`     // CPU time of the sender per descriptor
	ReceiverCPUNs        float64 `json:"receiver_cpu_ns"`   // CPU time of the receiver per descriptor
	Refused              int64   `json:"refused"`           // sends repeated for lack of room; not 0: the figure is not the limit
	Config               Config  `json:"config"`
}

// Config is what was measured, with every default filled in.
type Config struct {
	Type     string `json:"type"` // "seq" or "stream"
	Batch    int    `json:"batch"`
	Messages int    `json:"messages"`
	Total    int64  `json:"total"`
	Source   string `json:"source"` // "give" or "lend"
	Close    string `json:"close"`  // "range" or "each"
	Payload  int    `json:"payload"`
	Open     int    `json:"open"`
	Workers  int    `json:"workers"`
	InFlight int    `json:"in_flight"`
	Threaded bool   `json:"threaded"`
	CloExec  bool   `json:"cloexec"`
}

// String returns the result in the manner of a benchmark line's measurements.
func (r Result) String() string {
	return fmt.Sprintf("%.0f descriptors/s, %.1f ns/descriptor", r.DescriptorsPerSecond, r.NsPerDescriptor)
}

// Args returns the program's arguments. Values out of range are left to the program, which
// knows its limits and names them.
func (o Options) Args() []string {
	args := []string{"--json"}
	if o.Type != "" {
		args = append(args, "--type", o.Type)
	}
	if o.Batch != 0 {
		args = append(args, "--batch", strconv.Itoa(o.Batch))
	}
	if o.Messages != 0 {
		args = append(args, "--messages", strconv.Itoa(o.Messages))
	}
	if o.Total != 0 {
		args = append(args, "--total", strconv.FormatInt(o.Total, 10))
	}
	if o.Lend {
		args = append(args, "--lend")
	}
	if o.CloseEach {
		args = append(args, "--close", "each")
	}
	if o.Payload != 0 {
		args = append(args, "--payload", strconv.Itoa(o.Payload))
	}
	if o.Open != 0 {
		args = append(args, "--open", strconv.Itoa(o.Open))
	}
	if o.Workers != 0 {
		args = append(args, "--workers", strconv.Itoa(o.Workers))
	}
	if o.InFlight != 0 {
		args = append(args, "--in-flight", strconv.Itoa(o.InFlight))
	}
	if o.Threaded {
		args = append(args, "--threaded")
	}
	if o.CloExec {
		args = append(args, "--cloexec")
	}
	return args
}
