package fastpass

// Kind is a set of kinds of descriptors: StreamSocket|Pipe, say. See Config.Kinds.
type Kind uint8

// The kinds of descriptors.
const (
	StreamSocket Kind = 1 << iota // SOCK_STREAM of any family, connected, listening or neither
	OtherSocket                   // a socket of any other type: SOCK_DGRAM, SOCK_SEQPACKET …
	Pipe                          // with or without a name
	File                          // a regular file, also one without a name (memfd)
	Directory
	Device    // character or block device, terminals among them
	OtherKind // what is none of these: eventfd, epoll, pidfd, io_uring, BPF …

	sockets  = StreamSocket | OtherSocket
	allKinds = OtherKind<<1 - 1
)
