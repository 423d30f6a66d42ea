#!/bin/sh
# What programs of the shell do in a function: each query string is one part.
export HOME=/tmp GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org \
	GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

# same WHAT EXPECTED
same() {
	[ "$1" = "$2" ] || fail "'$1' is not '$2'"
}

part_git() {
	# What lies in /data from an earlier execution is worked with again.
	[ -d /data/bare.git ] || git init -q --bare -b main /data/bare.git
	git clone -q /data/bare.git /tmp/clone
	cd /tmp/clone
	for n in 1 2 3; do
		{ date +%N && seq 2000; } >file
		git add file
		git commit -q -m "change $n"
	done
	git push -q origin main
	git tag v1
	git gc -q
	git fsck --strict --no-progress || fail "fsck"
	git archive v1 | tar -t | grep -qx file || fail "archive"
	same "$(git grep -c 1999)" file:1
	git worktree add -q /tmp/other HEAD~1
	git -C /data/bare.git gc -q
	git clone -q --depth 1 file:///data/bare.git /tmp/again
	git -C /data/bare.git log --oneline main | wc -l
}

part_sqlite() {
	db=/data/shell.db
	same "$(sqlite3 $db 'PRAGMA journal_mode = WAL')" wal
	printf 'a,1\nb,2\nc,39\n' >/tmp/t.csv
	sqlite3 $db 'DROP TABLE IF EXISTS t; CREATE TABLE t (k TEXT, n INTEGER)' \
		'.mode csv' '.import /tmp/t.csv t' ".backup /data/backup.db"
	same "$(sqlite3 /data/backup.db 'PRAGMA integrity_check')" ok
	sqlite3 /data/backup.db 'SELECT sum(n) FROM t'
}

# One that needs the network says so at once, and in words.
part_curl() {
	curl --version | grep -q '^Features:.*SSL' || fail "no TLS"
	same "$(curl -sS file:///fn/tools.sh | head -n 1)" '#!/bin/sh'
	same "$(curl -sS -m 5 http://127.0.0.1:8/ 2>/tmp/e || echo $?)" 7
	grep -q "Couldn't connect\|Failed to connect" /tmp/e || fail "$(cat /tmp/e)"
	same "$(curl -sS -m 5 https://example.org/ 2>/tmp/e || echo $?)" 6
	cat /tmp/e
}

# The everyday ones, with files, pipes and times.
part_everyday() {
	mkdir -p /tmp/d/e
	seq 100000 >/tmp/d/e/n
	cp -a /tmp/d /data/everyday.$$
	mv /data/everyday.$$ /data/everyday2.$$
	tar -C /data -czf /tmp/d.tgz everyday2.$$
	mkdir /tmp/out
	tar -C /tmp/out -xzf /tmp/d.tgz
	cmp /tmp/d/e/n /tmp/out/everyday2.$$/e/n || fail "tar"
	xz -T2 -1 -k /tmp/d/e/n
	xz -dc /tmp/d/e/n.xz | cmp - /tmp/d/e/n
	sort -rn -S 8M /tmp/d/e/n | head -n 1 | grep -qx 100000 || fail "sort"
	find /data/everyday2.$$ -type f -newermt 2000-01-01 -print0 |
		xargs -0 -P 2 -n 1 sha256sum >/tmp/sums
	same "$(timeout 0.2 sleep 20 || echo $?)" 124
	mkfifo /tmp/fifo
	echo through >/tmp/fifo &
	same "$(cat /tmp/fifo)" through
	flock /data/lock true
	rm -rf /data/everyday2.$$
	df -P /tmp >/dev/null
	ps -e >/dev/null
	id -un
}

part=$QUERY_STRING
found=$(set -e; "part_$part" 2>/tmp/errors)
if [ $? = 0 ]; then
	printf 'Content-Type: text/plain\n\n%s: ok %s\n' "$part" "$found"
else
	printf 'Status: 500\nContent-Type: text/plain\n\n%s\n' "$found"
	cat /tmp/errors
fi
