#!/bin/sh
# Makes ./configure from a checkout.  A released archive does not need it.
set -eu
cd "$(dirname "$0")"

for tool in autoreconf automake; do
	command -v "$tool" >/dev/null 2>&1 || {
		echo "autogen.sh: $tool is missing: install it with:" \
		    "apt-get install autoconf automake" >&2
		exit 1
	}
done

# A fragment that has not changed keeps its time, so that nothing is rebuilt.
fragment() { # SCRIPT FILE
	"$1" > "$2.new"
	if cmp -s "$2.new" "$2"; then rm "$2.new"; else mv "$2.new" "$2"; fi
}

mkdir -p build-aux
fragment tests/list-tests tests/tests.am
autoreconf --install --warnings=all,no-portability
echo "autogen.sh: now run ./configure"
