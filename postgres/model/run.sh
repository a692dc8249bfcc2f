#!/usr/bin/env bash
# Checks the model of the log's order with spin: the right design must pass an
# exhaustive search, and each broken one must be caught.
#
#   run.sh            all of them, one line each
#   run.sh NAME       one of them, with its counterexample step by step
#   run.sh list       their names
#
# Needs spin and a C compiler. As root on Debian or Ubuntu it installs what is
# missing. JOBS (default: the number of processors, at most 2, since a search may
# take up to 1.8 GB before it gives up) says how many run at a time.
set -euo pipefail
cd "$(dirname "$0")"

# name | expected verdict | switches | what it is
#
# The right design is searched in several sizes, because the product of all of
# them would not fit. The broken ones have the smallest size that shows the
# error: what goes wrong there goes wrong in every larger one, where the other
# processes may stand still.
designs() {
	cat <<-'END'
		right              | holds  | -DSAVEPOINTS=1 -DLAST_POSITION=3 | 3 writers, 2 readers, savepoints in one writer
		right-crash        | holds  | -DSAVEPOINTS=1 -DLAST_POSITION=3 -DREADERS=1 -DCRASHES=1 | the same with a crash and 1 reader
		right-prepared     | holds  | -DSAVEPOINTS=0 -DLAST_POSITION=3 -DREADERS=1 -DCRASHES=1 -DPREPARED | two-phase commit and a crash, no savepoints, 1 reader
		right-longer       | holds  | -DSAVEPOINTS=0 -DLAST_POSITION=4 | a position more: 3 writers, 2 readers, no savepoints
		right-savepoints   | holds  | -DWRITERS=2 -DREADERS=1 -DSAVEPOINTS=2 -DLAST_POSITION=4 | a position more: savepoints in both of 2 writers, 1 reader
		naive              | breaks | -DSAVEPOINTS=0 -DLAST_POSITION=3 -DNAIVE | position > cursor and nothing else; 3 writers, 2 readers
		no-locks           | breaks | -DNO_LOCKS | the bound is the sequence alone
		locks-only         | breaks | -DLOCKS_ONLY | the sequence is not read before the locks
		rows-first         | breaks | -DROWS_FIRST | the snapshot for the events is taken before the locks are read
		one-snapshot       | breaks | -DONE_SNAPSHOT | sequence, locks and events in REPEATABLE READ
		mark-once          | breaks | -DMARK_ONCE -DSAVEPOINTS=1 | a mark once per transaction, noted in the session
		cache              | breaks | -DCACHE | a sequence with CACHE 2
		cursor-at-bound    | breaks | -DCURSOR_AT_BOUND -DCRASHES=1 | the cursor goes to the bound; a crash
		sequence-by-select | breaks | -DSEQUENCE_BY_SELECT | the sequence is read by a plain SELECT
		release-first      | breaks | -DRELEASE_FIRST | locks are released before the events are visible
		flush-last         | breaks | -DFLUSH_LAST -DCRASHES=1 | visible before flushed: synchronous_commit = off; a crash
	END
}

# The size of the broken designs, unless the line says otherwise.
small() {
	local flags=$1 flag
	for flag in -DWRITERS=2 -DREADERS=1 -DSAVEPOINTS=0 -DLAST_POSITION=4; do
		case " $flags " in *" ${flag%%=*}="*) ;; *) flags="$flags $flag" ;; esac
	done
	echo "$flags"
}

install_tools() {
	local missing=()
	command -v spin >/dev/null || missing+=(spin)
	command -v "${CC:-cc}" >/dev/null || missing+=(gcc libc6-dev)
	[ ${#missing[@]} -eq 0 ] && return
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
			{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 || true
	fi
	if ! command -v spin >/dev/null || ! command -v "${CC:-cc}" >/dev/null; then
		echo "the model check needs spin and a C compiler: apt-get install spin gcc" >&2
		exit 1
	fi
}

# search NAME: leaves its line in $work/NAME/line, and a trail if there is one.
search() {
	local name=$1 expected flags mode states depth seconds verdict
	IFS='|' read -r _ expected flags _ < <(designs | grep "^$name ")
	expected=${expected// /}
	mkdir "$work/$name"
	cp log.pml "$work/$name"
	cd "$work/$name"
	if [ "$expected" = holds ]; then
		# Depth first. A search that hits the limit of depth or of memory is no
		# longer exhaustive; it says so, and is not taken for "holds".
		flags="$flags -DSYMMETRY"
		mode="-DSAFETY -DMEMLIM=1800"
	else
		# Breadth first: the counterexample is the shortest there is.
		[ "$name" = naive ] || flags=$(small "$flags")
		mode="-DSAFETY -DBFS -DMEMLIM=1800"
	fi
	echo "$flags" >flags
	# shellcheck disable=SC2086 # several switches each
	{
		spin -a $flags log.pml
		"${CC:-cc}" -O2 -w $mode -o pan pan.c
		TIMEFORMAT=%U
		time ./pan -m1000000 -w24
	} >out 2>&1 || true

	verdict=unclear
	if grep -q 'assertion violated' out; then
		verdict=breaks
	elif grep -q 'errors: 0$' out && ! grep -Eq 'max search depth too small|Search not completed|out of memory' out; then
		verdict=holds
	fi
	states=$(awk '/states, stored/ { printf "%d", $1; exit }' out)
	depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out)
	# Processor time of the search: the clock says little on a busy machine.
	seconds=$(tail -n 1 out)
	printf '%-18s  %-8s  %-7s  %10s  %7s  %7s\n' \
		"$name" "$expected" "$verdict" "${states:--}" "${depth:--}" "${seconds:--}" >line
	[ "$verdict" = "$expected" ] && touch ok
	return 0
}

heading() { printf '%-18s  %-8s  %-7s  %10s  %7s  %7s\n' design expected verdict states depth seconds; }

# trail NAME: the counterexample in words, the state it ends in left out. With
# none, what spin had to say.
trail() {
	local name=$1
	cd "$work/$name"
	if [ -f log.pml.trail ]; then
		[[ $(cat flags) == *SYMMETRY* ]] &&
			echo "(writers of one kind, and readers, are renumbered after each step)"
		# shellcheck disable=SC2046 # several switches
		spin -t -T $(cat flags) log.pml | sed -n '/^spin: trail ends/q; /^spin: .*Error/d; s/^spin: text of failed assertion: /violated: /; p'
	elif [ ! -f ok ]; then
		tail -n 20 out
	fi
}

install_tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case ${1:-all} in
list)
	designs | awk -F' *[|] *' '{ printf "%-18s  %-6s  %s\n", $1, $2, $4 }'
	;;
all)
	jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
	[ "$jobs" -gt 2 ] && jobs=${JOBS:-2}
	heading
	mapfile -t names < <(designs | awk '{ print $1 }')
	for name in "${names[@]}"; do
		while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
		(search "$name") &
	done
	wait
	bad=0
	for name in "${names[@]}"; do
		cat "$work/$name/line"
		[ -f "$work/$name/ok" ] || bad=1
	done
	for name in "${names[@]}"; do
		if [ ! -f "$work/$name/ok" ]; then
			printf '\n%s is not as expected\n' "$name"
			(trail "$name")
		fi
	done
	exit $bad
	;;
*)
	if ! designs | grep -q "^$1 "; then
		echo "no design is called $1; run.sh list names them" >&2
		exit 2
	fi
	(search "$1")
	(trail "$1")
	[ -f "$work/$1/log.pml.trail" ] && echo
	heading
	cat "$work/$1/line"
	[ -f "$work/$1/ok" ]
	;;
esac
