package fastpass

import "fmt"

// Desc is one descriptor on its way from one process to another.
type Desc struct {
	// FD is the descriptor. In a Bare link, bytes that came without a descriptor arrive with FD -1.
	//
	// The sender must own it. The number that (*os.File).Fd returns does not belong to its caller: it is closed with
	// the file, at the latest by the garbage collector, and may be another file's then. The example of Pool.Dispatch
	// shows how to give a net.Conn away.
	FD int

	// Tag travels with the descriptor (Framed); it means what the application wants it to mean.
	Tag uint64

	// Payload are bytes that travel with the descriptor: input already read from a connection, a PROXY
	// header. Sending copies them before it returns. RecvBatch appends to Payload[:0], so a slice that is used
	// again costs no allocation, and the bytes are the caller's.
	Payload []byte

	// Keep leaves FD open in the sending process; without it the library closes FD once it is delivered.
	// The caller may close a kept FD after OnSent, not before. Receivers find it false.
	Keep bool

	// Shared says, to a receiver, that other processes may hold this descriptor a while longer: it was lent (Keep), or
	// was taken back from a receiver that is stopped and has a copy in its queue. Closing such a socket does not end
	// the connection; shutting it down does. Conn does that by itself. Senders leave it as it is: false, or as
	// Undelivered returned it.
	Shared bool

	brief  bool   // accepted by Serve, and for sys.Kernel.CloseBriefly
	client uint16 // what Hash goes by where Tag is 0, as it has been found out; 0: it has not
}

func (d Desc) String() string {
	return fmt.Sprintf("descriptor %d (tag %d, %d bytes)", d.FD, d.Tag, len(d.Payload))
}
