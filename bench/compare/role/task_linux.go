package role

import (
	"context"
	"encoding/json"
	"os/exec"
)

// RegisterTask registers a role whose only argument is its task, as JSON.
func RegisterTask[T any](name string, run func(task T) error) {
	Register(name, func(args []string) error {
		var task T
		if err := json.Unmarshal([]byte(args[0]), &task); err != nil {
			return err
		}
		return run(task)
	})
}

// TaskCommand is Command for a role with a task.
func TaskCommand(ctx context.Context, name string, task any) (*exec.Cmd, error) {
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	return Command(ctx, name, string(text)), nil
}
