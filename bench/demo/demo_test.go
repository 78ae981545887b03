//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/policy"
)

// demoEnv makes the test binary the demo, whichever of its processes.
const demoEnv = "FDPASS_DEMO_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(demoEnv) != "" {
		main()
	}
	os.Exit(leak.Run(m))
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), demoEnv+"=1")
	return cmd
}

// status waits for the demo and returns its exit status, -1 after a signal. All its processes have its standard error;
// so if that is a buffer or has been read to its end, none of them is left when this returns.
func status(t *testing.T, wait func() error) int {
	t.Helper()
	err := wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// runDemo runs the demo to its end.
func runDemo(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	code = status(t, cmd.Run)
	return out.String(), errs.String(), code
}

// started is a demo that runs.
type started struct {
	*exec.Cmd
	out   bytes.Buffer
	lines *bufio.Scanner // its standard error
	seen  strings.Builder
}

func start(t *testing.T, args ...string) *started {
	t.Helper()
	s := &started{Cmd: command(args...)}
	s.Stdout = &s.out
	pipe, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.lines = bufio.NewScanner(pipe)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
	return s
}

// await reads standard error up to a line that matches, and returns what the expression's group caught.
func (s *started) await(t *testing.T, expr string) string {
	t.Helper()
	re := regexp.MustCompile(expr)
	for s.lines.Scan() {
		fmt.Fprintln(&s.seen, s.lines.Text())
		if m := re.FindStringSubmatch(s.lines.Text()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("no line matches %q in:\n%s", expr, &s.seen)
	return ""
}

// end waits until no process of the demo is left, and returns the exit status.
func (s *started) end(t *testing.T) int {
	t.Helper()
	for s.lines.Scan() {
		fmt.Fprintln(&s.seen, s.lines.Text())
	}
	return status(t, s.Wait)
}

func parseReport(t *testing.T, stdout string) *report {
	t.Helper()
	r := &report{}
	d := json.NewDecoder(strings.NewReader(stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	if d.More() {
		t.Fatalf("more than one object in %q", stdout)
	}
	return r
}

func TestNothingIsLostWhileWorkersAreKilledStoppedAndDrained(t *testing.T) {
	stdout, stderr, code := runDemo(t, "--seconds", "3", "--json")
	if code != 0 {
		t.Fatalf("exit status %d\n%s%s", code, stdout, stderr)
	}
	var keys map[string]any
	if err := json.Unmarshal([]byte(stdout), &keys); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		"connections", "seconds", "connections_per_second", "p50_ms", "p99_ms", "max_ms", "redelivered", "broken", "lost",
		"mallocs_per_connection", "killed", "stopped", "drained", "batches", "workers",
	} {
		if keys[key] == nil {
			t.Errorf("%s is missing", key)
		}
	}
	r := parseReport(t, stdout)
	if r.Lost != 0 || r.Twice != 0 {
		t.Errorf("%d lost, %d delivered twice", r.Lost, r.Twice)
	}
	if r.Connections == 0 || r.Connections != *r.Opened {
		t.Errorf("clients opened %d connections, workers took %d", *r.Opened, r.Connections)
	}
	if r.Killed != 1 || r.Drained != 1 || r.Stopped < 1 {
		t.Errorf("%d workers killed, %d stopped, %d drained", r.Killed, r.Stopped, r.Drained)
	}
	var sum uint64
	for _, w := range r.Workers {
		sum += w.Connections
	}
	if len(r.Workers) < 7 {
		t.Errorf("%d workers in all", len(r.Workers))
	}
	if sum != r.Connections {
		t.Errorf("the workers took %d connections, together %d", sum, r.Connections)
	}
}

func TestEveryPolicyAndNumberOfWorkersEndsWithATable(t *testing.T) {
	for _, args := range [][]string{
		{"--policy", "least-loaded"},
		{"--policy", "hash"},
		{"--policy=round-robin", "--workers=1"},
		{"--workers", "9", "--faults=false"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			stdout, stderr, code := runDemo(t, append(args, "--seconds", "1")...)
			if code != 0 {
				t.Errorf("exit status %d", code)
			}
			for _, word := range []string{
				"per second", "p50", "p99", "redelivered", "broken", "lost", "worker", "connections per message",
			} {
				if !strings.Contains(stdout, word) {
					t.Errorf("the table says nothing of %q", word)
				}
			}
			if t.Failed() {
				t.Logf("\n%s%s", stdout, stderr)
			}
		})
	}
}

func TestWhatCannotBeDoneIsRefusedInOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, args := range map[string][]string{
		"no workers":               {"--workers", "0"},
		"a negative number":        {"--workers=-1"},
		"too many workers":         {"--workers", "65"},
		"a number that is none":    {"--workers", "four"},
		"no time":                  {"--seconds", "0"},
		"too much time":            {"--seconds", "601"},
		"a duration":               {"--seconds", "10s"},
		"a bad policy":             {"--policy", "random"},
		"no policy":                {"--policy", ""},
		"an unknown option":        {"--frobnicate"},
		"a stray argument":         {"8080"},
		"a missing value":          {"--listen"},
		"an empty address":         {"--listen", ""},
		"a port without colon":     {"--listen", "8080"},
		"a port out of range":      {"--listen", ":70000"},
		"a port that is none":      {"--listen", ":no-such-port"},
		"an address not of here":   {"--listen", "192.0.2.1:8080"},
		"an address that is taken": {"--listen", taken.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := runDemo(t, args...)
			if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "demo: ") {
				t.Errorf("exit status %d, output %q, error %q", code, stdout, stderr)
			}
		})
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	stdout, stderr, code := runDemo(t, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit status %d, error %q", code, stderr)
	}
	for _, name := range []string{"workers", "seconds", "policy", "listen", "faults", "json", "help"} {
		if !strings.Contains(stdout, "--"+name) {
			t.Errorf("nothing on --%s", name)
		}
	}
	for _, name := range policy.Names {
		if !strings.Contains(stdout, name) {
			t.Errorf("nothing on %s", name)
		}
	}
}

func TestWithListenItServesOthersUntilInterrupted(t *testing.T) {
	s := start(t, "--listen", "127.0.0.1:0", "--workers", "2", "--json")
	url := s.await(t, `serving on (http://\S+/)`)
	const requests = 20
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range requests {
		r, err := c.Get(url + "hello")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if r.Body.Close(); err != nil || !strings.Contains(string(body), "answers GET /hello") {
			t.Errorf("%q, %v", body, err)
		}
	}
	s.Process.Signal(syscall.SIGINT)
	if code := s.end(t); code != 0 {
		t.Errorf("exit status %d\n%s", code, &s.seen)
	}
	if r := parseReport(t, s.out.String()); r.Connections != requests || r.Lost != 0 || len(r.Workers) != 2 {
		t.Errorf("%s", &s.out)
	}
}

func TestAnInterruptEndsTheLoadFirst(t *testing.T) {
	s := start(t, "--seconds", "60", "--json")
	s.await(t, `[1-9]\d* passed`)
	s.Process.Signal(syscall.SIGTERM)
	if code := s.end(t); code != 0 {
		t.Errorf("exit status %d\n%s", code, &s.seen)
	}
	if r := parseReport(t, s.out.String()); r.Connections == 0 || r.Lost != 0 {
		t.Errorf("%s", &s.out)
	}
}

func TestNoProcessIsLeftWhenTheFrontIsKilled(t *testing.T) {
	s := start(t, "--seconds", "4")
	s.await(t, `is stopped`)
	s.Process.Kill()
	if code := s.end(t); code != -1 { // returns when the last process has closed its standard error
		t.Errorf("exit status %d\n%s", code, &s.seen)
	}
}

func TestQuantilesAreNeverTooSmallNorThreePercentTooLarge(t *testing.T) {
	for v := uint64(0); v < 1<<33; v += 1 + v/7 {
		capped := min(v, 1<<32-1)
		if up := upper(bucket(v)); up < capped || float64(up) > float64(capped)*1.032 {
			t.Fatalf("%d is in a bucket up to %d", v, up)
		}
	}
	var l latency
	for i := 1; i <= 1000; i++ {
		l.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := l.quantile(q); got < want || got > want+want/32 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	if new(latency).quantile(0.5) != 0 {
		t.Error("nothing has a quantile")
	}
}
