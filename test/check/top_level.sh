#!/bin/sh
# top_level.sh ROOT: the table of contents stays short
cd "$1" || exit 1
if [ ! -e .git ] || ! command -v git >/dev/null; then
    echo "SKIP: no git, or not a git checkout"
    exit 77
fi
files=$(git ls-files) || exit 1
[ -n "$files" ] || exit 1
more=$(printf '%s\n' "$files" | cut -d/ -f1 | sort -u |
    grep -vxE 'meson\.build|loop|pool|fs|gc|test|README\.md|LICENSE|\..*')
[ -z "$more" ] || {
    echo "at the top level:" $more
    exit 1
}
