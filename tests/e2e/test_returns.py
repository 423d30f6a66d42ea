"""FastCGI programs that end by themselves after so many answers: the requests
that they were handed, and did not see, are answered by others."""
import os
import pathlib
import re
import signal
import threading
import time

import pytest

from lib import books, fcgi, proc, threads
from test_fastcgi import sample_runtime

PERL = """#!/usr/bin/perl
use strict;
use FCGI;
my $request = FCGI::Request();
my $served = 0;
while ($request->Accept() >= 0) {
    my ($nonce) = $ENV{QUERY_STRING} =~ /nonce=(\\w+)/;
    print "Content-Type: text/plain\\r\\n\\r\\nnonce=$nonce served=", ++$served;
    $request->Finish();
    exit 0 if $served >= 3;
}
"""
PHP = """<?php
header("Content-Type: text/plain");
echo "nonce=", $_GET["nonce"], " served=1";
"""
FUNCTIONS = ("once", "thrice", "perl", "page")
FICKLE = pathlib.Path(__file__).parent / "programs/fickle.py"


@pytest.fixture(scope="module")
def host(start, programs):
    keeper = programs.keeper
    host = start.host({"once.fcgi": keeper, "thrice.fcgi": keeper,
                       "perl.fcgi": PERL, "page.php": PHP},
                      {"defaults": {"instances": "2", "idle": "2s"}},
                      text=sample_runtime("php"), is_started=False)
    host.sidecar("once", **{"env.SERVES": "1"})
    host.sidecar("thrice", **{"env.SERVES": "3"})
    host.sidecar("page", **{"env.PHP_FCGI_MAX_REQUESTS": "4"})
    return host.start()


def ask(host, name, body):
    nonce = os.urandom(8).hex()
    answer = host.fetch(f"/fn/{name}?nonce={nonce}", body)
    facts = dict(re.findall(r"(\w+)=(\w+)", answer.text))
    assert answer.status == 200 and answer.is_complete, answer
    assert facts["nonce"] == nonce, "the answer of another request"
    return int(facts["served"])


# W17
@pytest.mark.parametrize("body", [b"", b"x" * 1000], ids=["get", "post"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_programs_that_retire_under_load_lose_no_request(host, name, body):
    before = len(host.books.executions(name))
    troubles = []

    def client():
        try:
            for _ in range(25):
                ask(host, name, body)
        except (AssertionError, KeyError, OSError) as trouble:
            troubles.append(trouble)

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert not troubles, (len(troubles), troubles[0], [
        r for r in host.books.executions(name) if r["outcome"] != "ok"])
    executions = host.books.executions(name)[before:]
    assert [r["outcome"] for r in executions] == ["ok"] * 200
    assert len({r["id"] for r in executions}) == 200
    # instances did end meanwhile
    assert len({r["instance"] for r in executions}) >= 8


def test_what_was_handed_back_is_nobodys_execution_and_the_books_balance(host):
    host.stop()
    records = host.books.all()
    lives = [r for r in records if r["type"] == "instance"]
    executions = [r for r in records if r["type"] == "exec"]
    assert sum(r["executions"] for r in lives) == len(executions)
    charged = sum(r["cpu_us"] for r in executions) + \
        sum(r["start_cpu_us"] + r["idle_cpu_us"] for r in lives)
    total = records[-1]["cgroup_cpu_us"]
    assert abs(charged - total) <= total / 100, (charged, total)
    books.check_seq(records, True)


def test_a_request_that_comes_back_while_another_comes_is_served(start_once):
    """Both in one turn of the gateway, which sleeps meanwhile: the one that was
    handed back is granted again before the turn is over."""
    host = start_once.host({"f.fcgi": FICKLE}, {
        "defaults": {"instances": "2", "env.mode": "stops"}})
    _, first = host.execute("/fn/f?nonce=first")
    assert host.fetch("/fn/f?nonce=second").text == "nonce=second"
    gateway = host.roles()["gateway"]
    init, = [pid for pid in host.instances()
             if proc.program(pid) == "fcgi-host-init" and
             proc.descendants(pid)]
    time.sleep(0.3)  # the next sandbox is made ahead
    with host.connect() as other:
        time.sleep(0.05)
        back = threads.begin(host.execute, "/fn/f?nonce=back")
        time.sleep(0.15)
        os.kill(gateway, signal.SIGSTOP)
        try:
            time.sleep(0.05)
            other.send(fcgi.request_bytes("/fn/f?nonce=other"))
            os.kill(init, signal.SIGKILL)
            time.sleep(0.3)
        finally:
            os.kill(gateway, signal.SIGCONT)
        assert other.read_answer().text == "nonce=other"
        answer, record = back.result()
    assert answer.text == "nonce=back"
    assert record["instance"] != first["instance"], "it never came back"
    assert host.roles()["gateway"] == gateway
    books.check_seq(host.books.all(), True)
