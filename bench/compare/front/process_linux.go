package front

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"example.com/fdpass/bench/compare/role"
)

// The processes that this package starts are this program again, in a role.
func init() {
	role.RegisterTask(withPool, acceptWithPool)
	role.RegisterTask(withLoop, acceptInLoop)
	role.RegisterTask(withNet, acceptWithNet)
	role.RegisterTask("front: work", work)
	role.RegisterTask("front: greet", greet)
	role.RegisterTask("front: load", loadUntilTold)
}

// process is one that this package has started. It ends when its standard input does.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	says *json.Decoder
}

// start starts cmd with files from descriptor 3 on.
func start(cmd *exec.Cmd, files ...*os.File) (*process, error) {
	cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd, in, json.NewDecoder(out)}, nil
}

// startRole starts this program again.
func startRole(ctx context.Context, name string, task any, files ...*os.File) (*process, error) {
	cmd, err := role.TaskCommand(ctx, name, task)
	if err != nil {
		return nil, err
	}
	return start(cmd, files...)
}

// order sends the process a line.
func (p *process) order(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// hear reads what the process says next.
func (p *process) hear(v any) error {
	if err := p.says.Decode(v); err != nil {
		return fmt.Errorf("process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// stop ends the process and waits until it has ended.
func (p *process) stop() error {
	p.in.Close()
	return p.wait()
}

func (p *process) wait() error {
	defer p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}
