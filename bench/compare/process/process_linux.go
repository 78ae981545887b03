// Package process runs the two processes of a contender, and is what those in Go use to be one.
//
// Each has one end of a socket pair as descriptor 3. When it could begin, it writes a line, "ready", and waits for one;
// does its work; writes its result as one line of JSON, and leaves the link open until its input ends. (A receiver may
// drop what it has not read when it finds the other end closed; libuv 1.44 does.)
package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Side is one of the two processes.
type Side struct {
	Cmd    *exec.Cmd
	Files  []*os.File // descriptor 4 and so on; they stay open here
	Result any        // where its result goes
}

// Run runs two processes with a socket pair of a type between them. The passive one begins first.
func Run(socket int, active, passive Side) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, socket|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	b, err := start(passive, pair[1])
	if err != nil {
		unix.Close(pair[0])
		return err
	}
	a, err := start(active, pair[0])
	if err != nil {
		return errors.Join(err, b.end(err))
	}
	err = errors.Join(b.ready(), a.ready())
	if err == nil {
		err = errors.Join(b.begin(), a.begin())
	}
	if err == nil {
		err = a.result(active.Result)
	}
	if err == nil {
		err = b.result(passive.Result)
	}
	return errors.Join(a.end(err), b.end(err))
}

type process struct {
	cmd  *exec.Cmd
	said bytes.Buffer
	in   io.WriteCloser
	out  *bufio.Reader
}

// start takes the link over.
func start(s Side, link int) (*process, error) {
	file := os.NewFile(uintptr(link), "link")
	defer file.Close()
	p := &process{cmd: s.Cmd}
	s.Cmd.ExtraFiles, s.Cmd.Stderr = append([]*os.File{file}, s.Files...), &p.said
	in, err := s.Cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := s.Cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, s.Cmd.Start()
}

func (p *process) ready() error {
	line, err := p.out.ReadString('\n')
	if err == nil && line != "ready\n" {
		err = fmt.Errorf("%s said %q instead of being ready", p, line)
	}
	return err
}

func (p *process) begin() error {
	_, err := io.WriteString(p.in, "\n")
	return err
}

func (p *process) result(to any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, to)
}

// end ends the process: its input, or where something went wrong itself. The error is about this process, with the
// first line of what it said, or why it was ended.
func (p *process) end(why error) error {
	p.in.Close()
	if why != nil {
		_ = p.cmd.Process.Kill() // one that failed by itself has ended before
	}
	err := p.cmd.Wait()
	if why == nil {
		why = err
	}
	if why == nil {
		return nil
	}
	if said, _, _ := strings.Cut(strings.TrimSpace(p.said.String()), "\n"); said != "" {
		return fmt.Errorf("%s: %s", p, said)
	}
	return fmt.Errorf("%s: %w", p, why)
}

// String names the process by its command line, which for those in Go is not much: see package role.
func (p *process) String() string { return strings.Join(p.cmd.Args, " ") }

// Ready is the other side: it says that this process could begin, and waits for the word.
func Ready() error {
	if _, err := fmt.Println("ready"); err != nil {
		return err
	}
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// Report writes this process's result, and returns when its input has ended.
func Report(result any) error {
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
