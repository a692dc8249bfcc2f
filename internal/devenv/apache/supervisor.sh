# Runs the Java programs of one throw-away cluster, and removes every trace of them.
#
# $0 is the name of the directory to make, in the first of the lines of ANNALS_BASES that can be written to.
# stdin: one name a line; NAME starts the script run in the directory NAME of the directory. Its end says that the owner
# is gone: everything is killed, and the directory removed.
# stdout: one event a line: "dir DIR", "up NAME PID", "down NAME STATUS", or "nobase".
# Exits with 0 when the programs and the directory are gone.

umask 077
IFS='
'
# Only the owner ends this script.
trap '' HUP INT QUIT PIPE TERM
exec 3<&0 </dev/null 2>/dev/null

dir=
for base in $ANNALS_BASES; do
	if mkdir "$base/$0"; then
		dir=$base/$0
		break
	fi
done
if [ -z "$dir" ]; then
	echo nobase
	exit 0
fi
echo "dir $dir"

# keep runs one program. Who comes second of it and the end of the owner, the file pid or the file over, sees the other.
keep() {
	trap - HUP INT QUIT TERM
	/bin/sh "$dir/$1/run" >>"$dir/$1/log" 2>&1 3<&- &
	pid=$!
	echo "$pid" >"$dir/$1/pid"
	[ ! -e "$dir/over" ] || kill -KILL "$pid"
	echo "up $1 $pid"
	trap '' HUP INT QUIT PIPE TERM
	wait "$pid"
	status=$?
	rm -f "$dir/$1/pid"
	echo "down $1 $status"
}

while read -r name <&3; do
	keep "$name" &
done

echo >"$dir/over"
for file in "$dir"/*/pid; do
	[ ! -e "$file" ] || kill -KILL "$(cat "$file")"
done
wait
tries=0
until rm -rf "$dir" && [ ! -e "$dir" ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 10 ] || exit 1
	sleep 1
done
exit 0
