/*
 * Acknowledging on a page of memory that sender S and receiver A share: a word that A moves on and S fences, a word in
 * which A grants credit, and one in which S asks for a frame, since it parks. S gives what A has not acknowledged to another
 * worker, B, when the link ends. That may be at any moment; either may be killed, or A stopped for ever, at any step, and
 * nothing but the page tells A of it: no BYE, unlike in fence.pml.
 *
 * Claims: no descriptor is seen by two applications (assert in see), none is lost (asserts in init), S believes nothing that
 * A did not receive, and both come to an end (spin's search for invalid end states). With -DNO_END S ends the link only if A is
 * gone, so that whoever waits for a frame that nobody sends waits for ever: a lost wake-up. The sender's timers, which
 * would cover one up, are left out.
 *
 * The names of the functions modelled stand at each step: internal/page, fastpass/page.go. Each step is one access to a
 * word. A mutation, -DNAME for one of the names in the #ifdefs, must make a claim fail.
 */

#ifndef N
#define N 3 /* descriptors, numbered from 0; a message carries one */
#endif
#ifndef ROOM
#define ROOM 1 /* descriptors that A lets be in flight, unless it has no room at all */
#endif

/* The page. */
byte acked;
bool fenced;       /* the top bit of acked */
byte limit = ROOM; /* takePage grants what A's HELLO has said, and S begins with that */
byte asked;

chan wire = [N] of { byte };       /* DATA */
chan frames = [3 * N] of { bit };  /* ACK: what they say does not count */

bool sGone, aGone;  /* killed; A: or stopped for ever */
bool sDone;         /* S has given back the rest */
byte sent;          /* outbox.sent */
byte seen[N];       /* applications that were given the descriptor */

inline see(d) {
	seen[d]++;
	assert(seen[d] == 1)
}

#define EACH(d, from, to, what) \
	d = from; \
	do \
	:: d < to -> what; d++ \
	:: else -> d = 0; break \
	od

/* ---------------------------------------------------------------- the sender: outbox.turn */

proctype Sender() {
	byte a, l, target, again;
	{
	do
	::	/* readPage */
		l = limit;
		a = acked;
		assert(a <= sent); /* flow.Sender.Acked */
		do
		:: atomic { sent < N && sent < l -> wire!sent; sent++ }
		:: else -> break
		od;
		if
		:: a == N -> break
		:: a < N -> /* await: waitsFor */
			if
			:: atomic { sent < N -> target = a }      /* for credit */
			:: atomic { sent == N -> target = N }     /* for the rest */
			:: atomic { sent > a -> target = a + 1 }  /* for anything: the link is idle */
			fi;
			/* Ask */
			if
			:: asked != target + 1 -> asked = target + 1
			:: else
			fi;
			target = 0;
#ifndef NO_SECOND_LOOK
			again = limit;
#ifdef ONLY_ACKED_IS_NEWS
			again = l;
#endif
			if
			:: again != l -> again = 0
			:: else ->
				again = acked;
				if
				:: again != a -> again = 0
				:: else -> again = 0;
#endif
					/* parked */
					if
					:: frames?_
					:: aGone -> break
#ifndef NO_END
					:: break /* Close, StallTimeout */
#endif
					fi
#ifndef NO_SECOND_LOOK
				fi
			fi
#endif
#ifndef NO_END
		:: a < N -> break /* at any other moment */
#endif
		fi
	od;
	/* turn, when the link is over: Fence, and then readPage */
#ifdef FENCE_AFTER_READING
	a = acked;
	fenced = true;
#else
#ifndef NO_FENCE
	fenced = true;
#endif
	a = acked;
#endif
	assert(a <= sent);
	/* shutWindow: what is not acknowledged comes back, and goes to B */
	atomic { EACH(l, a, N, see(l)); sDone = true }
	} unless { atomic { sGone -> a = 0; l = 0; target = 0; again = 0 } }
}

/* ---------------------------------------------------------------- the receiver: inbox */

byte taken; /* flow.Receiver.acked */

/* Page.Asked, and the frame. */
inline answer(need) {
	v = asked;
	if
	:: v != 0 && taken >= v - 1 ->
		atomic { /* the compare-and-swap */
			if
			:: asked == v -> asked = 0; v = 1
			:: else -> v = 0
			fi
		}
	:: else -> v = 0
	fi;
	atomic {
		if
		:: v != 0 || need -> frames!0
		:: else
		fi;
		v = 0
	}
}

proctype Receiver() {
	byte next, v, told = ROOM;
	bool ok;
	{
	do
	:: atomic { wire?v -> assert(v == next); next++; v = 0 }
	:: next > taken -> /* takeOnPage */
#ifdef DELIVER_BEFORE_TAKING
		atomic { EACH(v, taken, next, see(v)) };
#endif
#ifdef LOOK_AND_STORE
		ok = !fenced && acked == taken;
		if
		:: ok -> acked = next
		:: else
		fi;
#else
		atomic { /* Take */
			ok = !fenced && acked == taken;
			if
			:: ok -> acked = next
			:: else
			fi
		};
#endif
#ifdef THE_DEAD_HAVE_TAKEN_NOTHING_BACK
		atomic {
			if
			:: sGone -> ok = true
			:: else
			fi
		};
#endif
		if
		:: ok ->
#ifndef DELIVER_BEFORE_TAKING
			atomic { EACH(v, taken, next, see(v)) };
#endif
			taken = next; ok = false;
#ifdef ANSWER_BEFORE_GRANT
			answer(false);
#endif
			if /* Grant */
			:: limit = taken + ROOM; told = taken + ROOM
			:: limit = taken; told = taken /* there is no room */
			fi;
#ifndef ANSWER_BEFORE_GRANT
			answer(false)
#endif
		:: else -> break /* errCut: they are closed */
		fi
	:: told == taken && next == taken && nfull(frames) -> /* offer, when there is room */
		limit = taken + ROOM; told = taken + ROOM;
#ifdef OFFER_ON_THE_PAGE_ONLY
		skip
#else
		answer(true)
#endif
	:: (sDone || sGone) && empty(wire) && next == taken -> break
	od
	} unless { atomic { aGone -> next = 0; v = 0; told = 0; ok = false } }
}

proctype Death() {
	if
#ifndef NO_DEATH
	:: sGone = true
	:: aGone = true
#endif
	:: skip
	fi
}

init {
	byte d;
	atomic { run Sender(); run Receiver(); run Death() };
	_nr_pr == 1;
	if
	:: !sGone -> /* what A did not acknowledge went to B; what it did, A's application has, unless A died first */
		assert(sDone);
		atomic { EACH(d, 0, N, assert(seen[d] == 1 || aGone && d < acked)) }
	:: sGone && !aGone && !fenced -> /* what the dead one had sent arrives */
		atomic { EACH(d, 0, sent, assert(seen[d] == 1)) }
	:: else
	fi
}
