package cmsgpool

// A Message is one control message of a received buffer.
type Message struct {
	Level int32 // cmsg_level: SOL_SOCKET for descriptors
	Type  int32 // cmsg_type: SCM_RIGHTS and so on

	// Data is a view of the parsed buffer, without the header and padding. Nil if
	// the message has none.
	Data []byte

	// Truncated says that cmsg_len claims more than the buffer holds, and that Data
	// was clamped to the buffer. macOS leaves cmsg_len so when the control buffer
	// was too small. Linux cuts cmsg_len back and never sets this; MSG_CTRUNC is not
	// proof either, so compare the number of descriptors with the expected one.
	Truncated bool
}

// IsRights reports whether the message is SCM_RIGHTS, whose descriptors [Message.FDs]
// returns. Every one of them is open in this process and now the caller's.
func (m Message) IsRights() bool { return m.Level == solSocket && m.Type == scmRights }

// IsPidfd reports whether the message is SCM_PIDFD, which Linux adds on a socket with
// SO_PASSPIDFD. It carries a descriptor of the sending process, which is the caller's
// to close like any other; [Message.FDs] returns it.
func (m Message) IsPidfd() bool { return isPidfd(m.Level, m.Type) }

// FDs returns the descriptors of a message for which [Message.IsRights] or
// [Message.IsPidfd] holds, and nil for all others. A trailing partial number is
// ignored. The caller owns every descriptor.
//
// The slice is a view of the parsed buffer and valid as long as that is. It is a copy,
// the one allocation of this package, where the message's data is not 4-byte aligned:
// never in a [Buffer], possible in a byte slice that begins at an odd address.
func (m Message) FDs() []int32 {
	switch {
	case m.IsRights():
		return int32s(m.Data)
	case m.IsPidfd():
		// Where it could not make a pidfd, for want of a free descriptor say, the
		// kernel writes the negative error number in its place.
		if fds := int32s(m.Data); len(fds) > 0 && fds[0] >= 0 {
			return fds
		}
	}
	return nil
}

// A Parser walks the control messages of one buffer. [Parse] makes it; the zero Parser
// has no messages. It is a small value on the stack, holds nothing to release, and
// is not safe for concurrent use.
type Parser struct {
	oob []byte
	pos int // where the next header begins; may lie beyond the end
}

// Parse returns a Parser of the control data of a received message. oob is what the
// kernel filled in, buffer[:msg_controllen], and no more: bytes behind that are left
// from earlier messages, and their numbers may be anybody's descriptors by now.
//
// The Parser and its messages refer to oob without changing it.
func Parse(oob []byte) Parser { return Parser{oob: oob} }

// Next returns the next control message, and false after the last. It never blocks,
// reads only within the buffer, and ends on every input: each message takes at least
// its header.
//
// A length beyond the buffer is clamped to it, and that message is the last. A length
// shorter than a header ends the walk, since nothing says where another message would
// begin, and a guess could take foreign numbers for descriptors.
func (p *Parser) Next() (m Message, ok bool) {
	// m is filled field by field: a literal would be built aside and copied, a wide
	// load that waits for the narrow stores before it, which costs a fifth.
	if len(p.oob)-p.pos < host.header {
		return m, false
	}
	b := p.oob[p.pos:]
	length, level, typ := host.get(b)
	if length < uint64(host.header) {
		p.pos = len(p.oob)
		return m, false
	}
	end := len(b)
	if length <= uint64(end) {
		end = int(length)
	} else {
		m.Truncated = true
	}
	if end > host.data {
		m.Data = b[host.data:end:end]
	}
	m.Level, m.Type = level, typ
	p.pos += host.space(end)
	return m, true
}

// OnlyRights returns the descriptors of oob if it is a single SCM_RIGHTS message, whole,
// as it nearly always is, and nil if not: then [Parse] tells what there is. It takes half
// of the time. oob is as for [Parse], and the result as for [Message.FDs].
func OnlyRights(oob []byte) []int32 {
	if len(oob) <= host.data {
		return nil
	}
	length, level, typ := host.get(oob)
	if level != solSocket || typ != scmRights || length > uint64(len(oob)) || host.space(int(length)) != len(oob) {
		return nil
	}
	return int32s(oob[host.data:length])
}

// AppendFDs appends the descriptors of all SCM_RIGHTS messages in oob to dst, in
// order, and returns the result. oob is as for [Parse]. It allocates only where dst
// lacks room (or oob is misaligned, see [Message.FDs]). The caller owns every descriptor
// appended.
//
// It leaves out pidfds: on a socket with SO_PASSPIDFD use [Parse], so that the one
// which comes with each message gets closed.
func AppendFDs(dst []int, oob []byte) []int {
	p := Parse(oob)
	for m, ok := p.Next(); ok; m, ok = p.Next() {
		if m.IsRights() {
			for _, fd := range m.FDs() {
				dst = append(dst, int(fd))
			}
		}
	}
	return dst
}
