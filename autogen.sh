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

mkdir -p build-aux
tests/list-tests > tests/tests.am
tests/list-sources > tests/sources.am
autoreconf --install --warnings=all,no-portability
echo "autogen.sh: now run ./configure"
