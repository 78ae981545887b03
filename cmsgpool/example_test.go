package cmsgpool_test

import (
	"fmt"

	"example.com/fdpass/cmsgpool"
)

func ExampleBuffer_Rights() {
	var b cmsgpool.Buffer
	slots := b.Rights(3)
	slots[0], slots[1], slots[2] = 10, 11, 12
	oob := b.Raw()[:cmsgpool.Space(3)] // what to hand to sendmsg
	fmt.Println(cmsgpool.AppendFDs(nil, oob))
	// Output: [10 11 12]
}

func ExampleParse() {
	var b cmsgpool.Buffer
	copy(b.Rights(2), []int32{10, 11})
	oob := b.Raw()[:cmsgpool.Space(2)] // as if recvmsg had returned it

	p := cmsgpool.Parse(oob)
	for {
		m, ok := p.Next()
		if !ok {
			break
		}
		switch {
		case m.IsRights():
			fmt.Println("descriptors:", m.FDs())
		case m.IsPidfd():
			fmt.Println("the sender's pidfd, to be closed too:", m.FDs())
		}
	}
	// Output: descriptors: [10 11]
}

func ExampleOnlyRights() {
	var b cmsgpool.Buffer
	copy(b.Rights(2), []int32{10, 11})
	oob := b.Raw()[:cmsgpool.Space(2)] // as if recvmsg had returned it

	fds := cmsgpool.OnlyRights(oob)
	if fds == nil {
		// There is something else, too, or nothing: walk it with Parse.
	}
	fmt.Println(fds)
	// Output: [10 11]
}

func ExampleAppendFDs() {
	var b cmsgpool.Buffer
	copy(b.Rights(2), []int32{10, 11})
	fds := make([]int, 0, cmsgpool.MaxFDs) // reused for every message
	fds = cmsgpool.AppendFDs(fds[:0], b.Raw()[:cmsgpool.Space(2)])
	fmt.Println(fds)
	// Output: [10 11]
}

func ExamplePool() {
	pool := cmsgpool.New(16)
	b := pool.Get()
	defer pool.Put(b)
	fmt.Println(len(b.Rights(cmsgpool.MaxFDs)), "slots")
	// Output: 253 slots
}
