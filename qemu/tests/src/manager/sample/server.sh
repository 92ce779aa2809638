#!/bin/sh
# Called by the vserver command: $1 is what happens, $2 the name of the vserver.
calls=/tmp/sample-calls
case $1 in
pre-start)
	echo "$2 is about to start" >>$calls
	;;
post-start)
	echo "$2 has started" >>$calls
	;;
pre-stop)
	echo "$2 is about to stop" >>$calls
	;;
post-stop)
	echo "$2 has stopped" >>$calls
	;;
*)
	echo "usage: $0 pre-start|post-start|pre-stop|post-stop NAME" >&2
	exit 1
	;;
esac
