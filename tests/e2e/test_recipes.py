"""conf/nginx-recipes.conf.in, used as it is behind a real nginx: connections
kept, nothing buffered, answers cached, a function that decides."""
import time
import zlib

import pytest

from lib import threads, web

BODY = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({
        "app.cgi": programs.cgi, "gate.cgi": programs.cgi,
        "live/app.cgi": programs.cgi, "live/warm.fcgi": programs.fcgi,
        "cached/app.cgi": programs.cgi, "guarded/app.cgi": programs.cgi,
        "guarded/warm.fcgi": programs.fcgi}, socket_name="fcgi-host.sock")


@pytest.fixture(scope="module")
def port(start, host):
    return start.server("nginx", host).recipes


@pytest.mark.parametrize("name", ["app", "warm"])
# W33
def test_a_chunked_body_and_its_answer_pass_as_they_come(port, name):
    """CONTENT_LENGTH comes empty: a FastCGI program reads to the end, a CGI
    program gets what was counted."""
    with web.Client(port) as client:
        client.send(f"POST /fn/live/{name}?head&env=CONTENT_LENGTH&sum "
                    "HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(BODY), 100000):
            client.send_chunk(BODY[at:at + 100000])
            time.sleep(0.01)
        client.send(b"0\r\n\r\n")
        reply = client.read()
    length = len(BODY) if name == "app" else ""
    told = f"CONTENT_LENGTH={length}\n" if length else \
        "CONTENT_LENGTH=(unset)\n"
    assert reply.text == (f"{told}length={len(BODY)} "
                          f"crc={zlib.crc32(BODY):08x}\n")
    reply = web.get(port, f"/fn/live/{name}?head&tick=3,500")
    times = [when for when, piece in reply.pieces if b"tick" in piece]
    # kept together they would come at the end, after 1.5 seconds
    assert len(times) == 3 and times[0] < 1.2, times


def test_an_echo_needs_no_end_of_the_body_to_begin(port, host):
    """The function has the first part before the client has sent the last:
    it says so on stderr, since the answer waits for the body's end."""
    with web.Client(port) as client:
        client.send(b"POST /fn/live/warm?head&take=5&err=five&sum HTTP/1.1\r\n"
                    b"Host: x\r\nConnection: close\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        host.wait_log(r"live/warm.*five")
        client.send(b"4\r\nlast\r\n0\r\n\r\n")
        assert client.read().text.startswith("length=4 ")


CACHED = "/fn/cached/app?field=Cache-Control:+max-age=60&head&self"


def test_an_answer_is_kept_as_long_as_it_says(port, host):
    before = len(host.books.executions("cached/app"))
    replies = [web.get(port, f"{CACHED}&kept") for _ in range(5)]
    assert [reply.header("X-Cache") for reply in replies] == \
        ["MISS"] + 4 * ["HIT"]
    assert len({reply.text for reply in replies}) == 1
    assert len(host.books.executions("cached/app")) == before + 1
    replies = [web.get(port, "/fn/cached/app?head&self") for _ in range(2)]
    assert len({reply.text for reply in replies}) == 2, "it did not ask for it"


def test_many_clients_wait_for_one_execution(port, host):
    before = len(host.books.executions("cached/app"))
    texts = threads.all_of(
        lambda url: web.get(port, url).text, [f"{CACHED}&sleep=300&herd"] * 8)
    assert len(texts) == 8 and len(set(texts)) == 1
    assert len(host.books.executions("cached/app")) == before + 1


def test_head_does_not_spoil_the_cache(port):
    reply = web.get(port, f"{CACHED}&spoilt", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert web.get(port, f"{CACHED}&spoilt").text.startswith("pid=")


def test_a_cut_answer_is_not_kept(port, host):
    before = len(host.books.executions("cached/app"))
    url = "/fn/cached/app?field=Cache-Control:+max-age=60&head&out=9000&kill=11"
    for _ in range(2):
        assert not web.get(port, url).is_whole
    assert len(host.books.executions("cached/app")) == before + 2


CONSENT = "field=Status:+200&field=X-User:+alice&end"


@pytest.mark.parametrize("name", ["app", "warm"])
def test_auth_request_is_answered_by_a_function(port, host, name):
    """nginx asks as the client asked, but without the body."""
    before = len(host.books.executions())
    reply = web.get(port, f"/fn/guarded/{name}?{CONSENT}&env=AUTH_USER&sum",
                    "POST", body=b"for the function")
    assert reply.status == 200
    assert reply.text.startswith("AUTH_USER=alice\nlength=16 ")
    for status in (401, 403):
        reply = web.get(port, f"/fn/guarded/{name}?field=Status:+{status}"
                        "&head", "POST", body=b"dropped")
        assert reply.status == status
    for query in ("kill=11", "raw=no+header"):
        assert web.get(port, f"/fn/guarded/{name}?{query}").status == 500
    host.books.wait(lambda _: len(host.books.executions()) >= before + 6)
    # nginx goes on at the head of an answer: the next record may be earlier
    assert sorted((r["function"], r["status"], r["bytes_in"]) for r in
                  host.books.executions()[before:]) == [
        ("gate", 200, 0), ("gate", 401, 0), ("gate", 403, 0),
        ("gate", 502, 0), ("gate", 502, 0), (f"guarded/{name}", 200, 16)]


def test_the_gate_cannot_be_called_from_outside(port):
    assert web.get(port, "/gate?head&raw=hello").status == 404


def test_kept_connections_carry_bodies_and_errors(port):
    with web.Client(port) as client:
        for lap in range(20):
            reply = client.ask(f"/fn/app?head&raw={lap}&sum", "POST",
                               body=BODY[:lap * 1000]).read()
            assert reply.text == (f"{lap}length={lap * 1000} crc="
                                  f"{zlib.crc32(BODY[:lap * 1000]):08x}\n")
            assert client.ask("/fn/app?kill=11").read().status == 502
