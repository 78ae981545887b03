//go:build !linux

package limit

import (
	"context"
	"errors"
	"fmt"
)

// Build returns an error that is [errors.ErrUnsupported]: the program is for Linux.
func Build(context.Context) (path string, err error) { return "", unsupported() }

// Run returns an error that is [errors.ErrUnsupported]: the program is for Linux.
func Run(context.Context, Options) (Result, error) { return Result{}, unsupported() }

func unsupported() error {
	return fmt.Errorf("limit: measured on Linux only: %w", errors.ErrUnsupported)
}
