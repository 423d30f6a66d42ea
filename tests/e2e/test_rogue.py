"""FastCGI programs that break the protocol harm their own answer, no more."""

import re
import socket

import pytest

from lib import leaks, threads

pytestmark = pytest.mark.any_user

SO_PASSRIGHTS = 83  # newer than Python's list
BROKEN = ["garbage", "version", "half", "endonly", "close", "exit", "noend",
          "overloaded", "shortend"]
HANGING = ["silent", "deaf", "endless"]
ODD = ["otherid", "management", "stderr", "descriptors", "bytewise", "late",
       "plain", "interleaved", "split", "longend"]
MODES = BROKEN + HANGING + ODD + ["slowend"]


@pytest.fixture(scope="module")
def host(start, programs):
    rogue = programs.rogue
    functions = {f"{mode}.fcgi": rogue for mode in MODES}
    functions["good.cgi"] = programs.cgi
    host = start.host(functions, {"defaults": {"timeout": "1s",
                                               "idle": "10s"}},
                      is_started=False)
    for mode in MODES:
        host.sidecar(mode, **{"env.MODE": mode})
    return host.start()


@pytest.fixture(autouse=True)
def the_gateway_is_the_same(host):
    before = host.roles()["gateway"]
    yield
    assert host.fetch("/fn/good?head&raw=x").text == "x"
    assert host.roles()["gateway"] == before


@pytest.mark.parametrize("mode", BROKEN)
def test_a_broken_answer_is_an_error_and_the_host_serves_on(host, mode):
    for lap in range(3):
        answer, record = host.execute(f"/fn/{mode}")
        if mode in ("noend", "shortend"):
            # its header went out before it broke off
            assert not answer.is_complete or answer.status == 502
        else:
            assert answer.is_complete and answer.status in (502, 503), answer
        # one that keeps ending without an answer is left alone for a while
        is_throttled = lap == 2 and record["instance"] is None
        assert record["outcome"] == \
            ("refused" if is_throttled else "error"), record
        assert record["reason"]
        if mode == "exit" and not is_throttled:
            assert record["exit"] == 3


@pytest.mark.parametrize("mode", HANGING)
def test_who_never_answers_is_ended_at_the_deadline(host, mode):
    answer, record = host.execute(f"/fn/{mode}")
    assert (answer.status, record["outcome"]) == (504, "timeout")


@pytest.mark.parametrize("mode", ODD)
# W1
# W4
# W5
# W24
def test_an_odd_but_good_answer_is_taken_and_nothing_else(host, mode):
    for lap in range(4):
        answer, record = host.execute(f"/fn/{mode}")
        assert (answer.status, answer.text) == (200, "good"), (lap, answer)
        assert answer.is_complete and answer.stderr == b""
        assert record["outcome"] == "ok"


# W1
# W13
def test_an_end_that_comes_byte_by_byte_tells_its_status(host):
    answer, record = host.execute("/fn/slowend")
    assert (answer.text, answer.is_complete) == ("good", True)
    assert (record["outcome"], record["exit"]) == ("error", 0x01020304)
    assert answer.app_status == 0x01020304


def test_bytes_after_the_end_never_reach_the_next_request(host):
    """Many at once, so that instances go from hand to hand."""
    def ask(url):
        for _ in range(20):
            answer = host.fetch(url)
            assert answer.text == "good" and answer.is_complete, answer

    threads.all_of(ask, ["/fn/late"] * 6)


def test_nobody_can_have_the_gateway_close_what_it_is_sent(host):
    """Who is sent a descriptor drops it, and whoever closes a file or a socket
    last waits for that."""
    with socket.socket(socket.AF_UNIX) as own:
        try:
            own.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
        except OSError:
            pytest.skip("NOT RUN: this kernel cannot refuse descriptors "
                        "(Linux 6.16 can)")
    assert host.fetch("/fn/descriptors").text == "good"
    host.wait_log('text="descriptors: ')
    assert set(re.findall('text="descriptors: ([^"]*)"', host.log())) == {
        "Operation not permitted"}


# W18
def test_sent_descriptors_stay_out_of_the_gateway(start_once, programs):
    """In a host of its own, in which nothing else ends meanwhile."""
    own = start_once.host({"descriptors.fcgi": programs.rogue},
                          {"defaults": {"idle": "5m"}}, is_started=False)
    own.sidecar("descriptors", **{"env.MODE": "descriptors"})
    own.start()
    own.fetch("/fn/descriptors")
    before = leaks.at_rest(own)
    for _ in range(200):
        assert own.fetch("/fn/descriptors").text == "good"
    leaks.settle(own, before, 20)
