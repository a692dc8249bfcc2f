/*
 * The order of the log: a model of what DESIGN.md, sections 3 and 4, says.
 *
 * Writers append in transactions, readers read, the server may crash. Spin
 * tries every order of their steps. The words are those of DESIGN.md: position,
 * mark, bound, cursor, hole.
 *
 * How to read it. Each process is one loop over guarded steps, and the place
 * where it stands is a field, `at`, so that a crash can move all of them at
 * once. One atomic block is one step that Postgres does in one piece, as seen
 * by the others; the comment above it says what makes it one piece. A step that
 * nobody else can see, such as BEGIN or SAVEPOINT, is part of the next one that
 * somebody can see: it commutes with all that the others do.
 *
 * How large. Positions go up to LAST_POSITION, and that is all that bounds the
 * writers: a session runs transaction after transaction, and a transaction
 * statement after statement, until no position is left.
 *
 * Switches that change the size: WRITERS, READERS, LAST_POSITION, SAVEPOINTS
 * (the first so many writers use them), CRASHES, PREPARED (two-phase commit).
 * Switches that break the design, one at a time: see run.sh.
 */

#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef READERS
#define READERS 2
#endif
#ifndef LAST_POSITION
#define LAST_POSITION 4
#endif
#ifndef SAVEPOINTS
#define SAVEPOINTS WRITERS
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

#if WRITERS < 2 || WRITERS > 3
#error "QUIET knows of two or three writers"
#endif
#if LAST_POSITION > 7
#error "sets of positions are bytes: LAST_POSITION is 7 at most"
#endif

/* A set of positions is a byte with bit p for position p. Bit 0 is not used. */
#define SET(p)     (1 << (p))
#define UP_TO(p)   ((2 << (p)) - 1)
#define HIGHEST(s) ((s) & 128 -> 7 : ((s) & 64 -> 6 : ((s) & 32 -> 5 : ((s) & 16 -> 4 : \
                   ((s) & 8 -> 3 : ((s) & 4 -> 2 : ((s) & 2 -> 1 : 0)))))))
#define LEAST(a, b) ((a) < (b) -> (a) : (b))

#define NO_MARK 15 /* above every position, so that LEAST passes over it */

/* ------------------------------------------------------------ the server */

byte last;    /* the sequence: last position drawn */
byte visible; /* positions whose events a snapshot taken now shows */
byte durable; /* positions whose commit is flushed */

#ifdef SEQUENCE_BY_SELECT
/* What the row of the sequence shows to a plain SELECT. See draw(). */
byte shown;
bool drawing; /* somebody has the buffer of the sequence locked */
#define LAST_DRAWN shown
#define NOBODY_DRAWS !drawing
#else
#define LAST_DRAWN last
#define NOBODY_DRAWS true
#endif

/* Where a writer stands. */
#define IDLE      0 /* no transaction, or one that has not appended */
#define LOOKED    1 /* in the trigger: has read the sequence, has no lock yet */
#define MARKED    2 /* in the statement: has its lock, may draw */
#define OPEN      3 /* between statements */
#define FLUSHED   4 /* the commit is on disk, nobody sees it */
#define VISIBLE   5 /* everybody sees it, the locks are still held */
#define PREPARED_ 6 /* PREPARE TRANSACTION: survives a crash, locks and all */
#define AHEAD     7 /* SEQUENCE_BY_SELECT only: in the middle of nextval */

/*
 * A transaction has two levels: what was done outside of the savepoint, and
 * what was done since (the "inner" fields). The references to locks that one
 * level holds are given back together. The reader only wants the lowest mark.
 * So the lowest mark of a level stands for all of its references.
 */
typedef Writer {
	byte at;
	bool inner;       /* a savepoint is set */
	byte mark;        /* between reading the sequence and locking */
	byte kept;        /* the setting annals.mark, local to the transaction */
	byte kept_outer;  /* what a rollback to the savepoint makes of it */
	byte held;        /* lowest mark that the level holds a reference to */
	byte held_inner;
	byte rows;        /* positions of the level's events */
	byte rows_inner;
#ifdef MARK_ONCE
	bool noted;       /* in the session: "has a mark already" */
#endif
#ifdef CACHE
	byte cached;      /* drawn by this session, not used yet; 0 is none */
#endif
};

Writer W[WRITERS];

/* Where a reader stands. */
#define READY 0
#define DRAWN 1 /* r1 is done: has read the sequence */
#define BOUND 2 /* r2 is done: has read the locks */
#define SEEN  3 /* broken designs only: has an old snapshot in its hands */

typedef Reader {
	byte at;
	byte bound;  /* r1: last position drawn; r2: least(that, lowest mark) */
	byte seen;   /* broken designs only: the old snapshot */
	/* These two live outside of the server. */
	byte cursor; /* Page.Next of the last page */
	byte given;  /* positions that were delivered */
};

Reader R[READERS];

/* Set and used within one step, and 0 between steps, so that they do not make
   states. (Not "hidden", which a breadth-first search does not allow.) */
byte i, p, n, limit, lowest, back;
byte skipped, lost;
bool cut_short; /* the last page ended because it was full */

inline forget() {
	i = 0;
	p = 0;
	n = 0;
	limit = 0;
	lowest = 0
}

/* -------------------------------------------------------------- symmetry */

/*
 * It makes no difference which of two writers or readers stands where. With
 * SYMMETRY those that are of one kind are sorted after each step, so that one
 * state stands for all ways to number them. Not for counterexamples: T2 would
 * turn into T3 on the way.
 */
#ifdef SYMMETRY

#define SWAP(a, b) back = a; a = b; b = back

#define READER_KEY(r) (((((R[r].at * 16) + R[r].bound) * 16 + R[r].cursor) * 256) + R[r].given)
#define WRITER_KEY(w) (((((W[w].at * 16 + W[w].mark) * 16 + W[w].kept) * 16 + W[w].held) * 256) + W[w].rows)

inline sort_readers() {
	d_step {
#if READERS == 2
		if
		:: READER_KEY(0) > READER_KEY(1) ->
			SWAP(R[0].at, R[1].at);
			SWAP(R[0].bound, R[1].bound);
			SWAP(R[0].cursor, R[1].cursor);
			SWAP(R[0].given, R[1].given);
			back = 0
		:: else
		fi
#else
		skip
#endif
	}
}

/* The last two writers, if neither uses savepoints. */
inline sort_writers() {
	d_step {
#if WRITERS - SAVEPOINTS >= 2
		if
		:: WRITER_KEY(WRITERS - 2) > WRITER_KEY(WRITERS - 1) ->
			SWAP(W[WRITERS - 2].at, W[WRITERS - 1].at);
			SWAP(W[WRITERS - 2].mark, W[WRITERS - 1].mark);
			SWAP(W[WRITERS - 2].kept, W[WRITERS - 1].kept);
			SWAP(W[WRITERS - 2].held, W[WRITERS - 1].held);
			SWAP(W[WRITERS - 2].rows, W[WRITERS - 1].rows);
			back = 0
		:: else
		fi
#else
		skip
#endif
	}
}

#else
#define sort_readers() skip
#define sort_writers() skip
#endif

/* -------------------------------------------------------------- promises */

/*
 * Checked after every step that makes something visible or delivers something.
 * No event is at or before a cursor without having been given to that reader;
 * and what two readers have both passed is the same for both. Since each
 * reader's positions only grow (asserted in deliver), that is one order.
 */
inline check() {
	d_step {
		i = 0;
		do
		:: i < READERS ->
			skipped = visible & UP_TO(R[i].cursor) & ~R[i].given;
			if
			:: skipped != 0 ->
				printf("R%d has its cursor at %d and was never given %d\n", i + 1, R[i].cursor, HIGHEST(skipped))
			:: else
			fi;
			assert(skipped == 0);
			assert(((R[i].given ^ R[0].given) & UP_TO(LEAST(R[i].cursor, R[0].cursor))) == 0);
			i++
		:: else -> break
		od;
		i = 0
	}
}

/* --------------------------------------------------------------- writers */

inline end_transaction(w) {
	W[w].at = IDLE;
	W[w].inner = false;
	W[w].mark = 0;
	W[w].kept = NO_MARK;
	W[w].kept_outer = NO_MARK;
	W[w].held = NO_MARK;
	W[w].held_inner = NO_MARK;
	W[w].rows = 0;
	W[w].rows_inner = 0
#ifdef MARK_ONCE
	;
	W[w].noted = false
#endif
}

/* nextval, and the row that carries the position. The row is the writer's own
   until it commits, so the two are one step. nextval itself is one step because
   it holds the buffer of the sequence exclusively. */
inline draw(w) {
#ifdef CACHE
	if
	:: W[w].cached != 0 ->
		p = W[w].cached;
		W[w].cached = 0
	:: else ->
		p = last + 1;
		W[w].cached = last + 2;
		last = last + 2
	fi;
#else
	last++;
	p = last;
#endif
#ifdef SEQUENCE_BY_SELECT
	shown = last;
	drawing = false;
#endif
	if
	:: W[w].inner -> W[w].rows_inner = W[w].rows_inner | SET(p)
	:: else -> W[w].rows = W[w].rows | SET(p)
	fi;
	W[w].at = MARKED;
	printf("T%d draws %d\n", w + 1, p);
	p = 0
}

/* Is there a position left that this session could draw? */
#ifdef CACHE
#define LEFT(w) (W[w].cached != 0 || last + 2 <= LAST_POSITION)
#else
#define LEFT(w) (last < LAST_POSITION)
#endif

/* Everything of the transaction, at both levels. */
#define ROWS(w) (W[w].rows | W[w].rows_inner)

#define IN_TRANSACTION(w) (W[w].at == MARKED || W[w].at == OPEN)

proctype writer(byte w) {
end:	do
	:: atomic { if
	/* An append begins: its statement trigger reads the sequence. What may come
	   before it, nobody else sees: BEGIN; RELEASE SAVEPOINT, which gives all to
	   the outer level and leaves the setting as it is; SAVEPOINT. There is one
	   savepoint at a time: one inside it would be undone with it. */
	:: (W[w].at == IDLE || IN_TRANSACTION(w)) && LEFT(w) ->
		if
		:: W[w].inner ->
			W[w].rows = ROWS(w);
			W[w].rows_inner = 0;
			W[w].held = LEAST(W[w].held, W[w].held_inner);
			W[w].held_inner = NO_MARK;
			W[w].kept_outer = NO_MARK;
			W[w].inner = false;
			printf("T%d releases its savepoint\n", w + 1)
		:: true
		fi;
		if
		:: w < SAVEPOINTS && !W[w].inner ->
			W[w].inner = true;
			W[w].kept_outer = W[w].kept;
			printf("T%d sets a savepoint\n", w + 1)
		:: true
		fi;
		W[w].mark = LEAST(W[w].kept, LAST_DRAWN);
		W[w].at = LOOKED;
		printf("T%d appends: the last position drawn is %d\n", w + 1, LAST_DRAWN)

	/* The trigger takes its reference to the lock and keeps the mark. The lock
	   shows in pg_locks from here on. The setting is the session's own. Shared
	   locks do not wait for each other. */
	:: W[w].at == LOOKED ->
#ifdef MARK_ONCE
		if
		:: W[w].noted -> printf("T%d has noted that it has a mark, and takes none\n", w + 1)
		:: else ->
#endif
#ifndef NO_LOCKS
		if
		:: W[w].inner -> W[w].held_inner = LEAST(W[w].held_inner, W[w].mark)
		:: else -> W[w].held = LEAST(W[w].held, W[w].mark)
		fi;
#endif
		W[w].kept = W[w].mark;
		printf("T%d holds mark %d\n", w + 1, W[w].mark);
#ifdef MARK_ONCE
			W[w].noted = true
		fi;
#endif
		W[w].mark = 0;
		W[w].at = MARKED

#ifdef SEQUENCE_BY_SELECT
	/* Once in 32 draws nextval writes to the WAL. Before it does, it puts into
	   the row what the row should be after a crash, which is a number further
	   on; then the number drawn. It has the buffer locked all the while, but a
	   SELECT has let go of that lock when it takes the value from the row. */
	:: W[w].at == MARKED && LEFT(w) && !drawing ->
		drawing = true;
		shown = last + 3;
		W[w].at = AHEAD;
		printf("T%d begins to draw: for a moment the row of the sequence says %d\n", w + 1, shown)
	:: W[w].at == AHEAD -> draw(w)
#endif
	/* A statement draws one position for each of its rows, and the others may
	   draw in between. */
	:: W[w].at == MARKED && LEFT(w) && NOBODY_DRAWS -> draw(w)

	/* ROLLBACK TO SAVEPOINT. The events were nobody else's, the setting is the
	   session's own: what the others see is that the references are gone. */
	:: IN_TRANSACTION(w) && W[w].inner ->
		W[w].rows_inner = 0;
		W[w].held_inner = NO_MARK;
		W[w].kept = W[w].kept_outer;
		W[w].kept_outer = NO_MARK;
		W[w].inner = false;
		W[w].at = OPEN;
		printf("T%d rolls back to its savepoint\n", w + 1)

	/* ROLLBACK, or an error, or the client is gone. One step: nothing of it was
	   ever visible, so only the release of the locks is seen. (Not from LOOKED:
	   looking is seen by nobody, so it is the same as not having looked.) */
	:: IN_TRANSACTION(w) ->
		end_transaction(w);
		printf("T%d rolls back\n", w + 1)

	/* COMMIT is three steps: flushed, visible, locks released. The first is seen
	   by a crash alone; where there is none, it is one with the second. */
	:: IN_TRANSACTION(w) && ROWS(w) != 0 ->
#ifdef RELEASE_FIRST
		W[w].held = NO_MARK;
		W[w].held_inner = NO_MARK;
#endif
		W[w].at = FLUSHED;
		printf("T%d commits\n", w + 1);
#ifndef FLUSH_LAST
		durable = durable | ROWS(w);
#endif
#if CRASHES || defined(RELEASE_FIRST)
	:: W[w].at == FLUSHED ->
#endif
	/* All events of the transaction at once: it leaves the list of running
	   transactions in one piece. */
		visible = visible | ROWS(w);
		p = LEAST(W[w].held, W[w].held_inner);
		end_transaction(w);
		W[w].held = p;
		p = 0;
		W[w].at = VISIBLE;
		printf("T%d is visible\n", w + 1);
		check()
	:: W[w].at == VISIBLE ->
#ifdef FLUSH_LAST
		durable = visible;
#endif
		end_transaction(w);
		printf("T%d has released its locks\n", w + 1)

#ifdef PREPARED
	/* PREPARE TRANSACTION is flushed, and keeps its locks until it ends. */
	:: IN_TRANSACTION(w) && ROWS(w) != 0 ->
		W[w].at = PREPARED_;
		printf("T%d is prepared\n", w + 1)
	:: W[w].at == PREPARED_ ->
		durable = durable | ROWS(w);
		W[w].at = FLUSHED;
		printf("T%d commits what it has prepared\n", w + 1)
	:: W[w].at == PREPARED_ ->
		end_transaction(w);
		printf("T%d rolls back what it has prepared\n", w + 1)
#endif
	fi; sort_writers() }
	od
}

/* --------------------------------------------------------------- readers */

/*
 * finalUpTo: of the events that a snapshot shows, those that lie at or before
 * the bound, or follow the cursor without a hole, which is the cursor that this
 * loop moves. The first that does neither ends the page. A page may also end
 * because it is full, after any event.
 */
inline deliver(r, snapshot, upto) {
	n = 0;
	cut_short = false;
	limit = upto;
	p = R[r].cursor + 1;
	do
	:: p > LAST_POSITION -> break
	:: p <= LAST_POSITION && !(snapshot & SET(p)) -> p++
	:: p <= LAST_POSITION && (snapshot & SET(p)) && p > limit && p != R[r].cursor + 1 -> break
	:: p <= LAST_POSITION && (snapshot & SET(p)) && (p <= limit || p == R[r].cursor + 1) ->
		assert(p > HIGHEST(R[r].given));
		R[r].given = R[r].given | SET(p);
		R[r].cursor = p;
		n++;
		p++;
		printf("R%d delivers %d\n", r + 1, R[r].cursor)
	:: n > 0 -> cut_short = true; break
	od;
	check();
	forget()
}

/* Reading pg_locks is one step: it holds all partitions of the lock table. */
inline read_locks() {
	d_step {
		i = 0;
		lowest = NO_MARK;
		do
		:: i < WRITERS ->
			lowest = LEAST(lowest, LEAST(W[i].held, W[i].held_inner));
			i++
		:: else -> break
		od;
		i = 0
	}
}

inline done(r) {
	R[r].at = READY;
	R[r].bound = 0;
	R[r].seen = 0
}

#ifdef LOCKS_ONLY
#define SAW_DRAWN LAST_POSITION
#else
#define SAW_DRAWN LAST_DRAWN
#endif

/* Nobody has an append open. */
#define QUIET (W[0].at == IDLE && W[1].at == IDLE && W[WRITERS - 1].at == IDLE)

proctype reader(byte r) {
end:	do
	:: atomic { if
#ifdef NAIVE
	:: R[r].at == READY && (visible & ~UP_TO(R[r].cursor)) ->
		printf("R%d reads what is behind its cursor %d\n", r + 1, R[r].cursor);
		deliver(r, visible, LAST_POSITION);
		cut_short = false
#else
	/* The usual read: one statement, one snapshot, no look at any lock. It is
	   good for a run without a hole. A snapshot is taken in one piece, and what
	   is done with it afterwards touches nothing that others see. */
	:: R[r].at == READY && (visible & SET(R[r].cursor + 1)) ->
		printf("R%d reads a run behind its cursor %d\n", r + 1, R[r].cursor);
		deliver(r, visible, R[r].cursor);
		cut_short = false

	/* r1, the sequence. ReadLog asks for the bound at a hole only. Here it may
	   whenever something was drawn behind its cursor, which is more than it does,
	   and spares a step. */
	:: R[r].at == READY && LAST_DRAWN > R[r].cursor ->
#ifdef ONE_SNAPSHOT
		R[r].seen = visible;
#endif
		R[r].bound = SAW_DRAWN;
		R[r].at = DRAWN;
		printf("R%d asks for the bound: the last position drawn is %d\n", r + 1, R[r].bound)

#ifdef ROWS_FIRST
	:: R[r].at == DRAWN ->
		R[r].seen = visible;
		R[r].at = SEEN;
		printf("R%d takes the snapshot for its events\n", r + 1)
#define BEFORE_LOCKS SEEN
#else
#define BEFORE_LOCKS DRAWN
#endif

	/* r2, the locks. */
	:: R[r].at == BEFORE_LOCKS ->
		read_locks();
		R[r].bound = LEAST(R[r].bound, lowest);
		R[r].at = BOUND;
		if
		:: lowest == NO_MARK -> printf("R%d sees no mark: the bound is %d\n", r + 1, R[r].bound)
		:: else -> printf("R%d sees %d as the lowest mark: the bound is %d\n", r + 1, lowest, R[r].bound)
		fi;
		if
		:: R[r].bound <= R[r].cursor -> done(r) /* all that r3 could find is a run */
		:: else
		fi;
		forget()

	/* r3, the events, in a statement of its own: a new snapshot. */
	:: R[r].at == BOUND ->
		printf("R%d reads the events up to %d\n", r + 1, R[r].bound);
#if defined(ROWS_FIRST) || defined(ONE_SNAPSHOT)
		deliver(r, R[r].seen, R[r].bound);
#else
		deliver(r, visible, R[r].bound);
#endif
#ifdef CURSOR_AT_BOUND
		if
		:: !cut_short && R[r].bound > R[r].cursor ->
			R[r].cursor = R[r].bound;
			printf("R%d sets its cursor to the bound, %d\n", r + 1, R[r].cursor);
			check()
		:: else
		fi;
#endif
		cut_short = false;
		done(r)

	/* Progress: when nobody has an append open, a reader that reads on gets all
	   that is committed. Checked by a read that nobody comes between: r1, r2, r3
	   again and again, until the page is empty. */
	:: R[r].at == READY && QUIET && visible != R[r].given ->
		printf("R%d reads while all is quiet\n", r + 1);
		do
		:: back = R[r].given;
		   read_locks();
		   lowest = LEAST(LAST_DRAWN, lowest);
		   deliver(r, visible, lowest);
		   if
		   :: back == R[r].given -> break
		   :: else
		   fi
		od;
		back = 0;
		cut_short = false;
		assert(visible == R[r].given)
#endif
	fi; sort_readers() }
	od
}

/* ----------------------------------------------------------------- crash */

#if CRASHES
/*
 * Open transactions and all locks are gone; a commit that was flushed is
 * visible afterwards, whether it was before or not. Readers lose their
 * connection, and with it the bound they had; they keep their cursors.
 *
 * The sequence restarts at the last record of it that reached the disk: that
 * may be any number back to the highest position of a flushed transaction,
 * whose flush took along the record of the sequence, as it was written before.
 * It may also be a number further on, because nextval logs ahead.
 */
proctype server() {
	byte crashes = 0;
	do
	:: atomic { crashes < CRASHES ->
		crashes++;
		n = HIGHEST(durable); /* where the sequence may be at the least */
		i = 0;
		do
		:: i < WRITERS ->
			if
			:: W[i].at == PREPARED_ -> n = HIGHEST(SET(n) | ROWS(i))
			:: else -> end_transaction(i)
			fi;
#ifdef CACHE
			W[i].cached = 0;
#endif
			i++
		:: else -> break
		od;
		i = 0;
		do
		:: i < READERS -> done(i); i++
		:: else -> break
		od;
		visible = durable;
		/* What a reader was given stays in the store. */
		i = 0;
		do
		:: i < READERS ->
			lost = R[i].given & ~durable;
			if
			:: lost != 0 -> printf("the server crashes, and %d, which R%d was given, is lost\n", HIGHEST(lost), i + 1)
			:: else
			fi;
			assert(lost == 0);
			i++
		:: else -> break
		od;
		last = LEAST(last + 1, LAST_POSITION);
		do
		:: last > n -> last--
		:: break
		od;
#ifdef SEQUENCE_BY_SELECT
		shown = last;
		drawing = false;
#endif
		printf("the server crashes and starts again: the last position drawn is %d\n", last);
		check();
		forget();
		sort_writers();
		sort_readers()
	   }
	:: crashes == CRASHES -> break
	od
}
#endif

init {
	atomic {
		p = 0;
		do
		:: p < WRITERS -> end_transaction(p); run writer(p); p++
		:: else -> break
		od;
		p = 0;
		do
		:: p < READERS -> run reader(p); p++
		:: else -> break
		od;
#if CRASHES
		run server();
#endif
		p = 0
	}
}
