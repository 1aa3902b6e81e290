#!/bin/sh
# Runs every test program, also after one failed: one line each, the words of the failures, and at the end the names
# of what failed (a log is often read from its end) and a total as the very last line. usage: tests/run.sh SEPBENCH TEST...
# Exit 1 when a test failed or a program ran none. SKIP_TESTS="test_a test_b" leaves those out, and says so.
# JOBS (default: 2, on one core 1) run at a time, and last, one by one, those that judge by how long things take.
set -u

alone="test_explain test_hostile test_machine test_measure test_threads"

# ---- one program: xargs calls this file as --one NUMBER TEST

# In the order of their numbers, as soon as all before are there: nothing of two programs is mixed.
print_ready() {
    next=$(cat "$logs/next")
    while [ -e "$logs/$next.report" ]; do
        cat "$logs/$next.report"
        next=$((next + 1))
    done
    echo "$next" >"$logs/next"
}

# Its line, and the words of its failures. $1: the program, $2: its log, $3: exit code, $4: milliseconds
report() {
    name=$(basename "$1")
    # cmocka: "[       OK ] test", "[  FAILED  ] test", and "[  ERROR   ]" for a group's own trouble
    ok=$(grep -c '^\[ *OK \]' "$2")
    ran=$(grep -c '^\[ RUN ' "$2")
    # Since 1.1.6 cmocka puts the group's name in front of the count.
    skipped=$(sed -n 's/^\[ *SKIPPED \] \([^:]*: \)\{0,1\}\([0-9]*\) test(s), listed below:.*/\2/p' "$2" | head -n 1)
    skipped=${skipped:-0}
    bad=$((ran - ok - skipped))
    [ "$bad" -eq 0 ] && { [ "$3" -ne 0 ] || [ "$ran" -eq 0 ]; } && bad=1
    echo "$ok $bad" >>"$logs/counts"
    note=; [ "$skipped" -gt 0 ] && note=", $skipped skipped"
    printf "%-24s %3d passed, %d failed%s, %d.%02d s\n" "$name" "$ok" "$bad" "$note" $(($4 / 1000)) $(($4 % 1000 / 10))
    grep '^# ' "$2"
    [ "$bad" -ne 0 ] || return
    [ "$ran" -eq 0 ] && echo "    $name: no test ran"
    echo "    $name: exit code $3; its last words:"
    grep -v '^\[ *OK \]\|^\[ RUN ' "$2" | tail -n 60 | sed 's/^/    /'
    echo "FAILED $name: $(grep -v '^\[ *OK \]\|^\[ RUN \|^\[=\|^\[ *PASSED' "$2" | grep -m 3 . | tr '\n' ';')" >>"$logs/failures"
}

if [ "$1" = --one ]; then
    # What tests measure is kept apart from what the user's own runs remember, and from each other's.
    XDG_CACHE_HOME=$logs_cache/$(basename "$3")
    export XDG_CACHE_HOME
    mkdir -p "$XDG_CACHE_HOME"
    start=$(date +%s%N)
    "$3" >"$logs/$2.log" 2>&1
    code=$?
    ms=$((($(date +%s%N) - start) / 1000000))
    exec 9>"$logs/lock"
    flock 9
    report "$3" "$logs/$2.log" $code $ms >"$logs/$2.report"
    print_ready
    exit 0
fi

# ---- all of them

SEPBENCH=$1
# Threads that wait must not spin: tests share their cores with each other and with whoever else is here.
export SEPBENCH OMP_WAIT_POLICY=passive
shift
if [ $# -eq 0 ]; then
    echo "tests/run.sh: no test program given" >&2
    exit 1
fi
logs_cache=$(cd "$(dirname "$SEPBENCH")" && pwd)/tests/cache
logs=$(mktemp -d) || exit 1
export logs logs_cache
trap 'rm -rf "$logs"' EXIT
trap 'exit 1' INT TERM
touch "$logs/counts" "$logs/failures" "$logs/together" "$logs/alone"
echo 1 >"$logs/next"

number=0
for list in together alone; do
    for test in "$@"; do
        name=$(basename "$test") its=together
        case " ${SKIP_TESTS-} " in
        *" $name "*) [ $list = together ] && echo "$name: left out by SKIP_TESTS"; continue ;;
        esac
        case " $alone " in *" $name "*) its=alone ;; esac
        [ $its = $list ] && number=$((number + 1)) && echo "$number $test" >>"$logs/$list"
    done
done
most=$(nproc)
[ "$most" -lt 2 ] || most=2
xargs -r -n 2 -P "${JOBS:-$most}" sh "$0" --one <"$logs/together"
xargs -r -n 2 sh "$0" --one <"$logs/alone"

cat "$logs/failures"
awk -v programs=$number '
    { passed += $1; failed += $2 }
    END { failed += programs - NR; print passed + 0 " passed, " failed + 0 " failed"; exit failed > 0 || passed == 0 }' "$logs/counts"
