package profiles

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

// synthetic is a profile that holds what is written down here, and nothing else.
type synthetic struct {
	types     []string
	samples   []*profile.Sample
	functions []*profile.Function
	locations []*profile.Location
}

// add notes a stack, the innermost call first.
func (s *synthetic) add(stack []frame, values ...int64) {
	sample := &profile.Sample{Value: values}
	for _, f := range stack {
		fn := &profile.Function{ID: uint64(len(s.functions) + 1), Name: f.function, Filename: f.file}
		l := &profile.Location{ID: uint64(len(s.locations) + 1), Line: []profile.Line{{Function: fn, Line: f.line}}}
		s.functions, s.locations = append(s.functions, fn), append(s.locations, l)
		sample.Location = append(sample.Location, l)
	}
	s.samples = append(s.samples, sample)
}

func (s *synthetic) profile(t *testing.T) *profile.Profile {
	t.Helper()
	p := &profile.Profile{Sample: s.samples, Function: s.functions, Location: s.locations, PeriodType: &profile.ValueType{}}
	for _, name := range s.types {
		p.SampleType = append(p.SampleType, &profile.ValueType{Type: name, Unit: "count"})
	}
	if err := p.CheckValid(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Calls that the tables below are made of.
var (
	main_    = frame{"main.main", "/somewhere/main.go", 9}
	callback = frame{"main.policy.Pick", "/somewhere/policy.go", 3}
	bench    = frame{"example.com/fdpass/bench.(*link).send", "/x/bench/peer_linux_test.go", 50}
	push     = frame{"example.com/fdpass/fastpass.(*outbox).push", "/x/fastpass/outbox.go", 180}
	newConn  = frame{"example.com/fdpass/fastpass.NewConn", "/x/fastpass/conn_unix.go", 60}
	claim    = frame{"example.com/fdpass/ring.(*Window[go.shape.struct { example.com/x/y.a int }]).Claim", "/x/ring/window.go", 70}
	encode   = frame{"example.com/fdpass/cmsgpool.(*Buffer).Append", "/x/cmsgpool/buffer.go", 31}
	header   = frame{"example.com/fdpass/internal/wire.Put", "/x/internal/wire/wire.go", 40}
	call     = frame{"example.com/fdpass/internal/sys.(*Vector).call", "/x/internal/sys/mmsg_linux_unsafe.go", 66}
	vsend    = frame{"example.com/fdpass/internal/sys.system.Send", "/x/internal/sys/kernel.go", 20}
	kernel   = frame{"internal/runtime/syscall/linux.Syscall6", "/go/asm.s", 36}
	epoll    = frame{"internal/runtime/syscall/linux.EpollWait", "/go/x.go", 32}
	pool     = frame{"github.com/valyala/bytebufferpool.(*Pool).Get", "/mod/pool.go", 47}
)

func of(name string) frame { return frame{name, "/go/x.go", 1} }

func TestAnAllocationBelongsToTheInnermostLineOfOurs(t *testing.T) {
	for _, c := range []struct {
		name  string
		stack []frame
		want  []Site
	}{
		{"the library's own", []frame{push, main_}, []Site{{push.shortName(), "fastpass/outbox.go", 180, "", Library, 7, 70}}},
		{
			"generic code, type arguments with slashes",
			[]frame{claim, push, main_},
			[]Site{{claim.shortName(), "ring/window.go", 70, "", Library, 7, 70}},
		},
		{
			"by the standard library, for the library",
			[]frame{of("os.NewFile"), newConn, main_},
			[]Site{{"fastpass.NewConn", "fastpass/conn_unix.go", 60, "os", Library, 7, 70}},
		},
		{
			"by a dependency, for the library",
			[]frame{of("sync.(*Pool).Get"), pool, push, main_},
			[]Site{{push.shortName(), "fastpass/outbox.go", 180, "sync", Library, 7, 70}},
		},
		{
			"a callback of the application's",
			[]frame{callback, push, main_},
			[]Site{{"main.policy.Pick", "/somewhere/policy.go", 3, "", Program, 7, 70}},
		},
		{
			"the benchmark is no part of the library",
			[]frame{bench, main_},
			[]Site{{bench.shortName(), "bench/peer_linux_test.go", 50, "", Program, 7, 70}},
		},
		{"nobody of ours", []frame{of("runtime.allocm")}, []Site{{"runtime.allocm", "/go/x.go", 1, "", Runtime, 7, 70}}},
		{"in a function that is left out", []frame{of("os.NewFile"), of("main.snapshot"), main_}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := synthetic{types: []string{"alloc_objects", "alloc_space"}}
			s.add(c.stack, 7, 70)
			got, err := Allocations(s.profile(t), "main.snapshot")
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestSubtractingLeavesWhatIsNew(t *testing.T) {
	before := synthetic{types: []string{"alloc_objects", "alloc_space"}}
	before.add([]frame{push, main_}, 5, 50)
	before.add([]frame{encode, main_}, 3, 30)
	after := synthetic{types: before.types}
	after.add([]frame{push, main_}, 5, 50)
	after.add([]frame{encode, main_}, 4, 46)
	after.add([]frame{header, main_}, 9, 9)
	p, err := Subtract(after.profile(t), before.profile(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Allocations(p)
	want := []Site{
		{header.shortName(), "internal/wire/wire.go", 40, "", Library, 9, 9},
		{encode.shortName(), "cmsgpool/buffer.go", 31, "", Library, 1, 16},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestASiteSaysFileAndLine(t *testing.T) {
	s := Site{"fastpass.NewConn", "fastpass/conn_unix.go", 60, "os", Library, 2, 96}
	if got := s.String(); !strings.HasPrefix(got, "fastpass/conn_unix.go:60 (in os): ") {
		t.Error(got)
	}
}

func TestProcessorTimeIsCountedOnceUnderWhatItWasSpentOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		stack []frame
		want  Part
	}{
		{"a system call", []frame{kernel, of("syscall.RawSyscall6"), call, vsend, push, main_}, systemCalls},
		{"the wrapper round it", []frame{call, vsend, push}, sysAround},
		{"telling the scheduler of it", []frame{of("runtime.exitsyscall"), of("syscall.Syscall6"), call, vsend, push}, scheduler},
		{"the ring", []frame{claim, push, main_}, rings},
		{"atomics under the ring", []frame{of("internal/runtime/atomic.(*Uint64).Load"), claim, push}, standard},
		{"control messages", []frame{encode, push}, packing},
		{"frames", []frame{header, push}, packing},
		{"the page of acknowledgements", []frame{of("example.com/fdpass/internal/page.(*Page).Take"), push}, packing},
		{"a package that has no part", []frame{of("example.com/fdpass/internal/new.F"), push}, program},
		{"copying for somebody", []frame{of("runtime.memmove"), encode, push}, packing},
		{"fastpass", []frame{push, main_}, fastpass},
		{"a mutex of fastpass's", []frame{of("sync.(*Mutex).Lock"), push, main_}, standard},
		{"waiting for it", []frame{of("runtime.futex"), of("runtime.futexsleep"), of("runtime.mcall")}, scheduler},
		{"looking for work in the poller", []frame{kernel, epoll, of("runtime.netpoll"), of("runtime.findRunnable"), of("runtime.schedule")}, netpoll},
		{"looking for work elsewhere", []frame{of("runtime.runqgrab"), of("runtime.findRunnable"), of("runtime.schedule")}, scheduler},
		{"allocating", []frame{of("runtime.nextFreeFast"), of("runtime.mallocgc"), push}, allocating},
		{"collecting", []frame{of("runtime.scanobject"), of("runtime.gcDrain"), of("runtime.gcBgMarkWorker")}, collecting},
		{"something of the runtime's", []frame{of("runtime.rt0_go")}, runtimeRest},
		{"the benchmark's own system call", []frame{kernel, of("syscall.fcntl"), bench}, program},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := synthetic{types: []string{"samples", "cpu"}}
			s.add(c.stack, 3, int64(30*time.Millisecond))
			got, err := CostOf(s.profile(t))
			want := map[Part]time.Duration{c.want: 30 * time.Millisecond}
			if err != nil || !reflect.DeepEqual(got.Parts, want) || got.Total != 30*time.Millisecond || got.Samples != 3 {
				t.Errorf("%+v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestEveryPartIsReported(t *testing.T) {
	listed := map[Part]bool{}
	for _, p := range Parts {
		listed[p] = true
	}
	for pkg, p := range partOfPackage {
		if !listed[p] {
			t.Errorf("%s counts as %q, which the report leaves out", pkg, p)
		}
	}
}

func TestSystemCallsAndLinesComeDearestFirst(t *testing.T) {
	s := synthetic{types: []string{"samples", "cpu"}}
	s.add([]frame{kernel, of("syscall.RawSyscall6"), call, vsend, push}, 1, 10)
	s.add([]frame{kernel, of("unix.Close"), newConn}, 1, 25)
	s.add([]frame{push, main_}, 1, 1)
	s.add([]frame{of("sync.(*Mutex).Lock"), encode, push}, 1, 2)
	s.add([]frame{push, bench}, 1, 3)
	c, err := CostOf(s.profile(t))
	calls := []Line{{"fastpass/conn_unix.go:60", 25}, {"internal/sys.system.Send", 10}}
	lines := []Line{{"fastpass/outbox.go:180", 4}, {"cmsgpool/buffer.go:31", 2}}
	if err != nil || !reflect.DeepEqual(c.Calls, calls) || !reflect.DeepEqual(c.Lines, lines) {
		t.Errorf("calls %v, lines %v, %v", c.Calls, c.Lines, err)
	}
}

func TestAProfileOfTheWrongKindIsRefused(t *testing.T) {
	s := synthetic{types: []string{"contentions"}}
	if _, err := Allocations(s.profile(t)); err == nil {
		t.Error("Allocations takes it")
	}
	if _, err := CostOf(s.profile(t)); err == nil {
		t.Error("CostOf takes it")
	}
}
