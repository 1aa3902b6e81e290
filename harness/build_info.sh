#!/bin/sh
# usage: harness/build_info.sh FILE FLAGS
# Writes what is being built to FILE (read by harness/build_info.c), touching it only when something changed.
set -eu
commit=$(git rev-parse HEAD 2>/dev/null) || commit=unknown
dirty=false
# Only what ends up in the program counts: notes and results beside it do not make a build dirty.
[ -z "$(git status --porcelain -- Makefile kernels harness bench reports 2>/dev/null)" ] || dirty=true
flags=$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')
{
    echo "#define BUILD_COMMIT \"$commit\""
    echo "#define BUILD_DIRTY $dirty"
    echo "#define BUILD_FLAGS \"$flags\""
} >"$1.new"
if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
