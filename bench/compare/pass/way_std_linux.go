package pass

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"example.com/fdpass/bench/compare/role"

	"golang.org/x/sys/unix"
)

// viaSys is the plain system calls over a blocking socket, with the control messages that package unix makes and reads.
var viaSys = way{
	name: "sys",
	sender: func(work, []int) (sender, error) {
		return &plainSender{pass: func(fds []int) error {
			return unix.Sendmsg(link, []byte{0}, unix.UnixRights(fds...), nil, 0)
		}}, nil
	},
	receiver: func(w work) (receiver, error) {
		data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*w.Batch))
		return plainReceiver(func() ([]int, error) {
			n, m, flags, _, err := unix.Recvmsg(link, data, control, unix.MSG_CMSG_CLOEXEC)
			switch {
			case err != nil:
				return nil, err
			case n == 0:
				return nil, io.ErrUnexpectedEOF
			}
			return rights(control[:m], flags)
		}), nil
	},
}

// rights reads the descriptors in a message's control data.
func rights(control []byte, flags int) ([]int, error) {
	if flags&unix.MSG_CTRUNC != 0 {
		return nil, errors.New("a message was cut")
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	return unix.ParseUnixRights(&messages[0])
}

// viaNet is what the standard library offers. The connections are net.Conns, as they are where they were accepted by
// it.
var viaNet = way{
	name: "net",
	sender: func(_ work, connections []int) (sender, error) {
		c, err := role.UnixConn(os.NewFile(link, "link"))
		if err != nil {
			return nil, err
		}
		s := &netSender{c: c}
		for _, fd := range connections {
			conn, err := net.FileConn(os.NewFile(uintptr(fd), "connection"))
			if err != nil {
				return nil, err
			}
			file, err := conn.(*net.TCPConn).File()
			if err != nil {
				return nil, err
			}
			s.conns, s.files = append(s.conns, conn.(*net.TCPConn)), append(s.files, file)
		}
		return s, nil
	},
	receiver: netReceiver,
}

// viaNetControl does without File: the numbers are those that SyscallConn tells. What is given away
// are the benchmark's copies, as with the plain system calls.
var viaNetControl = way{
	name: "net control",
	sender: func(_ work, connections []int) (sender, error) {
		c, err := role.UnixConn(os.NewFile(link, "link"))
		if err != nil {
			return nil, err
		}
		s := &controlSender{plainSender: plainSender{pass: func(fds []int) error { return writeRights(c, fds) }}}
		s.note = func(fd uintptr) { s.fds = append(s.fds, int(fd)) }
		for _, fd := range connections {
			file := os.NewFile(uintptr(fd), "connection")
			conn, err := net.FileConn(file)
			if err != nil {
				return nil, err
			}
			s.files = append(s.files, file) // or else the garbage collector closes what is copied
			raw, err := conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				return nil, err
			}
			s.conns = append(s.conns, raw)
		}
		return s, nil
	},
	receiver: netReceiver,
}

// controlSender asks the connections for their numbers each time. They stay open, so the numbers do what they say
// behind Control as well.
type controlSender struct {
	plainSender
	conns []syscall.RawConn
	files []*os.File
	note  func(fd uintptr) // made once: a closure for each would be an allocation for each
	fds   []int
}

func (s *controlSender) lend(fds []int) error {
	s.fds = s.fds[:0]
	for _, fd := range fds {
		if err := s.conns[fd-first].Control(s.note); err != nil {
			return err
		}
	}
	return s.pass(s.fds)
}

func netReceiver(w work) (receiver, error) {
	c, err := role.UnixConn(os.NewFile(link, "link"))
	if err != nil {
		return nil, err
	}
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*w.Batch))
	return plainReceiver(func() ([]int, error) {
		_, m, flags, _, err := c.ReadMsgUnix(data, control)
		if err != nil {
			return nil, err
		}
		return rights(control[:m], flags)
	}), nil
}

func writeRights(c *net.UnixConn, fds []int) error {
	_, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
	return err
}

type netSender struct {
	c     *net.UnixConn
	conns []*net.TCPConn
	files []*os.File // of the connections, for lending
	given []*os.File
	fds   []int
}

func (s *netSender) lend(fds []int) error {
	s.fds = s.fds[:0]
	for _, fd := range fds {
		s.fds = append(s.fds, int(s.files[fd-first].Fd()))
	}
	return writeRights(s.c, s.fds)
}

func (s *netSender) give(fds []int) error {
	s.fds, s.given = s.fds[:0], s.given[:0]
	for _, fd := range fds {
		file, err := s.conns[fd-first].File() // is a copy
		if err != nil {
			return err
		}
		s.given, s.fds = append(s.given, file), append(s.fds, int(file.Fd()))
	}
	if err := writeRights(s.c, s.fds); err != nil {
		return err
	}
	for _, file := range s.given {
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (s *netSender) flush() error { return nil }
