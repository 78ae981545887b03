/*
 * Fence, drain, redeliver: a Framed link over SEQPACKET from sender S to receiver A. S gives what A has not acknowledged
 * to another worker, B, when the link ends. At any moment S may fence (Close, or PoolConfig.StallTimeout), A may close, and either
 * may be killed; A may also be stopped for ever, which is the same as being killed without the kernel's closing
 * anything.
 *
 * Claims: no descriptor is seen by two applications (assert in see), none is lost (asserts in init), and every process comes
 * to an end (spin's search for invalid end states).
 *
 * The names of the functions modelled stand at each step: fastpass/ending.go, framed.go, inbox.go, flusher.go. A mutation,
 * -DNAME for one of the names in the #ifdefs, must make a claim fail.
 */

#ifndef N
#define N 2 /* descriptors, numbered from 0; a message carries one */
#endif
#define ROOM_A 2 /* messages that a send buffer holds: S finds it full when it wants to say BYE, */
#define ROOM_S 1 /* A when it wants to acknowledge */

mtype = { DATA, ACK, BYE };                  /* frames */
mtype = { OK, EAGAIN, EPIPE, RESET, NOTHING }; /* what a system call returns */

/* The kernel: a socket each. */
chan toA = [N + 2] of { mtype, byte };
chan toS = [N + 2] of { mtype, byte };
byte roomA = ROOM_A, roomS = ROOM_S;
bool sNoRecv, aNoRecv;    /* SHUT_RD on the socket */
bool sClosed, aClosed;
bool sReset, aReset;      /* ECONNRESET, pending */

/* A process that is gone takes no more steps. */
bool sGone, aGone;

byte seen[N];             /* applications that were given the descriptor */

inline see(d) {
	seen[d]++;
	assert(seen[d] == 1)
}

/* sendmsg: unix_dgram_sendmsg. Within an atomic. */
inline send(me_reset, peer_closed, peer_norecv, queue, room, type, value, result) {
	if
	:: me_reset -> me_reset = false; result = EPIPE
	:: !me_reset && (peer_closed || peer_norecv) -> result = EPIPE
	:: !me_reset && !(peer_closed || peer_norecv) && len(queue) < room -> queue!type,value; result = OK
	:: !me_reset && !(peer_closed || peer_norecv) && len(queue) >= room -> result = EAGAIN
	fi
}

/* recvmsg: unix_dgram_recvmsg looks at the queue, and only later at the shutdown. A message may come between. */
inline receive(me_reset, me_norecv, peer_closed, queue, type, value, result) {
	atomic {
		type = 0; value = 0;
		if
		:: me_reset -> me_reset = false; result = RESET
		:: !me_reset && nempty(queue) -> queue?type,value; result = OK
		:: !me_reset && empty(queue) -> result = EAGAIN
		fi
	};
	atomic {
		if
		:: result == EAGAIN && (me_norecv || peer_closed) -> result = NOTHING
		:: else
		fi
	}
}

/* unix_release_sock: whoever closes with messages unread resets the peer. What lay in the queue is closed. */
inline closeSocket(me_closed, queue, peer_reset) {
	atomic {
		if
		:: !me_closed ->
			me_closed = true;
			peer_reset = peer_reset || nempty(queue);
			do
			:: nempty(queue) -> queue?_,_
			:: empty(queue) -> break
			od
		:: me_closed
		fi
	}
}

/* ---------------------------------------------------------------- the sender */

bool sEnding;      /* Passer.ending */
bool sSaidBye;     /* BYE is in the queue */
bool sUnsaid;      /* Passer.byePending: somebody insists */
bool sOver;        /* Passer.acksOver */
byte sMail;        /* mail.ack */
byte sent, acked;  /* outbox.sent, outbox.head */
bool sDone;        /* Passer.done */

/* Passer.conclude and fence. The lock byeMu has nobody to keep out here: S acknowledges nothing. */
inline sConclude(r) {
	if
	:: atomic { !sEnding -> sEnding = true };
#ifndef NO_BYE
		atomic {
			send(sReset, aClosed, aNoRecv, toA, roomA, BYE, 0, r);
			if
			:: r == EAGAIN ->
#ifndef RAISE_REFUSED
				roomA++; /* RaiseSendBuffer */
#endif
				send(sReset, aClosed, aNoRecv, toA, roomA, BYE, 0, r);
#ifndef NO_INSISTING
				sUnsaid = (r == EAGAIN)
#endif
			:: else
			fi;
			sSaidBye = sSaidBye || (r == OK);
			r = 0
		};
#endif
#ifndef NO_FENCE
		sNoRecv = true /* ShutdownRead */
#endif
	:: atomic { sEnding -> skip }
	fi
}

#ifndef GIVE_BACK_UNSAID
#define OVER (sOver && !sUnsaid)
#else
#define OVER sOver
#endif

/* outbox.turn and what it calls, by whoever has the role of the flusher. */
proctype SenderFlush() {
	mtype r;
	byte d;
	{
	do
	::	/* turn: over is looked at before the mail. "over" is the role of r == NOTHING. */
		atomic {
			r = (OVER -> NOTHING : OK);
#ifdef MAIL_BEFORE_OVER
			r = OK;
#endif
		};
		acked = sMail;
#ifdef MAIL_BEFORE_OVER
		r = (OVER -> NOTHING : OK);
#endif
		atomic {
			if
			:: r == NOTHING -> break
			:: r == OK && sent < N -> /* sendSome */
				send(sReset, aClosed, aNoRecv, toA, roomA, DATA, sent, r);
				if
				:: r == OK -> sent++
				:: else
				fi
			:: else
			fi
		};
#ifdef RAISE_REFUSED
end_wait: /* init knows when that may be for ever */
#endif
		atomic { /* waits for the socket, or for whoever leaves mail or the end */
			r == OK && sent < N || r == EAGAIN && len(toA) < roomA || sMail != acked || OVER;
			r = 0
		}
	od;
	/* shutWindow: what is not acknowledged comes back, and goes to B */
	atomic {
		d = acked;
		do
		:: d < N -> see(d); d++
		:: else -> break
		od;
		d = 0
	};
	/* endLink */
	atomic { closeSocket(sClosed, toS, aReset); sDone = true }
	} unless { atomic { sGone -> r = 0; d = 0 } }
}

/* inbox.pump, pumpSome, fillPackets of the sender: it reads acknowledgements. */
proctype SenderPump() {
	mtype r, t;
	byte v;
	bool ended;
	{
	do
	::	receive(sReset, sNoRecv, aClosed, toS, t, v, r);
		if
		:: r == OK && t == ACK -> /* takeAck, postAck; flow.Sender checks it */
			atomic { assert(v > sMail && v <= sent); sMail = v; v = 0; t = 0; r = 0 }
		:: r == OK && t == BYE -> break /* stop */
		:: r == RESET ->
#ifdef RESET_IS_END
			break
#else
			skip /* receive: the rest of the data comes after it */
#endif
		:: r == NOTHING -> /* nothing: only the second time is it the end */
#ifndef FIRST_NOTHING_IS_END
			if
			:: ended -> break
			:: else -> ended = true
			fi
#else
			break
#endif
		:: r == EAGAIN ->
#ifdef NO_FENCE
			/* Without a fence there is no end to wait for: whatever has come is all. */
			if
			:: sEnding -> break
			:: nempty(toS) || sReset || sNoRecv || aClosed
			fi
#else
			nempty(toS) || sReset || sNoRecv || aClosed
#endif
		fi;
#ifdef NO_DRAIN
		if
		:: sEnding -> break
		:: else
		fi
#endif
	od;
	sConclude(r); /* stop */
	sOver = true  /* endAcks */
	} unless { atomic { sGone -> r = 0; t = 0; v = 0; ended = false } }
}

/* Passer.Close, or Pool.checkStalled: fail(ErrStalled). */
proctype SenderFence() {
	mtype r;
	{
	sConclude(r)
	} unless { atomic { sGone -> r = 0 } }
}

#ifdef RAISE_REFUSED
/* Passer.insist. While A is stopped it may be at it for ever, which is why sys.KeepHeadroom sees to it that the buffer can
 * be raised. */
proctype SenderInsist() {
	mtype r;
	{
end:
	do
	:: atomic { sUnsaid && (len(toA) < roomA || aClosed || aNoRecv || sReset) ->
		send(sReset, aClosed, aNoRecv, toA, roomA, BYE, 0, r);
		sSaidBye = sSaidBye || (r == OK);
		r = 0;
		sUnsaid = false }
	:: atomic { sDone -> break }
	od
	} unless { atomic { sGone -> r = 0 } }
}
#endif

/* ---------------------------------------------------------------- the receiver, which only receives: callers of Recv read */

bool aMu;                   /* inbox.mu */
bool aByeMu;                /* Passer.byeMu */
bool aEnding, aSaidBye;     /* Passer.ending, saidBye */
bool aClosing;              /* Passer.closed */
bool aOver;                 /* inbox.eof */
bool aBye, aOrphan, aCut;   /* inbox.bye, orphan, cut */
byte aNext, aTaken;         /* held are the numbers aTaken..aNext-1: flow.Receiver, queue */

inline lock(m) { atomic { !m -> m = true } }
inline unlock(m) { m = false }

inline aConclude(r) {
	if
	:: atomic { !aEnding -> aEnding = true };
		atomic { lock(aByeMu); aSaidBye = true };
		atomic { send(aReset, sClosed, sNoRecv, toS, roomS, BYE, 0, r); r = 0 }; /* if it stays unsaid: S has its copies */
		atomic { aNoRecv = true; unlock(aByeMu) }
	:: atomic { aEnding -> skip }
	fi
}

/* dropQueue, and discard. Within an atomic. */
inline aDrop() {
	aTaken = aNext
}

/* The application gets the n oldest that are held. Within an atomic. */
inline aSee(n) {
	v = 0;
	do
	:: v < n -> see(aTaken + v); v++
	:: else -> v = 0; break
	od
}

/* inbox.take: acknowledge first, then hand over. */
proctype ReceiverRecv() {
	mtype r, t;
	byte v, n;
	bool ended;
	{
	do
	::	atomic {
			lock(aMu);
			n = 0; r = 0; t = 0; v = 0;
			if
			:: aClosing -> unlock(aMu); break /* net.ErrClosed */
			:: !aClosing && aOver && aNext == aTaken -> unlock(aMu); break /* emptyError */
#ifdef ORPHAN_IS_DROPPED
			:: !aClosing && aCut && aOver && aOrphan && aNext > aTaken -> aDrop()
#endif
			:: !aClosing && aCut && aOver && !aOrphan && aNext > aTaken -> aDrop() /* the peer lives, and has taken them back */
			:: !aClosing && aNext > aTaken && (!aCut || aOver && aOrphan) -> n = aNext - aTaken /* copyQueue */
			:: !aClosing && !aOver && (aNext == aTaken || aCut) -> n = 255 /* readInto */
			fi
		};
		if
		:: n == 255 ->
			receive(aReset, aNoRecv, sClosed, toA, t, v, r);
			n = 0;
			if
			:: atomic { r == OK && t == DATA -> /* takeData */
				assert(v == aNext);
				v = 0; aNext++;
				n = (aCut -> 0 : aNext - aTaken) }
			:: r == OK && t == BYE -> /* stop */
				aBye = true;
				aConclude(r);
				aOver = true
			:: r == RESET
			:: r == EAGAIN -> /* parked in RawConn.Read, which the end and Close wake */
				r = 0; nempty(toA) || aReset || aNoRecv || sClosed || aClosing || aClosed
			:: atomic { r == NOTHING && !ended -> ended = true }
			:: r == NOTHING && ended -> /* hangUp */
				atomic {
					if
					:: !aEnding && !aBye -> aOrphan = true; aCut = true
					:: else
					fi
				};
				aConclude(r);
				aOver = true
			fi
		:: else
		fi;
		if
		:: n == 0 -> unlock(aMu)
		:: n > 0 ->
#ifdef DELIVER_BEFORE_ACK
			atomic { aSee(n) };
#endif
			atomic { /* acknowledge */
				if
				:: aOrphan -> r = OK
				:: else ->
					!aByeMu; /* ackWriter.write */
					if
					:: aClosed -> r = EPIPE
#ifndef ACK_AFTER_BYE
					:: !aClosed && aSaidBye -> r = EPIPE
					:: !aClosed && !aSaidBye ->
#else
					:: !aClosed ->
#endif
						send(aReset, sClosed, sNoRecv, toS, roomS, ACK, aTaken + n, r)
					fi
				fi;
#ifdef FAILED_ACK_IS_ORPHAN
				if
				:: r == EPIPE && !aSaidBye -> r = OK
				:: else
				fi
#endif
			};
			if
			:: atomic { r == OK ->
#ifndef DELIVER_BEFORE_ACK
				aSee(n);
#endif
				aTaken = aTaken + n;
				unlock(aMu) }
			:: atomic { r == EPIPE -> aCut = true; unlock(aMu) } /* errCut: they stay held until it is known whose they are */
			:: r == EAGAIN -> /* errWait: waitToAcknowledge */
				unlock(aMu);
				len(toS) < roomS || sClosed || sNoRecv || aReset || aClosing || aClosed
			fi
		fi
	od;
	/* shutWindow, endLink: the link has ended, and the socket goes */
	closeSocket(aClosed, toA, sReset)
	} unless { atomic { aGone -> r = 0; t = 0; v = 0; n = 0; ended = false } }
}

/* Passer.Close, at any moment or never before the end. */
proctype ReceiverClose() {
	mtype r;
	{
	if
#ifndef NO_CLOSE
	:: aClosing = true;
		aConclude(r);
		closeSocket(aClosed, toA, sReset);
		atomic { lock(aMu); aDrop(); unlock(aMu) }
#endif
	:: skip
	fi
	} unless { atomic { aGone -> r = 0 } }
}

/* ---------------------------------------------------------------- death */

/* What a dead process knew is forgotten, so that runs that differ in nothing else fall together. */
inline sDies() {
	sGone = true;
	sEnding = false; sUnsaid = false; sOver = false; sMail = 0; acked = 0
}

inline aDies() {
	aGone = true;
	aMu = false; aByeMu = false; aEnding = false; aSaidBye = false; aClosing = false;
	aOver = false; aBye = false; aOrphan = false; aCut = false; aNext = 0; aTaken = 0
}

proctype Death() {
	if
#ifndef NO_DEATH
#ifndef SENDER_LIVES
	:: atomic { sDies(); closeSocket(sClosed, toS, aReset) }
#endif
	:: atomic { aDies(); closeSocket(aClosed, toA, sReset) }
	:: atomic { aDies() } /* SIGSTOP: nothing is closed, and nothing is read */
#endif
	:: skip
	fi
}

init {
	byte d;
	atomic {
		run SenderFlush();
		run SenderPump();
		run SenderFence();
#ifdef RAISE_REFUSED
		run SenderInsist();
#endif
		run ReceiverRecv();
		run ReceiverClose();
		run Death()
	};
	/* However A is, a living sender gets to the end, unless it cannot even say BYE to one that is stopped. */
	_nr_pr == 1 || sUnsaid && aGone && !aClosed && !sGone && timeout;
	if
	:: !sGone && !sUnsaid -> /* all that A did not acknowledge went to B; all that it did, A's application has, unless A died first */
		assert(sDone);
		atomic {
			d = 0;
			do
			:: d < N -> assert(seen[d] == 1 || (aGone && d < acked)); d++
			:: else -> break
			od
		}
	:: else
	fi;
	if
	:: sGone && !aGone && !aClosing && !sSaidBye -> /* what the dead one had sent arrives */
		atomic {
			d = 0;
			do
			:: d < sent -> assert(seen[d] == 1); d++
			:: else -> break
			od
		}
	:: else
	fi;
	if
	:: !aGone -> assert(aTaken == aNext) /* every copy that A got was handed over or closed */
	:: else
	fi
}
