"""What a runtime's `check` finds of a function's file, in a sandbox, before any
request."""
import json
import pathlib
import shutil
import tempfile
import time

import pytest

from lib import fcgi, host as host_room, leaks

# A language in which a file is sound or not, as its first word says; each run is
# written down in the tenant's /data.
CHECKER = r"""#!/bin/sh
read -r word rest < "$1"
echo "$word $(basename "$1")" >> /data/checked
case "$word" in
sound) exit 0 ;;
script) exit 2 ;;
slow) sleep 1; exit 2 ;;
unsound) printf '%s:%s: no such word\n\033[31mmore\n' "$1" "$rest" >&2; exit 1 ;;
odd) exit 7 ;;
forge) echo '" request=forged text="of bob' >&2; exit 1 ;;
signal) kill -9 $$ ;;
flood) echo "$1:1: first words" >&2; yes 'and on and on' >&2 ;;
much) i=0; while [ $i -lt 3000 ]; do echo "warning number $i"; i=$((i+1)); done >&2; exit 0 ;;
hang) sleep 60 ;;
fork) (while :; do sleep 60 & done) 2>/dev/null & exit 0 ;;
stay) (trap '' HUP; sleep 60) & exit 0 ;;
fill) head -c 100000000 /dev/zero > /tmp/big; exit 0 ;;
secret) env | grep -c SECRET_WORD >&2; exit 1 ;;
where) id -u >&2; exit 1 ;;
network) perl -MSocket -e 'print socket(my $s, PF_INET, SOCK_STREAM, 0) ? "made" : "none"' >&2; exit 1 ;;
burn) i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 0 ;;
esac
"""
READER = r"""#!/bin/sh
printf 'Content-Type: text/plain\n\n%s ' "$CONTENT_LENGTH"; exec cat
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
                           ("second", SERVER), ("reader", READER)):
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

[runtime mostly]
extensions = mostly
protocol = fastcgi
command = {self.dir}/first %f
check = {self.dir}/checker %f
otherwise = reader
bind = {self.dir}

[runtime reader]
protocol = cgi
command = {self.dir}/reader
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


def test_an_error_of_syntax_stands_in_the_log_of_its_function_too(start_once,
                                                                 runtimes):
    """So a tenant finds it, who may not ask the host."""
    host = start_once.host({}, is_started=False,
                           runtimes=host_room.RUNTIMES + runtimes)
    host.configure({"host": {"function_logs": host.dir / "flogs"}})
    host.start()
    host.put("alice/bad.words", "unsound 17\n")
    wait_checked(host, "alice/bad")
    log = host.dir / "flogs" / "alice" / "bad.log"
    end = time.monotonic() + 30
    while not log.exists() or "event=check" not in log.read_text():
        assert time.monotonic() < end, host.log()[-3000:]
        time.sleep(0.05)
    shown = host.verb("logs", "alice/bad").stdout
    assert "alice/bad - fcgi-host: check " in shown
    assert "why=/fn/bad.words:17: no such word" in shown
    host.wait_log("event=check function=alice/bad ")


def test_what_a_check_writes_forges_nothing_in_the_log(host):
    host.put("alice/forger.solid", "forge\n")
    line = wait_checked(host, "alice/forger")
    assert line["check_detail"] == '" request=forged text="of bob'
    host.wait_log(r'event=check function=alice/forger .*'
                  r'why="\\" request=forged text=\\"of bob"')
    assert host.verb("logs", "--request", "forged").stdout == ""


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


def test_a_body_without_a_length_is_whole_for_who_is_found_to_be_cgi(host):
    """It begins before that is known: the check of this one takes a second."""
    host.put("alice/body.mostly", "slow\n")
    host.wait_file(host.state / "data/alice/checked")
    with host.connect() as client:
        params = fcgi.request_params("/fn/alice/body", "POST")
        client.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1,
                                               fcgi.pairs(params)) +
                    fcgi.record(fcgi.STDIN, 1, b"abc"))
        wait_checked(host, "alice/body")
        client.send(fcgi.record(fcgi.STDIN, 1, b"def") +
                    fcgi.record(fcgi.STDIN, 1))
        assert client.read_answer().text == "6 abcdef"


def test_what_somebody_named_as_its_runtime_is_not_given_back(host):
    host.sidecar("alice/named", runtime="words")
    host.put("alice/named.words", "script\n")
    host.wait_served("/fn/alice/named")
    answer, record = host.execute("/fn/alice/named")
    assert "first" in answer.text and record["runtime"] == "words"
    assert wait_checked(host, "alice/named")["check"] == "sound"


@pytest.mark.parametrize("word, state, words", [
    ("odd", "unsound", "the check exits with 7 and says nothing"),
    ("signal", "unsound", "the check was ended by signal 9"),
    ("flood", "unsound", "/fn/f.solid:1: first words; and on"),
    ("much", "sound", None),
    ("hang", "unsound", "the check did not end within 10 s"),
    ("fork", "sound", None), ("stay", "sound", None),
    ("fill", "sound", None),
    ("secret", "unsound", "0"),
    ("script", "unsound", "the check exits with 2 and says nothing")])
def test_a_check_that_misbehaves_harms_nobody(host, word, state, words):
    host.put("alice/f.solid", f"{word}\n")
    host.put("bob/f.solid", "sound\n")
    host.put("bob/env.env", "SECRET_WORD=1\n", 0o600)
    line = wait_checked(host, "alice/f")
    assert line["check"] == state
    assert (line["check_detail"] or "").startswith(words or "")
    assert len(line["check_detail"] or "") <= 200
    assert wait_checked(host, "bob/f")["check"] == "sound"
    assert host.fetch("/fn/bob/f").status == 200
    record = host.books.wait(lambda r: r.get("reason") == "check" and
                             r["function"] == "alice/f")
    assert record["tenant"] == "alice" and record["executions"] == 0
    assert record["start_cpu_us"] == record["exec_cpu_us"] == 0
    # and nothing of it is left
    host.fetch("/fn/alice/f")
    leaks.at_rest(host)


def test_a_check_has_no_secrets_no_network_and_the_tenants_id(start, runtimes):
    host = start.host({}, {"function alice/n": {"network": "loopback"}},
                      runtimes=host_room.RUNTIMES + runtimes)
    host.put("alice/s.env", "SECRET_WORD=1\n", 0o600)
    host.sidecar("alice/s", env_file="s.env")
    host.put("alice/s.solid", "secret\n")
    host.put("alice/n.solid", "network\n")
    host.put("alice/w.solid", "where\n")
    host.put("bob/w.solid", "where\n")
    assert wait_checked(host, "alice/s")["check_detail"] == "0"
    assert wait_checked(host, "alice/n")["check_detail"] == "none"
    ids = {int(wait_checked(host, f"{tenant}/w")["check_detail"])
           for tenant in ("alice", "bob")}
    assert len(ids) == 2 and min(ids) >= 1900000000


def test_a_request_for_what_is_not_known_yet_waits_for_that_alone(host):
    """The check of another tenant hangs, and keeps it no longer than it must."""
    host.put("alice/hangs.words", "hang\n")
    host.put("carol/hangs.words", "hang\n")
    host.wait_served("/fn/alice/hangs", timeout=60)  # unsound after 10 s: served
    host.put("bob/quick.words", "script\n")
    assert "second" in host.wait_served("/fn/bob/quick").text


def test_one_who_rewrites_his_file_a_thousand_times_keeps_nobody(host):
    end = time.monotonic() + 4
    count = 0
    host.put("bob/other.solid", "unsound 3\n")
    while time.monotonic() < end:
        host.put("alice/busy.solid", f"burn {count}\n")
        count += 1
    assert wait_checked(host, "bob/other")["check"] == "unsound"
    assert count > 100
    assert len(checks(host, "alice/busy")) < 20
    assert host.fetch("/fn/bob/other").status == 200


def test_what_is_there_at_the_start_is_checked_by_itself(start, runtimes):
    made = start.host({}, runtimes=host_room.RUNTIMES + runtimes,
                      is_started=False)
    for i in range(8):
        made.put(f"t{i % 3}/f{i}.solid", f"unsound {i}\n")
    made.start()
    for i in range(8):
        made.wait_log(rf"event=check function=t{i % 3}/f{i} ")
    assert not [r for r in made.books.all() if r["type"] == "exec"]


def test_a_reload_of_what_checks_finds_anew(host, runtimes):
    host.put("alice/r.words", "script\n")
    assert "second" in host.wait_served("/fn/alice/r").text
    host.runtimes = host_room.RUNTIMES + runtimes.replace(
        "otherwise = plain\n", "").replace(
        "[runtime plain]\n", "[runtime plain]\nextensions = plain\n")
    host.configure({})
    assert host.verb("reload").returncode == 0
    assert "first" in host.fetch("/fn/alice/r").text
    assert wait_checked(host, "alice/r")["check"] == "unsound"
    host.runtimes = host_room.RUNTIMES + runtimes
    host.configure({})
    assert host.verb("reload").returncode == 0
    assert "second" in host.fetch("/fn/alice/r").text


def test_list_without_a_host_says_that_nobody_looked(start, runtimes):
    made = start.host({}, runtimes=host_room.RUNTIMES + runtimes,
                      is_started=False)
    made.put("alice/bad.solid", "unsound 1\n")
    done = made.verb("list")
    assert done.returncode == 0 and "alice/bad" in done.stdout
    assert "no host runs" in done.stderr
    done = made.verb("list", "--json")
    line = json.loads(done.stdout)
    assert line["check"] is None and line["check_detail"] is None


def test_a_drain_does_not_wait_for_a_check(host):
    host.put("alice/d.solid", "hang\n")
    host.wait_file(host.state / "data/alice/checked")
    assert host.verb("drain").returncode == 0
    assert host.process.wait(30) == 0
    assert len(checks(host, "alice/d")) == 1
    assert "did not end within" not in host.log(), "it had its ten seconds"


def test_the_books_balance_with_checks(host):
    """Of a host that did nothing but checks, the leaf's clock is in their records."""
    for i in range(6):
        host.put(f"t{i}/b.solid", "burn\n")
    for i in range(6):
        assert wait_checked(host, f"t{i}/b")["check"] == "sound"
    host.stop()
    stop, = [r for r in host.books.all() if r.get("event") == "stop"]
    if stop.get("cgroup_cpu_us") is None:
        pytest.skip("NOT RUN: there is no cgroup whose clock could be compared")
    recorded = sum(r["idle_cpu_us"] + r["start_cpu_us"] for r in
                   host.books.all() if r["type"] == "instance")
    assert len(checks(host)) >= 6
    assert recorded == pytest.approx(stop["cgroup_cpu_us"], rel=0.01)
