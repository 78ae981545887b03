// Package ring holds bounded rings that hand values from goroutine to goroutine without locks, in batches, and
// without allocating.
//
//	SPSC    one producer, one consumer: a queue
//	MPSC    many producers, one consumer: a queue on top of Window
//	MPMC    many producers, many consumers: a queue
//	Window  many producers, one consumer, and entries that stay readable until they are released:
//	        a retransmission window
//	Event   parking and waking for all of the above, which themselves never block
//
// A ring is full or it is not; Push says so and returns. Who wants to wait pairs the ring with an [Event], or spins
// with [runtime.Gosched]. PushBatch and PopBatch do for a whole slice what Push and Pop do for one value, at nearly
// the same cost per call: that, not the missing lock, is where the speed comes from.
//
// A capacity is a power of two and at least 1. The constructors panic on any other, since it is a mistake in the
// program and not a condition that it could meet at run time. A ring must not be copied.
//
// # When not to use it
//
//   - When the goroutines mostly wait: a channel parks and wakes more cheaply than Event does, has select, close
//     and range, and needs no care.
//   - When values come one at a time and a consumer that polls takes each as it comes. Then every value costs the
//     journey of its cache lines from core to core, some 100 ns, and a channel, which parks the consumer until there is
//     more, is as fast or faster. Batches pay that once for many; so does a consumer that has something else to do.
//   - When it does no harm to wait for a goroutine that is preempted with a lock held: in batches, a slice under
//     a sync.Mutex, with two of sync.Cond, is about as fast as a ring with two Events.
//   - When the number of queued values has no bound known beforehand, or their order is by priority.
//   - When a producer can stop for ever between claiming and publishing. In MPSC, MPMC and Window the values behind
//     its slots then wait for ever too. Calls never wait for each other, every one of them returns, but the queue as a
//     whole is lock-free only in the loose sense in which the name is commonly used: a preempted producer delays the
//     consumers until it runs again.
//   - When T is large. Values are copied in and out; queue pointers or indices then.
//
// # Where the algorithms come from
//
//   - SPSC is Lamport's ring ("Proving the Correctness of Multiprocess Programs", 1977) with each side remembering the
//     other side's index, as MCRingBuffer (Lee et al., 2009) and Rigtorp's SPSCQueue do.
//   - MPMC is Vyukov's bounded MPMC queue (1024cores.net) with a mark per run in place of a sequence number per slot, so
//     that a batch costs two atomic writes and not two per value, and with one array of marks for each direction.
//   - Claiming a run of slots with one compare-and-swap is what the LMAX Disruptor (Thompson et al., 2011) and DPDK's
//     rte_ring do. Unlike rte_ring, where a producer waits for the ones before it to move a shared tail, Window and
//     MPMC mark every run by itself, so that those who fill or empty them finish in any order.
//   - Event is an eventcount with the store-load handshake of Dekker's algorithm.
//
// # Memory ordering
//
// Go's atomics are sequentially consistent, and a load that sees a store happens after it. The rings lean on these
// pairs and on nothing else; every other field is written by one side only, or never after construction.
//
//	       atomic write         by                publishes                              observed by
//	SPSC   tail.Store           Push, PushBatch   the values in [old tail, new tail)     tail.Load in Pop, PopBatch
//	SPSC   head.Store           Pop, PopBatch     [old head, new head) is zero and free  head.Load in Push, PushBatch
//	MPMC   next.CompareAndSwap  Push to PopBatch  nothing: reserves the run              the same side's CompareAndSwap
//	MPMC   toEmpty mark.Store   Push, PushBatch   the values of the whole run            mark.Load in Pop, PopBatch
//	MPMC   toFill mark.Store    Pop, PopBatch     the whole run is zero and free         mark.Load in Push, PushBatch
//	MPMC   limit.CompareAndSwap Push to PopBatch  what mark.Load observed, handed on     limit.Load of the same side
//	Window tail.CompareAndSwap  Claim             nothing: reserves the run              the other producers' CompareAndSwap
//	Window segs.CompareAndSwap  Slots, Publish    a zeroed segment                       segs.Load everywhere
//	Window runs.Store           Publish           the values of the whole run            runs.Load in Published
//	Window head.Store           Release           [old head, to) is zero and free        head.Load in Claim
//	Window limit.Store          Claim             what head.Load observed, handed on     limit.Load in other Claims
//	Event  armed.Store true     Wait              that ready is about to be evaluated    armed.Load in Notify
//
// Indices that different sides write stand on cache lines of their own (cpu.CacheLinePad). Neighbouring slots do
// share lines: padding them would cost up to a line per value, and batches make the sharing rare.
//
// # Allocation
//
// SPSC, MPMC and Event allocate nothing after construction. Window, and MPSC on top of it, make their storage in
// segments of 512 slots when a segment is first reached, so that an idle window costs next to nothing however large
// its capacity; after the first lap nothing allocates.
//
// # Misuse
//
// Building with the tag invariants turns on checks of Window's preconditions, which panic.
package ring
