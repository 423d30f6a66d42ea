"""What a runtime's `check` finds of a function's file, in a sandbox, before any
request."""
import json
import os
import pathlib
import shutil
import tempfile
import time

import pytest

from lib import host as host_room, leaks

# A language in which a file is sound or not, as its first word says; each run is
# written down in the tenant's /data.
CHECKER = r"""#!/bin/sh
read -r word rest < "$1"
echo "$word $(basename "$1")" >> /data/checked
case "$word" in
sound) exit 0 ;;
script) exit 2 ;;
unsound) printf '%s:%s: no such word\n\033[31mmore\n' "$1" "$rest" >&2; exit 1 ;;
odd) exit 7 ;;
signal) kill -9 $$ ;;
flood) echo "$1:1: first words" >&2; yes 'and on and on' >&2 ;;
much) i=0; while [ $i -lt 3000 ]; do echo "warning number $i"; i=$((i+1)); done >&2; exit 0 ;;
hang) sleep 60 ;;
fork) (while :; do sleep 60 & done) 2>/dev/null; exit 0 ;;
stay) (trap '' HUP; sleep 60) & exit 0 ;;
fill) head -c 100000000 /dev/zero > /tmp/big; exit 0 ;;
secret) env | grep -c SECRET_WORD >&2; exit 1 ;;
where) { id -u; cat /proc/net/dev | wc -l; } | tr '\n' ' ' >&2; exit 1 ;;
burn) i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 0 ;;
esac
"""
SERVER = r"""#!/bin/sh
printf 'Content-Type: text/plain\n\n%s' "$0"; exec cat "$1"
"""


class Words:
    """The runtimes `words` (with a check, and `otherwise` plain) and `plain`."""

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fh-words-",
                                                 dir="/var/lib"))
        self.dir.chmod(0o755)
        for name, text in (("checker", CHECKER), ("first", SERVER),
                           ("second", SERVER)):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(0o755)
        return f"""
[runtime words]
extensions = words
protocol = cgi
command = {self.dir}/first %f
check = {self.dir}/checker %f
otherwise = plain
bind = {self.dir}

[runtime plain]
protocol = cgi
command = {self.dir}/second %f
bind = {self.dir}

[runtime solid]
extensions = solid
protocol = cgi
command = {self.dir}/first %f
check = {self.dir}/checker %f
bind = {self.dir}
"""

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.fixture(scope="module")
def runtimes():
    with Words() as text:
        yield text


@pytest.fixture
def host(start, runtimes):
    return start.host({}, runtimes=host_room.RUNTIMES + runtimes)


def listed(host):
    done = host.verb("list", "--json")
    assert done.returncode == 0, done.stderr
    return {f["function"]: f for f in map(json.loads,
                                          done.stdout.splitlines())}


def wait_checked(host, name, timeout=30):
    """Its line, as soon as a check has found something of what is there now."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        line = listed(host).get(name)
        if line is not None and line["check"] not in (None, "pending"):
            return line
        time.sleep(0.05)
    raise AssertionError(f"{name} was not checked: {line}\n{host.log()[-3000:]}")


def checks(host, function=None):
    return [r for r in host.books.all() if r.get("reason") == "check" and
            function in (None, r["function"])]


def test_an_error_of_syntax_stands_in_the_list_before_any_request(host):
    host.put("alice/bad.words", "unsound 17\n")
    host.put("alice/good.words", "sound\n")
    line = wait_checked(host, "alice/bad")
    assert line["check"] == "unsound"
    assert line["check_detail"] == "/fn/bad.words:17: no such word; ?[31mmore"
    assert line["problem"] is None
    assert wait_checked(host, "alice/good")["check"] == "sound"
    table = host.verb("list").stdout
    assert "syntax: /fn/bad.words:17: no such word" in table
    assert not [r for r in host.books.all() if r["type"] == "exec"]
    # and it is served as before: its runtime says what is wrong
    assert host.fetch("/fn/alice/bad").status == 200


def test_a_file_that_the_check_gives_back_is_another_runtimes(host):
    host.put("alice/one.words", "script\n")
    host.put("alice/two.words", "sound\n")
    host.wait_served("/fn/alice/one")
    answer, record = host.execute("/fn/alice/one")
    assert "second" in answer.text and record["runtime"] == "plain"
    host.wait_served("/fn/alice/two")
    answer, record = host.execute("/fn/alice/two")
    assert "first" in answer.text and record["runtime"] == "words"
    lines = listed(host)
    assert lines["alice/one"]["runtime"] == "plain"
    assert lines["alice/one"]["check"] == "otherwise"
    assert lines["alice/two"]["runtime"] == "words"
