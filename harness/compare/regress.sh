#!/bin/sh
# usage: harness/compare/regress.sh HEAD_PROGRAM [BASE_REVISION] [OPTIONS of sepbench compare]
# Builds the base revision in a worktree of its own and runs the gate between it and the head program. `make regress`
# calls this; a CI that wants the exit code calls it too, because make turns every failure into 2:
# 0 fine, 1 regression, 2 usage, 3 wrong result, 4 measurement invalid, 5 no base, 130 interrupted.
set -u
head=$1 base=${2-}
shift
[ $# -eq 0 ] || shift
folder=build-base
log=$folder/build.log
tree=$folder/tree

fail() { # CODE MESSAGE
    echo "sepbench: $2" >&2
    exit "$1"
}
trap 'fail 130 "interrupted: nothing was concluded"' INT TERM

git rev-parse --git-dir >/dev/null 2>&1 || fail 5 "not a git checkout: there is no base to compare with"
if [ -z "$base" ]; then
    for main in origin/HEAD origin/main origin/master main master; do
        base=$(git merge-base HEAD "$main" 2>/dev/null) && break
    done
    [ -n "$base" ] || fail 5 "no branch main or master to take the base from: name one with BASE=REVISION"
fi
commit=$(git rev-parse --verify --quiet --end-of-options "$base^{commit}") ||
    fail 5 "base '$base' is not a revision of this repository"

# The worktree stays for the next time. Of another revision nothing built is kept: its Makefile may have had other
# flags for the same objects.
mkdir -p $folder
git worktree prune
if [ "$(git -C $tree rev-parse HEAD 2>/dev/null)" != "$commit" ] || [ ! -e $tree/.git ]; then
    rm -rf $tree
    git worktree prune
    git worktree add --quiet --force --detach $tree "$commit" >$log 2>&1 ||
        fail 5 "base $base: no worktree for it: $(tail -n 1 $log)"
fi

echo "sepbench: building base $(git -C $tree log -1 --format='%h %s' | cut -c 1-60)" >&2
# Nothing of this make's command line reaches the base but compiler and flags: an INJECT is head's alone.
if ! env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL -u BUILD -u INJECT -u CFLAGS -u ARGS \
    make -C $tree ${BASE_CC:+CC="$BASE_CC"} ${BASE_CXX:+CXX="$BASE_CXX"} ${BASE_CFLAGS:+CFLAGS="$BASE_CFLAGS"} \
    build >$log 2>&1; then
    why=$(grep -i -m 1 'error' $log | cut -c 1-120)
    rm -rf $tree/build
    fail 5 "base $base does not build: ${why:-$(tail -n 1 $log)} ($log has the rest)"
fi
exec "$head" compare $tree/build/sepbench "$head" "$@"
