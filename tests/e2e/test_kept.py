"""The connection to a FastCGI program that is kept between two requests."""
import os
import re

import pytest

from lib import threads

pytestmark = pytest.mark.any_user

MODES = ("honest", "closes", "late", "chaos")


@pytest.fixture(scope="module")
def host(start, programs):
    keeper = programs.keeper
    host = start.host({f"{mode}.fcgi": keeper for mode in MODES},
                      {"defaults": {"instances": "2", "timeout": "5s"}},
                      is_started=False)
    for mode in MODES:
        host.sidecar(mode, **{"env.MODE": mode})
    return host.start()


def ask(host, name, body=b"", **params):
    """The answer, and what it says of itself: {"nonce": …, "accepts": …}."""
    nonce = os.urandom(8).hex()
    answer = host.fetch(f"/fn/{name}?nonce={nonce}", body, **params)
    facts = dict(re.findall(r"(\w+)=(\w+)", answer.text))
    if answer.is_complete and answer.status == 200:
        assert facts["nonce"] == nonce, "the answer of another request"
        assert answer.text.startswith(f"nonce={nonce} ")
    return answer, facts


def ask_at_once(host, name, clients, times):
    """The answers of so many clients; a wrong one fails the test."""
    def client(_):
        return [ask(host, name)[0] for _ in range(times)]

    return sum(threads.all_of(client, range(clients)), [])


# W16
def test_one_connection_serves_many_requests(host):
    first = int(ask(host, "honest")[1]["served"])
    for lap in range(1, 20):
        _, facts = ask(host, "honest")
        assert (facts["accepts"], facts["keeps"]) == ("1", "1")
        assert int(facts["served"]) == first + lap


# W16
def test_a_request_with_a_body_has_a_connection_of_its_own(host):
    ask(host, "honest")
    before = int(ask(host, "honest")[1]["accepts"])
    _, facts = ask(host, "honest", b"a body")
    assert (facts["accepts"], facts["keeps"]) == (str(before + 1), "0")
    _, facts = ask(host, "honest")
    assert (facts["accepts"], facts["keeps"]) == (str(before + 2), "1")
    _, facts = ask(host, "honest")
    assert facts["accepts"] == str(before + 2)


def test_a_large_request_has_a_connection_of_its_own(host):
    ask(host, "honest")
    _, facts = ask(host, "honest", HTTP_X_LONG="x" * 9000)
    assert facts["keeps"] == "0"
    assert ask(host, "honest")[1]["keeps"] == "1"


@pytest.mark.parametrize("mode", ["closes", "late"])
def test_a_program_that_is_no_good_at_it_fails_no_request(host, mode):
    answers = ask_at_once(host, mode, 6, 40)
    assert [a.status for a in answers if a.status != 200] == []
    assert all(a.is_complete for a in answers)
    assert all("late" not in a.text for a in answers)


def test_whatever_a_program_does_no_request_gets_anothers_answer(host):
    answers = ask_at_once(host, "chaos", 8, 60)
    good = [a for a in answers if a.is_complete and a.status == 200]
    assert len(good) > len(answers) / 2
    assert all(a.text.count("nonce=") == 1 for a in good)
    assert all("last one" not in a.text and "next one" not in a.text
               for a in good)
    executions = host.books.executions("chaos")
    assert len({r["request_id"] for r in executions}) == len(executions)
