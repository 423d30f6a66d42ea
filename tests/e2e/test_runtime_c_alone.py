"""A function in C without a host around it: what its handler is given, its end, and
bytes that no host sends."""
import hashlib
import os
import signal
import subprocess
import time

import pytest

from lib import chost, fcgi
from lib.alone import begin_body, end_body, request, send_body

pytestmark = pytest.mark.any_user
FAILURE = (500, "Internal Server Error\n")


@pytest.fixture(scope="module")
def kit(installed):
    with chost.Kit(installed) as made:
        made.build(chost.SOURCES / "work.c")
        yield made


@pytest.fixture
def alone(kit):
    with chost.Alone(kit.dir / "work.fcgi") as made:
        assert made.fetch().text == "hello 1"
        yield made


def facts(answer):
    return dict(line.partition("=")[::2] for line in answer.text.splitlines())


# ---------------------------------------------------------------- the request

def test_a_handler_is_given_what_the_request_says(alone):
    found = facts(alone.fetch("/facts?name=a%20b+c&x", HTTP_X_SOME_FIELD="seen",
                              CONTENT_TYPE="text/odd", REMOTE_ADDR="192.0.2.1",
                              REQUEST_ID="r1"))
    assert found == {"method": "GET", "path": "/facts", "id": "r1",
                     "query": "a b c", "field": "seen", "type": "text/odd",
                     "param": "192.0.2.1", "own": "7 root=6"}
    found = facts(alone.fetch("/facts"))
    assert (found["query"], found["field"], found["id"]) == \
        ("(none)", "(none)", "")


@pytest.mark.parametrize("query, name, value", [
    ("name=1&name=2", "name", "1"), ("a=name&name=2", "name", "2"),
    ("name", "name", ""), ("name=", "name", ""), ("names=1", "name", "(none)"),
    ("nam=1", "name", "(none)"), ("na%6De=1", "name", "1"), ("&&name=1", "name", "1"),
    ("name=a=b", "name", "a=b"), ("name=%", "name", "%"), ("name=%4", "name", "%4"),
    ("name=%zz", "name", "%zz"), ("name=a%00b", "name", "a%00b"),
    ("na+me=1", "na me", "1"), ("name=%C3%bC", "name", "ü")])
def test_a_parameter_of_the_url_is_decoded(alone, query, name, value):
    answer = alone.fetch(f"/facts?{query}", X_NAME=name)
    assert f"\nquery={value}\n" in answer.text


def test_a_body_of_any_bytes_comes_back(alone):
    body = os.urandom(100000)
    answer = alone.fetch("/echo", body)
    assert answer.is_complete
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
    assert answer.header("Content-Type") == "application/octet-stream"


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 999999, 1000000])
def test_a_body_is_taken_whole(alone, size):
    body = os.urandom(size)
    assert alone.fetch("/body", body).body == b"%d " % size + body
    assert alone.fetch("/body", body, CONTENT_LENGTH="").body == \
        b"%d " % size + body


def test_a_body_that_is_too_long_is_none(alone):
    answer = alone.fetch("/body", bytes(1000001))
    assert (answer.status, answer.text) == (413, "File too large 0")
    assert alone.fetch().text == "hello 2"


@pytest.mark.parametrize("length, seen", [
    ("3", b"abc"), ("100", b"abcdef"), ("0", b""), ("99999999999999999999", b"abcdef"),
    ("-1", b"abcdef"), ("3x", b"abcdef"), ("", b"abcdef")])
def test_a_length_that_lies_bounds_the_body_and_no_more(alone, length, seen):
    answer = alone.fetch("/echo", b"abcdef", CONTENT_LENGTH=length)
    assert answer.is_complete and answer.body == seen
    assert alone.fetch().text == "hello 2"


def test_a_body_that_breaks_off_is_an_error_of_the_read(alone):
    with alone.connect() as connection:
        begin_body(connection, "/echo", 100, PATH_INFO="/echo")
        send_body(connection, b"half of it")
    alone.wait_log("read: Software caused connection abort")
    assert alone.fetch().text == "hello 2"


# ----------------------------------------------------------------- the answer

def test_an_answer_that_is_held_has_its_length(alone):
    answer = alone.fetch()
    assert answer.header("Content-Length") == "7"
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.is_complete and answer.app_status == 0


def test_a_second_field_of_a_kind_replaces_where_there_can_be_one(alone):
    answer = alone.fetch("/fields")
    assert answer.status == 404
    assert answer.header("Content-Type") == "text/css"
    assert answer.stdout.count(b"Content-Type: ") == 1
    assert answer.stdout.count(b"X-Twice: ") == 2


def test_a_redirection_needs_its_location_alone(alone):
    assert alone.fetch("/move").stdout == \
        b"Location: https://example.org/\r\n\r\n"


@pytest.mark.parametrize("status", [200, 299, 404, 418, 503, 599])
def test_any_status_of_an_answer_can_be_set(alone, status):
    answer = alone.fetch(f"/status?to={status}")
    assert (answer.status, answer.text) == (status, "a body")


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_is_sent_none(alone, status):
    answer = alone.fetch(f"/status?to={status}")
    assert (answer.status, answer.body) == (status, b"")
    assert answer.header("Content-Length") is None


@pytest.mark.parametrize("status", [0, 100, 199, 600, -1, 1000])
def test_a_number_that_is_no_status_is_a_500(alone, status):
    answer = alone.fetch(f"/status?to={status}")
    assert (answer.status, answer.text) == FAILURE
    alone.wait_log("fcgi_status() takes 200 to 599")


@pytest.mark.parametrize("name, value, words", [
    ("X-A", "a%0d%0aX-Evil: 1", "control characters in the value of the header field X-A"),
    ("X-A", "a%0ab", "control characters"), ("X-A", "%7f", "control characters"),
    ("X-A%0d%0aX-Evil", "1", "the name of a header field"),
    ("X A", "1", "the name of a header field"), ("", "1", "the name of a header field"),
    ("X:", "1", "the name of a header field"), ("%c3%bc", "1", "the name of"),
    ("status", "200", "the status is set by fcgi_status()"),
    ("Content-Length", "1x", "Content-Length"), ("Content-Length", "", "Content-Length"),
    ("Content-Length", "-1", "Content-Length")])
def test_a_header_field_that_would_be_another_is_a_500(alone, name, value, words):
    answer = alone.fetch(f"/header?name={name}&value={value}")
    assert (answer.status, answer.text) == FAILURE
    assert b"Evil" not in answer.stdout and answer.app_status == 1
    alone.wait_log(words)
    assert alone.fetch().text == "hello 2"


def test_a_failure_shows_nothing_of_what_was_held(alone):
    answer = alone.fetch("/fail")
    assert (answer.status, answer.text) == FAILURE
    assert b"Secret" not in answer.stdout
    assert answer.is_complete and answer.app_status == 1
    alone.wait_log("the handler returned 3")


@pytest.mark.parametrize("query, words", [
    ("", "the handler returned 3"), ("?late", "begun to leave")])
def test_a_failure_behind_the_first_byte_cuts_the_answer(alone, query, words):
    with alone.connect() as connection:
        connection.send(request(f"/fail-later{query}"))
        answer = connection.read_answer(stop=lambda a: a.body)
        assert answer.text == "a beginning"
        with pytest.raises((ConnectionError, EOFError, AssertionError)):
            assert connection.read_answer(answer=answer).is_complete
    alone.wait_log(words)
    assert alone.fetch().text == "hello 2"


def test_memory_that_is_not_to_be_had_is_a_500(alone):
    assert (alone.fetch("/alloc").status, alone.fetch("/alloc").text) == FAILURE
    alone.wait_log("memory for the request")


def test_a_long_text_is_printed_whole(alone):
    assert alone.fetch("/long").text == f"{7:05000}{'x':>5000}."


@pytest.mark.parametrize("size", [1, 100, 8000, 32768, 32769, 200001])
def test_parts_of_any_size_arrive_whole(alone, size):
    answer = alone.fetch(f"/large?size={size}")
    assert answer.is_complete
    assert answer.body == b"".join(bytes([i]) * size for i in range(40))


@pytest.mark.parametrize("path", ["/", "/large?size=200001", "/fail", "/lines"])
def test_head_has_the_head_alone(alone, path):
    answer = alone.fetch(path, method="HEAD")
    assert answer.is_complete and answer.body == b""
    assert answer.status == (500 if path == "/fail" else 200)


def test_head_of_an_endless_answer_is_over_with_its_head(alone):
    answer = alone.fetch("/endless", method="HEAD")
    assert (answer.status, answer.body, answer.is_complete) == (200, b"", True)


def test_body_and_answer_are_streams_at_once(alone):
    with alone.connect() as connection:
        begin_body(connection, "/lines", PATH_INFO="/lines")
        answer = connection.read_answer(stop=lambda a: b"begin" in a.body)
        for line in (b"first\n", b"second\n", b"third\n"):
            send_body(connection, line)
            answer = connection.read_answer(
                answer=answer, stop=lambda a, e=line: a.body.endswith(e))
            assert not answer.is_complete
        end_body(connection)
        assert connection.read_answer(answer=answer).is_complete


def test_a_kept_connection_serves_one_request_after_another(alone):
    with alone.connect() as connection:
        for number in range(2, 5):
            connection.send(request("/", b"", number, fcgi.KEEP_CONN))
            answer = connection.read_answer(number)
            assert answer.is_complete and answer.text == f"hello {number}"
    assert alone.fetch().text == "hello 5"


def test_a_client_that_leaves_ends_an_endless_answer_and_no_program(alone):
    with alone.connect() as connection:
        connection.send(request("/endless"))
        connection.read_answer(stop=lambda a: len(a.body) > 1 << 20)
    alone.wait_log("it was left")
    assert "returned" not in alone.log()
    assert alone.fetch().text == "hello 2"


def test_a_client_that_reads_nothing_holds_the_function_up(alone):
    """What it takes is what the sockets hold, not what the memory holds."""
    with alone.connect() as connection:
        connection.send(request("/endless"))
        alone.wait_log("piece 1.")
        rested, until = 0, time.monotonic() + 30
        while rested < 20:
            before = alone.log()
            time.sleep(0.02)
            rested = rested + 1 if before == alone.log() else 0
            assert time.monotonic() < until, "it goes on"
        assert alone.log().count("piece ") < 64
    alone.wait_log("it was left")


def test_what_is_printed_is_no_part_of_the_answer(alone):
    assert alone.fetch("/print").text == "printed"
    for line in ("a line for the log\n", "and one for stderr\n",
                 "without an end"):
        alone.wait_log(line)


def test_handlers_of_signals_disturb_no_body_and_no_answer(alone):
    with alone.connect() as connection:
        begin_body(connection, "/alarm", PATH_INFO="/alarm")
        answer = connection.read_answer(stop=lambda a: b"begin" in a.body)
        for line in (b"one\n", b"two\n"):
            time.sleep(0.02)  # so that some come meanwhile
            send_body(connection, line)
            answer = connection.read_answer(
                answer=answer, stop=lambda a, e=line: a.body.endswith(e))
        end_body(connection)
        answer = connection.read_answer(answer=answer)
    assert answer.is_complete and answer.text == "begin\ngot one\ngot two\n"


# -------------------------------------------------------------------- its end

def test_sigterm_ends_one_that_waits(alone):
    alone.terminate()
    assert alone.wait() == 0


def test_sigterm_ends_one_that_waits_on_a_kept_connection(alone):
    with alone.connect() as connection:
        connection.send(request("/", b"", 1, fcgi.KEEP_CONN))
        assert connection.read_answer().is_complete
        alone.terminate()
        assert alone.wait() == 0


def test_sigterm_lets_a_request_end_first(alone):
    with alone.connect() as connection:
        begin_body(connection, "/lines", PATH_INFO="/lines")
        send_body(connection, b"first\n")
        answer = connection.read_answer(stop=lambda a: b"first" in a.body)
        alone.terminate()
        send_body(connection, b"second\n")
        answer = connection.read_answer(answer=answer,
                                        stop=lambda a: b"second" in a.body)
        end_body(connection)
        answer = connection.read_answer(answer=answer)
    assert answer.is_complete
    assert alone.wait() == 0


def test_a_function_s_children_end_by_sigterm(alone):
    assert alone.fetch("/forks").text == str(int(signal.SIGTERM))
    assert alone.fetch("/forks").text == str(int(signal.SIGTERM))


@pytest.mark.parametrize("query, code", [("result=0", 0), ("result=-5", 1),
                                         ("exits&result=7", 7)])
def test_a_child_that_was_forked_answers_nobody(alone, query, code):
    for _ in range(3):
        answer = alone.fetch(f"/comes?{query}")
        assert answer.is_complete and answer.text == \
            f"begun parent {code} {alone.process.pid}", answer


def test_a_child_has_no_socket_of_ours(alone):
    found = alone.fetch("/child").text
    assert "socket:" not in found and "0 -> /dev/null" in found, found


def test_a_crash_ends_the_program_and_its_answer_is_not_whole(alone):
    with alone.connect() as connection:
        connection.send(request("/crash"))
        with pytest.raises((ConnectionError, EOFError, AssertionError)):
            assert connection.read_answer().is_complete
    assert alone.wait() == -signal.SIGABRT


def test_one_that_is_told_to_be_a_spare_is_as_any_other(kit):
    with chost.Alone(kit.dir / "work.fcgi", FCGI_HOST_SPARE="1") as made:
        assert made.fetch().text == "hello 1"
        made.terminate()
        assert made.wait() == 0


# -------------------------------------------------------------- hostile bytes

def test_what_is_no_fastcgi_ends_its_connection_alone(alone):
    for garbage in (b"GET / HTTP/1.0\r\n\r\n" + bytes(100),
                    b"\1\1\0\0\0\x08\0\0" + bytes(8),
                    fcgi.begin(role=9), fcgi.begin()):
        with alone.connect() as connection:
            connection.send(garbage)
    assert alone.fetch().text == "hello 2"


def test_many_and_large_params_are_served(alone):
    for turn in range(3):
        more = {f"HTTP_X_{turn}_{i}": f"{i}" * (i % 300) for i in range(400)}
        answer = alone.fetch("/facts", HTTP_X_SOME_FIELD="y" * 300000, **more)
        assert len(facts(answer)["field"]) == 300000


def test_a_person_is_told_how_it_is_started(kit):
    done = subprocess.run([kit.dir / "work.fcgi"], text=True, check=False,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=60)
    assert done.returncode == 2
    assert "listening socket" in done.stderr
