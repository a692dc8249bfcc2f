# Runs one throw-away Postgres server and removes every trace of it.
#
# $0 is the name of the directory and of the cluster, "$@" are arguments for postgres. From the environment:
# ANNALS_BIN, and with one entry a line ANNALS_BASES and ANNALS_PORTS.
# stdin: the superuser's password as one line, then nothing. Its end says that the owner is gone.
# stdout: one event a line, as the echo and sed commands below write them.
# Exits with 0 when the server and its directory are gone.

umask 077
set -f
IFS='
'
# PIPE: nobody may be left to read events. The others: only the owner and TERM end this script.
trap '' HUP INT QUIT PIPE
exec 3<&0 </dev/null 2>/dev/null
IFS= read -r password <&3 || exit 0

dir= child= status= ticks=0

# stop runs once a second from the moment the owner is gone: fast shutdown, then immediate, then kill.
# Fast shutdown is asked for again and again because a child that has just been forked ignores it.
stop() {
	ticks=$((ticks + 1))
	[ -n "$child" ] || return 0
	case $ticks in
	[1-5]) kill -INT "$child" ;;
	6) kill -QUIT "$child" ;;
	14) kill -KILL "$child" ;;
	esac
}
trap stop USR1 TERM

# The watcher blocks until the owner is gone and then ticks. USR1 and USR2 because signals that were ignored when
# this shell started cannot be trapped, and programs do ignore TERM.
(
	trap - USR1 TERM
	while read -r line <&3; do :; done
	nap=
	trap 'kill "$nap"; exit' USR2
	while kill -USR1 $$; do
		sleep 1 &
		nap=$!
		wait "$nap"
	done
) >/dev/null &
watcher=$!

# hold waits until the child is gone, whatever signals interrupt the wait, and sets status.
hold() {
	# The signal may have come between the fork and the assignment of child.
	[ "$ticks" -eq 0 ] || kill -INT "$child"
	while :; do
		wait "$child"
		status=$?
		kill -0 "$child" || break
	done
	child=
}

finish() {
	tries=0
	until [ -z "$dir" ] || { rm -rf "$dir" && [ ! -e "$dir" ]; } || [ "$tries" -ge 10 ]; do
		# Backends of a killed postmaster may still be writing.
		tries=$((tries + 1))
		sleep 1
	done
	kill -USR2 "$watcher"
	wait "$watcher"
	[ -z "$dir" ] || [ ! -e "$dir" ]
	exit
}

fail() {
	if [ "$ticks" -eq 0 ]; then
		echo "failed $1"
		tail -n 20 "$dir/log" | sed 's/^/log /'
	fi
	finish
}

for base in $ANNALS_BASES; do
	if mkdir "$base/$0"; then
		dir=$base/$0
		break
	fi
done
if [ -z "$dir" ]; then
	echo nobase
	finish
fi
echo "dir $dir"

[ "$ticks" -eq 0 ] || finish
printf '%s\n' "$password" >"$dir/password"
"$ANNALS_BIN/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" \
	-E UTF8 --locale=C --no-sync --no-instructions </dev/null >"$dir/log" 2>&1 3<&- &
child=$!
hold
rm -f "$dir/password"
[ "$status" -eq 0 ] || fail initdb

for port in $ANNALS_PORTS; do
	[ "$ticks" -eq 0 ] || finish
	"$ANNALS_BIN/postgres" -D "$dir/data" -p "$port" "$@" </dev/null >"$dir/log" 2>&1 3<&- &
	child=$!
	echo "port $port"
	hold
	# Only the first lines: later ones may quote what clients sent.
	head -n 4 "$dir/log" | grep -q 'could not bind' || break
done
fail server
