package fastpass

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"
)

// Protocol is what goes over the socket beside the descriptors.
type Protocol int

const (
	// Framed is for two ends that are both this library: tags, payloads, acknowledgements, and exactly one
	// application that gets each descriptor.
	Framed Protocol = iota

	// Bare is plain SCM_RIGHTS for any peer: no header, no acknowledgement. A descriptor is gone once the kernel has
	// taken it; if the peer dies before it receives it, it is lost. The bytes of a message are the payload of its first
	// descriptor (a single zero byte counts as none), so that one with a payload begins a message; tags do not travel.
	// Shared is false also for what was lent (Keep). Bytes without a descriptor arrive with FD -1. A packet longer
	// than 16 KiB and than MaxPayload is cut. On SOCK_STREAM bytes have no boundaries: of a payload that the socket
	// takes in parts, the rest comes in front of the next message's.
	//
	// A peer that is not this library has to offer room for Config.Batch descriptors, 253 by default, in each recvmsg:
	// the kernel drops what does not fit, and this end does not hear of it.
	Bare
)

func (p Protocol) String() string {
	switch p {
	case Framed:
		return "framed"
	case Bare:
		return "bare"
	}
	return fmt.Sprintf("Protocol(%d)", int(p))
}

// Direction is what an end does. One-way ends are cheaper, and refuse what they do not expect.
type Direction int

const (
	Both     Direction = iota // sends and receives
	SendOnly                  // a peer that sends descriptors here breaks the protocol, if the kernel lets it: see Config.Direction
	RecvOnly                  // Send fails
)

func (d Direction) String() string {
	switch d {
	case Both:
		return "both"
	case SendOnly:
		return "send only"
	case RecvOnly:
		return "receive only"
	}
	return fmt.Sprintf("Direction(%d)", int(d))
}

// Config says how a link works. A nil *Config, and every zero value in one, means the documented default.
// The Config is copied: changing it later changes nothing.
type Config struct {
	// Protocol is Framed by default. Both ends must use the same.
	Protocol Protocol

	// Network is the socket type that Listen, Dial and Pair make: "unixpacket" (SOCK_SEQPACKET) or "unix"
	// (SOCK_STREAM). The default is "unixpacket" for Framed where the platform has it, and "unix" otherwise.
	Network string

	// Direction is Both by default. What a link does is what both ends can: a Both end whose peer only sends does
	// without what only sending needs.
	//
	// A SendOnly end has the kernel refuse descriptors where it can (SO_PASSRIGHTS, Linux ≥ 6.16): the peer's sendmsg
	// fails with EPERM. Sockets made by Listen and Dial do so before anybody can send; the option belongs to the
	// socket, so it holds for other processes that share this end, too. Elsewhere, and if they were sent before, they
	// are closed and end the link with ErrProtocol. A link that sends to such an end fails with an error that wraps
	// syscall.EPERM, and its descriptors come back by Undelivered.
	Direction Direction

	// Window is how many descriptors may be queued or unacknowledged at most, a power of two up to 2^20. The default is
	// 16384, or less where that would be more than half of the descriptors that this process may open: the library
	// keeps its copies open until they are acknowledged. Slots are made on first use. The window is full as well while
	// the payloads in it have 512 KiB or more, for descriptors with a payload.
	Window int

	// Batch is how many descriptors one message carries at most, 1 to 253 (the kernel's limit, and the default).
	// Bare with Batch 1 speaks to peers that take one at a time, as many programs do.
	Batch int

	// Messages is how many messages one system call sends or receives at most, 1 to 64. By default it is as many as
	// carry about 2,000 descriptors, judging by Batch, from 8 to 32.
	Messages int

	// MaxPayload is how many bytes may travel with one descriptor, 4096 by default, at most 65536. A receiver must
	// take at least as much as the sender may send.
	MaxPayload int

	// Kinds limits what this end takes, to StreamSocket for example, to guard an application against what an untrusted
	// peer may send. The default, 0, takes everything. What is of another kind is taken in and acknowledged like the
	// rest, so the sender is rid of it, and then closed, tag and payload with it, where it would have been delivered:
	// Stats.Rejected counts. It costs a system call for each socket that comes, and two for others.
	Kinds Kind

	// OnSent is called for each descriptor, in order, once it is acknowledged (Framed) or taken by the kernel (Bare),
	// and closed here unless Keep. A Framed link sees the acknowledgement when it next sends, at once if a caller waits
	// (in Shutdown, or in Send for room), and otherwise mostly within 1 to 2 ms, on an idle machine within some 32 at
	// most. Until then the copy here is open, and a connection that the receiver closes is not closed yet for its
	// client (unless it came from NetListener: that is shut down first).
	//
	// Payload is nil. Calls do not overlap. It runs on a goroutine of the library, or on one that is in a method of
	// this Passer or of its Pool: it must not block, and must not call methods of the same Passer that wait (Send,
	// SendBatch, Shutdown, Close); TrySend, Push and Flush are allowed.
	OnSent func(Desc)

	// OnRefused is called for each descriptor that the kernel refused to pass, such as a number that is not open, under
	// the same rules as OnSent. The descriptor is the caller's again; the others of its batch go on. In a Pool it is
	// the worker's link that tells.
	OnRefused func(Desc, error)

	// Authorize decides for Listen and Dial whether the process at the other end may take part, before anything is read
	// from it or sent to it. By default it must run as the same user or as root. New, Pair, Spawn and Inherit do not
	// ask.
	//
	// It runs on the goroutine that is in Listener.Accept or Dial, on several at once if several are. It may block:
	// that holds up its own call only. An error from it is what Dial returns, wrapped. Accept closes the connection,
	// counts it (Listener.Refused), drops the error and goes on to the next: to hear of it, log it in Authorize.
	Authorize func(Credentials) error

	// Spin is how long Recv keeps looking at the socket before it parks, letting other threads go first each time. It
	// trades processor time for latency; 0 looks once more and never spins. It parks at once while other threads keep
	// the processor for longer than 100 µs. Measure before you set it: where nothing else ran it took a third off the time
	// there and back on one machine and a seventh at most on another, and beside a busy core it gained nothing.
	Spin time.Duration
}

const (
	maxWindow          = 1 << 20
	maxMessages        = 64
	maxMaxPayload      = 64 << 10
	defaultWindow      = 16 << 10
	maxDefaultMessages = 32
	defaultMaxPayload  = 4 << 10
	minBody            = 16 << 10 // payload bytes that share a frame before the batch is cut

	// A system call that carries so many full messages, or as many descriptors or bytes, gains nothing by carrying
	// more: what is around it hardly counts, and what the socket does not take was packed in vain.
	fullMessages = 8
	fullCall     = fullMessages * cmsgpool.MaxFDs
	fullBytes    = fullMessages * minBody
)

// withDefaults returns a checked copy of c in which no field is left to its default.
func (c *Config) withDefaults(softLimit int) (Config, error) {
	r := Config{}
	if c != nil {
		r = *c
	}
	if r.Window == 0 {
		half := max(softLimit/2, 64)
		r.Window = min(defaultWindow, 1<<(bits.Len(uint(half))-1))
	}
	if r.Batch == 0 {
		r.Batch = cmsgpool.MaxFDs
	}
	if r.Messages == 0 {
		r.Messages = min(max(fullMessages, fullCall/r.Batch), maxDefaultMessages)
	}
	if r.MaxPayload == 0 {
		r.MaxPayload = defaultMaxPayload
	}
	switch {
	case r.Protocol != Framed && r.Protocol != Bare:
		return r, fmt.Errorf("fastpass: Config.Protocol is %v, neither Framed nor Bare", r.Protocol)
	case r.Direction < Both || r.Direction > RecvOnly:
		return r, fmt.Errorf("fastpass: Config.Direction is %v, none of Both, SendOnly and RecvOnly", r.Direction)
	case r.Network != "" && r.Network != "unix" && r.Network != "unixpacket":
		return r, fmt.Errorf("fastpass: Config.Network is %q, neither \"unix\" nor \"unixpacket\"", r.Network)
	case r.Window < 1 || r.Window > maxWindow || r.Window&(r.Window-1) != 0:
		return r, fmt.Errorf("fastpass: Config.Window is %d, not a power of two up to %d", r.Window, maxWindow)
	case r.Batch < 1 || r.Batch > cmsgpool.MaxFDs:
		return r, fmt.Errorf("fastpass: Config.Batch is %d, outside 1..%d", r.Batch, cmsgpool.MaxFDs)
	case r.Messages < 1 || r.Messages > maxMessages:
		return r, fmt.Errorf("fastpass: Config.Messages is %d, outside 1..%d", r.Messages, maxMessages)
	case r.MaxPayload < 1 || r.MaxPayload > maxMaxPayload:
		return r, fmt.Errorf("fastpass: Config.MaxPayload is %d, outside 1..%d", r.MaxPayload, maxMaxPayload)
	case r.Kinds&^allKinds != 0:
		return r, fmt.Errorf("fastpass: Config.Kinds is %#x, which is more than all kinds (%#x)", uint8(r.Kinds), uint8(allKinds))
	case r.Spin < 0:
		return r, errors.New("fastpass: Config.Spin is negative")
	}
	return r, nil
}

// maxBody is the largest frame body that an end with this configuration sends or takes.
func (c *Config) maxBody() int {
	return max(minBody, wire.RecordSize+c.MaxPayload, cmsgpool.MaxFDs*wire.RecordSize)
}

func (c *Config) sends() bool    { return c.Direction != RecvOnly }
func (c *Config) receives() bool { return c.Direction != SendOnly }

// network is the socket type to make.
func (c *Config) network() string {
	switch {
	case c.Network != "":
		return c.Network
	case c.Protocol == Framed && sys.HasSeqpacket:
		return "unixpacket"
	}
	return "unix"
}
