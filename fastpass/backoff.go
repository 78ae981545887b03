package fastpass

import (
	"context"
	"net"
	"time"
)

// backoff is a pause that doubles each time. It is for shortages whose end nothing announces.
type backoff struct{ first, most, last time.Duration }

// shortage is how long to wait while the kernel or the descriptor table is short of something.
var shortage = backoff{first: time.Millisecond, most: 50 * time.Millisecond}

// aSecond is how many pauses of shortage, one after the other, take about a second.
const aSecond = 24

// next is how long to pause this time.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.first), b.most)
	return b.last
}

// reset makes the next pause the first again.
func (b *backoff) reset() { b.last = 0 }

// wait pauses. It returns early with the error of ctx, or with net.ErrClosed if done is closed.
func (b *backoff) wait(ctx context.Context, done <-chan struct{}) error {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return net.ErrClosed
	}
}
