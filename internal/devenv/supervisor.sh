# Runs one throw-away Postgres server, or a PgBouncer, and removes every trace of it.
#
# $0 is the name of the directory and of the cluster, "$@" are arguments for postgres, or lines of PgBouncer's
# configuration. From the environment: ANNALS_KIND (server, standby, copy or pgbouncer), ANNALS_BIN, ANNALS_TLS (a
# certificate and its key for ../tls.pem, may be empty), and with one entry a line ANNALS_BASES and ANNALS_PORTS.
# stdin: the password for clients as one line, how to connect to the server behind (of a standby or a PgBouncer) as
# another, then nothing. Its end says that the owner is gone.
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
IFS= read -r upstream <&3 || exit 0

# prepare makes what serve, given a port and "$@", runs. Both become the program.
case $ANNALS_KIND in
standby | copy)
	preparer=pg_basebackup server=server soft=TERM # it ignores INT, as every child of this shell does at first
	prepare() {
		export PGPASSWORD="$password"
		[ "$ANNALS_KIND" = copy ] || set -- -R
		exec "$ANNALS_BIN/pg_basebackup" -d "$upstream" -D "$dir/data" "$@" -X stream -c fast --no-sync
	}
	;;
pgbouncer)
	preparer=true server=pgbouncer soft=TERM
	prepare() { :; }
	;;
*)
	preparer=initdb server=server soft=INT
	prepare() {
		exec "$ANNALS_BIN/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" \
			-E UTF8 --locale=C --no-sync --no-instructions
	}
	;;
esac
if [ "$ANNALS_KIND" = pgbouncer ]; then
	serve() {
		printf '"annals" "%s"\n' "$password" >"$dir/users"
		printf '%s\n' '[databases]' "* = $upstream" '[pgbouncer]' 'listen_addr = 127.0.0.1' "listen_port = $1" \
			'unix_socket_dir =' 'auth_type = scram-sha-256' "auth_file = $dir/users" 'admin_users = annals' >"$dir/ini"
		shift
		printf '%s\n' "$@" >>"$dir/ini"
		exec "$ANNALS_BIN/pgbouncer" "$dir/ini"
	}
else
	serve() {
		port=$1
		shift
		[ ! -e "$dir/hba" ] || set -- -c "hba_file=$dir/hba" "$@"
		exec "$ANNALS_BIN/postgres" -D "$dir/data" -p "$port" "$@"
	}
fi

dir= child= status= ticks=0

# stop runs once a second from the moment the owner is gone: fast shutdown, then immediate, then kill.
# Fast shutdown is asked for again and again because a child that has just been forked ignores it; PgBouncer's is TERM.
stop() {
	ticks=$((ticks + 1))
	[ -n "$child" ] || return 0
	case $ticks in
	[1-5]) kill -"$soft" "$child" ;;
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
	[ "$ticks" -eq 0 ] || kill -"$soft" "$child"
	while :; do
		wait "$child"
		status=$?
		kill -0 "$child" || break
	done
	child=
}

# orphans ends what is left of a killed server: a session that waits for a lock which another one was killed with does
# not notice that it is alone, and no server starts beside it.
orphans() { pkill -KILL -f "^postgres: $0: "; }

finish() {
	orphans
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
if [ -n "$ANNALS_TLS" ]; then
	printf '%s\n' "$ANNALS_TLS" >"$dir/tls.pem"
	printf '%s\n' 'hostssl all all all scram-sha-256' 'hostssl replication all all scram-sha-256' >"$dir/hba"
fi
unset ANNALS_TLS
prepare </dev/null >"$dir/log" 2>&1 3<&- &
child=$!
hold
rm -f "$dir/password"
[ "$status" -eq 0 ] || fail "$preparer"
[ "$ANNALS_KIND" = pgbouncer ] || soft=INT

for port in $ANNALS_PORTS; do
	# Again and again while the owner wants it: it has killed the server, and it takes a moment until nothing of that is
	# there, beside which a new one does not start.
	while :; do
		[ "$ticks" -eq 0 ] || finish
		serve "$port" "$@" </dev/null >"$dir/log" 2>&1 3<&- &
		child=$!
		echo "port $port"
		hold
		while [ -e "$dir/down" ] && [ "$ticks" -eq 0 ]; do sleep 0.05; done
		[ -e "$dir/again" ] || break
		orphans
		sleep 0.05
	done
	# Only the first lines: later ones may quote what clients sent.
	head -n 4 "$dir/log" | grep -Eq 'could not bind|Address already in use' || break
done
fail "$server"
