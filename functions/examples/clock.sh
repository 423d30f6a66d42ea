#!/bin/sh
# Server-sent events: each line reaches the browser as it is printed.
#	curl -N http://127.0.0.1:8080/fn/clock
printf 'Content-Type: text/event-stream\nX-Accel-Buffering: no\n\n'
for _ in 1 2 3 4 5; do
	printf 'data: %s\n\n' "$(date -u +%T)"
	sleep 1
done
