#!/bin/sh
# headers.sh ROOT CC...: every header compiles by itself, also twice, as plain
# C11, without a warning, with each of the compilers
cd "$1" || exit 1
shift
status=0
for header in loop/*.h pool/*.h fs/*.h gc/*.h; do
    [ -e "$header" ] || continue
    for compiler; do
        printf '#include "%s"\n' "$header" "$header" |
            $compiler -std=c11 -Wall -Wextra -Werror -pedantic -I. \
                -fsyntax-only -x c - || {
            echo "$header: not by itself with $compiler"
            status=1
        }
    done
done
exit $status
