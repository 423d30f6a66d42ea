"""FastCGI programs that read otherwise on a later request of a kept connection
than on the first one, or read little of a body: whatever they lose is their own
function's, no request is done twice that may not be, no answer is another's."""
import collections
import os
import pathlib

import pytest

from lib import threads

PROGRAM = pathlib.Path(__file__).parent / "programs/fickle.py"
# mode: whether every request is served in spite of it
LATER = {"slow": True, "rest": True, "part": True, "behind": True,
         "ahead": False, "blind": True, "twice": False, "half": False}
BODIES = {"body_some": True, "body_first": True, "body_none": False}


@pytest.fixture(scope="module")
def host(start, programs):
    modes = {**LATER, **BODIES}
    host = start.host({f"{mode}.fcgi": PROGRAM for mode in modes},
                      {"defaults": {"instances": "2", "timeout": "5s"}},
                      is_started=False)
    host.add("good.cgi", programs.cgi)
    for mode in modes:
        host.sidecar(mode, **{"env.MODE": mode})
    return host.start()


def ask(host, name, body=b""):
    nonce = os.urandom(8).hex()
    answer = host.fetch(f"/fn/{name}?nonce={nonce}", body, REQUEST_ID=nonce)
    if answer.is_complete and answer.status == 200:
        assert answer.text in (f"nonce={nonce}", "blind"), answer
    return nonce, answer


def ask_at_once(host, name, bodies, times):
    """[(nonce, answer)] of four clients, each through the bodies in turn."""
    def client(_):
        return [ask(host, name, body) for _ in range(times)
                for body in bodies]

    return sum(threads.all_of(client, range(4)), [])


def acts(host):
    """How often a program began to act for each nonce."""
    (noted,) = host.state.rglob("acts")
    return collections.Counter(noted.read_text().split())


def check(host, name, asked, gateway):
    records = [host.books.wait_request(nonce) for nonce, _ in asked]
    assert len(host.books.executions(name)) >= len(asked)
    assert len({r["id"] for r in records}) == len(asked)
    for (_, answer), record in zip(asked, records):
        if record["outcome"] == "ok":
            assert answer.is_complete and answer.status == 200
        else:
            assert not answer.is_complete or answer.status in (502, 504)
    assert host.fetch("/fn/good?head&raw=x").text == "x"
    assert host.roles()["gateway"] == gateway


# W16
@pytest.mark.parametrize("mode", LATER)
def test_a_program_that_reads_a_later_request_otherwise_harms_itself_alone(
        host, mode):
    gateway = host.roles()["gateway"]
    asked = ask_at_once(host, mode, [b""], 20)
    failed = [a for _, a in asked if not a.is_complete or a.status != 200]
    if LATER[mode]:
        assert not failed, (len(failed), failed[0])
    done = acts(host)
    # asked again where it had said that it had read nothing: of what asks for
    # no change, once
    assert max(done[nonce] for nonce, _ in asked) <= (
        2 if mode == "part" else 1)
    texts = {a.text for _, a in asked}
    assert ("blind" in texts) == (mode in ("blind", "half")) or mode == "ahead"
    assert mode != "part" or 2 in done.values()
    for nonce, answer in asked:
        if answer.is_complete and answer.text == f"nonce={nonce}":
            assert done[nonce] > 0
    check(host, mode, asked, gateway)


# W16
@pytest.mark.parametrize("size", [3000, 300000])
@pytest.mark.parametrize("mode", BODIES)
def test_a_program_that_reads_little_of_a_body_is_given_it_once(host, mode,
                                                                size):
    gateway = host.roles()["gateway"]
    asked = ask_at_once(host, mode, [b"", b"x" * size], 6)
    gets, posts = asked[::2], asked[1::2]
    assert all(a.is_complete and a.status == 200 for _, a in gets)
    if BODIES[mode]:
        assert all(a.is_complete and a.status == 200 for _, a in posts)
    else:
        assert {a.status for _, a in posts} == {502}
    done = acts(host)
    assert {done[nonce] for nonce, _ in posts} == {
        0 if mode == "body_first" else 1}
    check(host, mode, asked, gateway)
