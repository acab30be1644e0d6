#!/bin/sh
# Copies the tree as it stands, committed or not, to build/NAME, where a build of another kind can't
# touch this one's. What was built there before stays, and is built again where it is stale.
set -eu
cd "$(dirname "$0")/.."
copy=build/$1
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard |
    xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
    tar --null --files-from=- --create --file=- |
    tar --extract --file=- --directory="$copy"
