package pass

import (
	"gvisor.dev/gvisor/pkg/fdchannel"
	"gvisor.dev/gvisor/pkg/unet"
)

var viaUnet = way{
	name: "unet",
	sender: func(work, []int) (sender, error) {
		s, err := unet.NewSocket(link)
		if err != nil {
			return nil, err
		}
		return &plainSender{pass: func(fds []int) error {
			w := s.Writer(true)
			w.PackFDs(fds...)
			_, err := w.WriteVec([][]byte{{0}})
			return err
		}}, nil
	},
	receiver: func(w work) (receiver, error) {
		s, err := unet.NewSocket(link)
		if err != nil {
			return nil, err
		}
		return plainReceiver(func() ([]int, error) {
			r := s.Reader(true)
			r.EnableFDs(w.Batch)
			if _, err := r.ReadVec([][]byte{{0}}); err != nil {
				return nil, err
			}
			return r.ExtractFDs()
		}), nil
	},
}

var viaFDChannel = way{
	name:   "fdchannel",
	unable: oneOnly,
	sender: func(work, []int) (sender, error) {
		e := fdchannel.NewEndpoint(link)
		return &plainSender{pass: func(fds []int) error { return e.SendFD(fds[0]) }}, nil
	},
	receiver: func(work) (receiver, error) {
		e := fdchannel.NewEndpoint(link)
		one := make([]int, 1)
		return plainReceiver(func() (_ []int, err error) {
			one[0], err = e.RecvFD()
			return one, err
		}), nil
	},
}
