/*
 * The wake-ups of the sending half of a link: producers push into the window and try to become the flusher; who finds the
 * window full parks in a ring.Event; the flusher meets a full socket, or has no credit, and leaves; the writer goroutine, the
 * reader of acknowledgements and the flusher wake each other.
 *
 * Claims: every producer gets everything in and sees it acknowledged (Shutdown), and then nobody but the goroutines of
 * the link waits: spin's search for invalid end states finds any other end, which would be a lost wake-up. With
 * -DLIVE the claim is that this end is reached (weak fairness): nobody keeps working for ever without getting on.
 *
 * The names of the functions modelled stand at each step: fastpass/flusher.go, ring/event.go. A mutation, -DNAME for one of
 * the names in the #ifdefs, must make a claim fail.
 */

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef EACH
#define EACH 2 /* entries that each producer sends */
#endif
#define TOTAL (PRODUCERS * EACH)
#ifndef CAP
#define CAP 1 /* of the window: with 1, who comes second finds it full; with 2, the socket is found full */
#endif
#define CREDIT CAP /* descriptors in flight */

/* The window: positions only, and a claim is published by the same step, which the ring's own tests are about. */
byte tail, head;
byte sent;

/* The socket, and the peer behind it. */
bool crammed;     /* EAGAIN; it becomes writable again by itself */
byte received;    /* by the peer */
byte ackSent;     /* by the peer */

/* outbox */
byte work;
bool blocked;
bool wake;        /* the channel of one */
bool mailWaiting;
byte mailAck;
byte limit = CREDIT; /* flow.Sender */

/* ring.Event: outbox.freed */
bool armed;
bool mu;
bool parked[PRODUCERS]; /* on the list of the condition variable */

byte finished;    /* producers */

#define pending (tail - head)

inline lock() { atomic { !mu -> mu = true } }
inline unlock() { mu = false }

/* Event.Wait. READY is evaluated under the mutex, and again once the event is armed. */
#define PARK atomic { parked[_pid] = true; mu = false }; atomic { !parked[_pid] && !mu -> mu = true }
#ifdef ARM_WITHOUT_LOOK
#define ARM(READY) armed = true; PARK
#else
#ifdef LOOK_BEFORE_ARM
#define ARM(READY) \
	if \
	:: (READY) -> break \
	:: else -> armed = true; PARK \
	fi
#else
#ifdef LOOK_UNLOCKED
#define ARM(READY) \
	armed = true; \
	unlock(); \
	if \
	:: (READY) -> lock(); break \
	:: else -> lock(); PARK \
	fi
#else
#define ARM(READY) \
	armed = true; \
	if \
	:: (READY) -> break \
	:: else -> PARK \
	fi
#endif
#endif
#endif
#define WAIT(READY) \
	lock(); \
	do \
	:: (READY) -> break \
	:: else -> ARM(READY) \
	od; \
	unlock()

/* Event.Notify */
inline notify() {
	if
	:: !armed
	:: else ->
		lock();
#ifndef DISARM_LATE
		armed = false;
#endif
		atomic {
			k = 0;
			do
			:: k < PRODUCERS -> parked[k] = false; k++
			:: else -> break
			od;
			k = 0; mu = false
		}
#ifdef DISARM_LATE
		armed = false
#endif
	fi
}

/* outbox.readMail */
inline readMail() {
	if
	:: !mailWaiting
	:: else ->
		atomic { ack = mailAck; mailWaiting = false }; /* under mail.mu */
		if
		:: ack > head -> /* flow.Sender.Acked, release */
			assert(ack <= sent);
			limit = ack + CREDIT;
#ifdef NOTIFY_BEFORE_RELEASE
			notify();
			head = ack
#else
			head = ack; /* window.Release */
			notify()
#endif
		:: else
		fi;
		ack = 0
	fi
}

/* outbox.flush, with turn and sendSome. */
inline flush() {
	atomic { work++; seen = (work == 1 -> 1 : 0) };
	do
	:: seen == 0 -> break
	:: else ->
		/* turn */
		readMail();
		do
		:: blocked -> break
		:: !blocked && (sent == tail || sent >= limit) -> break /* sendSome: nothing to be sent, or no credit */
		:: !blocked && sent != tail && sent < limit ->
			if /* account */
			:: atomic { !crammed -> sent++ }
			:: atomic { !crammed -> sent++; crammed = true } /* this one fills the socket */
			:: crammed -> /* EAGAIN: blockUntilWritable */
#ifdef WAKE_BEFORE_BLOCKED
				wake = true;
				blocked = true
#else
				blocked = true;
				wake = true
#endif
			fi;
			readMail()
		od;
		/* whoever called meanwhile has left its call in work */
#ifdef NO_SECOND_LOOK
		work = 0; seen = 0
#else
		atomic { work = work - seen; seen = work }
#endif
	od
}

/* Senders: outbox.send, then Passer.Shutdown's wait. */
active [PRODUCERS] proctype Producer() {
	byte i, seen, ack, k;
	do
	:: i < EACH ->
		if
		:: atomic { pending < CAP -> tail++; i++ }; /* push: Claim, Publish */
			flush()
		:: pending >= CAP ->
			flush();
			WAIT(pending < CAP) /* sendReady */
		fi
	:: i == EACH -> break
	od;
	flush();
	WAIT(tail == TOTAL && pending == 0);
	finished++
}

/* outbox.writerLoop, the writer goroutine. */
active proctype Writer() {
	byte seen, ack, k;
end:
	do
	:: atomic { wake -> wake = false };
		!crammed; /* Passer.waitWritable */
		/* unblock */
		blocked = false;
#ifndef UNBLOCK_WITHOUT_FLUSH
		flush()
#endif
	od
}

/* inbox.pumpSome with takeAck: mail.postAck, then outbox.answer. */
active proctype Pump() {
	byte seen, ack, got, k;
end:
	do
	:: atomic { ackSent > got -> got = ackSent };
#ifdef MARK_BEFORE_MAIL
		mailWaiting = true;
		mailAck = got;
#else
		atomic { mailAck = got; mailWaiting = true }; /* under mail.mu */
#endif
		/* answer */
#ifdef ANSWER_IF_IDLE
		if
		:: work == 0 -> flush()
		:: else
		fi
#else
		if
		:: mailWaiting -> flush()
		:: else /* somebody has read it */
		fi
#endif
	od
}

/* The peer takes what comes, which makes room in the socket, and acknowledges. */
active proctype Peer() {
end:
	do
	:: atomic { received < sent -> received++; crammed = false }
	:: atomic { ackSent < received -> ackSent = received }
	od
}

#ifdef LIVE
ltl live { <> (finished == PRODUCERS) }
#endif
