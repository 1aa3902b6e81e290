#!/bin/sh
# Somebody else on the cores: for SECONDS (default: until killed) takes all of them for 2 to 4 seconds at random, a
# fifth of the time. What a verdict must stand: sh tests/disturb.sh & make bench
set -u
end=${1:-0}
cores=$(nproc)
trap 'kill $(jobs -p) 2>/dev/null; exit 0' INT TERM
awk -v seed="$$" -v end="$end" 'BEGIN {
    srand(seed)
    for (at = 0; end == 0 || at < end; at += quiet + busy) {
        busy = 2 + 2 * rand()
        quiet = 2 * busy * (1 + 2 * rand()) # four times as long on average
        print quiet, busy
        fflush()
    }
}' | while read -r quiet busy; do
    sleep "$quiet"
    i=0
    while [ $i -lt "$cores" ]; do
        timeout "$busy" sh -c 'while :; do :; done' &
        i=$((i + 1))
    done
    wait
done
