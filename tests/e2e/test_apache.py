"""Behind a real Apache with mod_proxy_fcgi."""
import zlib

import pytest

from lib import programs as programs_room
from lib import threads, web


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({"swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
                       "alice/app.cgi": programs.cgi})


@pytest.fixture(scope="module")
def apache(start, host):
    return start.apache(host)


FUNCTIONS = pytest.mark.parametrize("name", ["swiss", "warm", "alice/app"])


@FUNCTIONS
def test_answers_come_through(apache, name):
    for _ in range(10):
        reply = web.get(apache.plain, f"/fn/{name}?head&raw=yes")
        assert (reply.status, reply.text) == (200, "yes")


@FUNCTIONS
@pytest.mark.parametrize("info", ["", "/", "/a/b", "/a%20b"])
# W31
def test_the_url_is_split_by_our_own_table(apache, name, info):
    """Apache sends SCRIPT_FILENAME proxy:fcgi://… and, under ProxyPass, no
    PATH_INFO."""
    reply = web.get(apache.plain, f"/fn/{name}{info}?head&env=SCRIPT_NAME"
                                  "&env=PATH_INFO&env=SCRIPT_FILENAME")
    lines = dict(line.split("=", 1) for line in reply.text.splitlines())
    assert lines["SCRIPT_NAME"] == f"/fn/{name}"
    assert lines["PATH_INFO"] in (info.replace("%20", " "),
                                  info or "(unset)")
    assert "proxy:" not in lines["SCRIPT_FILENAME"]


@FUNCTIONS
def test_a_chunked_body_without_a_length_arrives(apache, name):
    body = bytes(range(256)) * 4000
    with web.Client(apache.plain) as client:
        client.send(f"POST /fn/{name}?head&sum HTTP/1.1\r\nHost: x\r\n"
                    "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .encode())
        for at in range(0, len(body), 50000):
            client.send_chunk(body[at:at + 50000])
        client.send(b"0\r\n\r\n")
        reply = client.read()
    assert reply.text == f"length={len(body)} crc={zlib.crc32(body):08x}\n"


@FUNCTIONS
def test_a_body_with_a_length_arrives(apache, name):
    body = bytes(range(256)) * 4000
    reply = web.get(apache.plain, f"/fn/{name}?head&sum", "POST", body=body)
    assert reply.text == f"length={len(body)} crc={zlib.crc32(body):08x}\n"


def test_head_redirects_and_statuses(apache):
    reply = web.get(apache.plain, "/fn/swiss?head&out=5000", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    reply = web.get(apache.plain,
                    "/fn/swiss?field=Location:+http://example.org/&end")
    assert reply.status == 302
    assert reply.header("Location") == "http://example.org/"
    for status in (201, 404, 503):
        reply = web.get(apache.plain,
                        f"/fn/swiss?field=Status:+{status}&head&raw=b")
        assert (reply.status, reply.text) == (status, "b")
    assert web.get(apache.plain, "/fn/nobody").status == 404


def test_a_crash_is_502_and_the_next_request_is_served(apache):
    assert web.get(apache.plain, "/fn/warm?kill=11").status == 502
    assert web.get(apache.plain, "/fn/warm?head&raw=x").text == "x"


def test_many_at_once_each_get_their_own_answer(apache):
    def ask(number):
        return web.get(apache.plain, f"/fn/warm?head&raw=n{number}").text

    assert threads.all_of(ask, range(40)) == [f"n{n}" for n in range(40)]


def test_the_installed_configuration_works_unchanged(start_once, programs):
    """conf/apache.conf.in, with only the socket's place filled in."""
    host = start_once.host({"swiss.cgi": programs.cgi},
                           socket_name="fcgi-host.sock")
    text = (programs_room.TREE / "conf/apache.conf.in").read_text()
    text = text.replace("@hostrundir@", str(host.run_dir))
    assert "@" not in text
    apache = start_once.apache(host, proxy=text)
    reply = web.get(apache.plain, "/fn/swiss/x?head&env=PATH_INFO"
                                  "&env=REQUEST_ID")
    assert reply.text.startswith("PATH_INFO=/x\nREQUEST_ID=")
    host.books.wait_request(reply.text.split("REQUEST_ID=")[1].strip())
