#!/bin/sh
# Runs every test program, also after one failed: one line each, the words of the failures, and at the end the names
# of what failed (a log is often read from its end) and a total as the very last line. usage: tests/run.sh SEPBENCH TEST...
# Exit 1 when a test failed or a program ran none. SKIP_TESTS="test_a test_b" leaves those out, and says so.
set -u

SEPBENCH=$1
# Threads that wait must not spin: tests share their cores with each other and with whoever else is here.
export SEPBENCH OMP_WAIT_POLICY=passive
# What tests measure is kept apart from what the user's own runs remember, of this build and of others.
XDG_CACHE_HOME=$(cd "$(dirname "$SEPBENCH")" && pwd)/tests/cache
export XDG_CACHE_HOME
mkdir -p "$XDG_CACHE_HOME"
shift
if [ $# -eq 0 ]; then
    echo "tests/run.sh: no test program given" >&2
    exit 1
fi

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT INT TERM
passed=0 failed=0 failures=

for test in "$@"; do
    name=$(basename "$test")
    case " ${SKIP_TESTS-} " in *" $name "*) echo "$name: left out by SKIP_TESTS" && continue ;; esac
    start=$(date +%s%N)
    "$test" >"$log" 2>&1
    code=$?
    ms=$((($(date +%s%N) - start) / 1000000))
    # cmocka: "[       OK ] test", "[  FAILED  ] test", and "[  ERROR   ]" for a group's own trouble
    ok=$(grep -c '^\[ *OK \]' "$log")
    ran=$(grep -c '^\[ RUN ' "$log")
    # Since 1.1.6 cmocka puts the group's name in front of the count.
    skipped=$(sed -n 's/^\[ *SKIPPED \] \([^:]*: \)\{0,1\}\([0-9]*\) test(s), listed below:.*/\2/p' "$log" | head -n 1)
    skipped=${skipped:-0}
    bad=$((ran - ok - skipped))
    [ "$bad" -eq 0 ] && { [ $code -ne 0 ] || [ "$ran" -eq 0 ]; } && bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
    note=; [ "$skipped" -gt 0 ] && note=", $skipped skipped"
    printf "%-24s %3d passed, %d failed%s, %d.%02d s\n" "$name" "$ok" "$bad" "$note" $((ms / 1000)) $((ms % 1000 / 10))
    grep '^# ' "$log"
    if [ "$bad" -ne 0 ]; then
        [ "$ran" -eq 0 ] && echo "    $name: no test ran"
        echo "    $name: exit code $code; its last words:"
        grep -v '^\[ *OK \]\|^\[ RUN ' "$log" | tail -n 60 | sed 's/^/    /'
        failures="$failures
FAILED $name: $(grep -v '^\[ *OK \]\|^\[ RUN \|^\[=\|^\[ *PASSED' "$log" | grep -m 3 . | tr '\n' ';')"
    fi
done

[ -z "$failures" ] || echo "${failures#?}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
