#!/bin/sh
# Runs a bot under Kubernetes: until-replaced.sh propylon run bot:gateway ...
#
# A bot whose session was taken over ends with 0. Kubernetes would start its container anew, and that would take the
# session back from the new pod. So this stays, without a bot, until Kubernetes ends the old pod. Failures are passed on.
stopping=
bot=
trap 'stopping=1; [ -z "$bot" ] || kill -TERM "$bot" 2>/dev/null' TERM INT
"$@" &
bot=$!
# A signal that came before the bot had a number.
[ -z "$stopping" ] || kill -TERM "$bot"
wait "$bot"
code=$?
# A signal ends `wait` before the bot has ended.
while kill -0 "$bot" 2>/dev/null; do
    wait "$bot"
    code=$?
done
if [ -n "$stopping" ] || [ "$code" -ne 0 ]; then
    exit "$code"
fi
bot=
echo "replaced: waiting for the end of this pod"
# Short ones: a signal that comes just before `wait` does not end it.
while [ -z "$stopping" ]; do
    sleep 1 &
    wait $!
done
exit 0
