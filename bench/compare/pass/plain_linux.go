package pass

// plainSender makes a sender of a function that passes descriptors and leaves them open.
type plainSender struct {
	pass   func(fds []int) error
	copies []int
}

func (s *plainSender) lend(fds []int) error { return s.pass(fds) }

func (s *plainSender) give(fds []int) (err error) {
	if s.copies, err = copies(s.copies, fds); err != nil {
		return err
	}
	if err := s.pass(s.copies); err != nil {
		return err
	}
	return closeEach(s.copies)
}

func (s *plainSender) flush() error { return nil }

// plainReceiver makes a receiver of a function that takes a message's descriptors.
type plainReceiver func() ([]int, error)

func (r plainReceiver) receive() ([]int, error) { return r() }
func (r plainReceiver) close(fds []int) error   { return closeEach(fds) }
