#!/bin/sh
# Can a peer's library be used? Prints "yes", or in words why not. Exit 0 in either case.
# usage: probe.sh CC PACKAGE HEADER SOURCE 'INCLUDE FLAGS' 'LIBRARIES'
#   HEADER   what the library's package brings
#   SOURCE   a header of ours that compiles only with an interface we know
# Three questions in order: is the header there, is its interface one we know, does a program link with it.
set -u
cc=$1 package=$2 header=$3 source=$4 include=$5 libraries=$6
exe=$(mktemp) || exit 1
trap 'rm -f "$exe"' EXIT
compile() { LC_ALL=C $cc $include -x c - "$@" 2>&1; } # unquoted: flags are words
if ! echo "#include <$header>" | compile -E -o /dev/null >/dev/null; then
    echo "$package was not found"
elif ! errors=$(echo "#include \"$source\"" | compile -std=gnu17 -D_GNU_SOURCE -I. -fsyntax-only); then
    why=$(echo "$errors" | sed -n 's/.*error: #error "\{0,1\}\([^"]*\)"\{0,1\}.*/\1/p; s/.*error: "\([^"]*\)"$/\1/p' | head -n 1)
    echo "$package is ${why:-of a version whose interface sepbench does not know}"
elif ! echo 'int main(void) { return 0; }' | compile -o "$exe" $libraries >/dev/null; then
    echo "$package has a header but no library to link with"
else
    echo yes
fi
