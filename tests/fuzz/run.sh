#!/bin/sh
# Fuzzes every target for some seconds. usage: tests/fuzz/run.sh FUZZ SECONDS   What it finds stays in FUZZ's folder,
# as NAME-crash-..., NAME-timeout-... and so on; inputs that reach new code are kept there for the next time.
# Exit 1 when something was found.
set -u

fuzz=$1 seconds=$2
here=$(dirname "$0")/corpus
there=$(dirname "$fuzz")
found=0

for target in $("$fuzz" 2>&1 | sed -n 's/^  //p'); do
    mkdir -p "$there/corpus/$target"
    log=$there/$target.log
    OMP_NUM_THREADS=1 "$fuzz" "--target=$target" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=4096 \
        -close_fd_mask=3 -print_final_stats=1 "-artifact_prefix=$there/$target-" "$there/corpus/$target" \
        "$here/$target" >"$log" 2>&1
    code=$?
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%-12s %9s inputs, %s\n' "$target" "${inputs:-0}" "$([ $code -eq 0 ] && echo "nothing found" || echo "FOUND")"
    [ $code -eq 0 ] && [ "${inputs:-0}" -gt 0 ] && continue
    found=1
    grep -v '^stat::\|^#[0-9]*	' "$log" | tail -n 40 | sed 's/^/    /'
done
exit $found
