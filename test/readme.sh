#!/bin/sh
# test/readme.sh SOURCE - the README's program, built as the README says
#
# A project of its own takes eddy as a subproject. TAP on standard output.
source=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

echo 1..2

sed -n '/^```c$/,/^```$/p' "$source/README.md" | sed '/^```/d' >"$dir/hello.c"
lines=$(wc -l <"$dir/hello.c")
[ "$lines" -gt 0 ] && [ "$lines" -le 30 ] || printf 'not '
echo "ok 1 - the README has a complete program of a few lines"

mkdir "$dir/subprojects"
ln -s "$source" "$dir/subprojects/eddy"
cat >"$dir/meson.build" <<'END'
project('hello', 'c')
eddy = dependency('eddy', fallback: ['eddy', 'eddy_dep'])
executable('hello', 'hello.c', dependencies: eddy)
END
{
    meson setup "$dir/build" "$dir" && meson compile -C "$dir/build"
} >"$dir/log" 2>&1
said=$(cd "$source" && "$dir/build/hello" 2>&1)
[ "$said" = "$(wc -c <"$source/README.md") bytes" ] || {
    sed 's/^/# /' "$dir/log"
    echo "# said: $said"
    printf 'not '
}
echo "ok 2 - it builds with eddy as a subproject, and reads the README"
