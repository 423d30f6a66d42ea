"""What the runtimes that are scripts of ours have in common, PSGI and Rack: each test
is done with both, in the sandbox, and by the program alone where the host would
stand between."""
import os

import pytest

from lib import fcgi, scripted, web
from lib.scripted import ask, logged

# runtime: (extension, the function that has the parts asked for here)
LANGUAGES = {"psgi": ("psgi", scripted.FUNCTIONS / "work.psgi"),
             "rack": ("ru", scripted.FUNCTIONS / "work.ru")}


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture(scope="module")
def host(start, place, language):
    extension, work = LANGUAGES[language]
    return start.host({f"app.{extension}": work},
                      {"defaults": {"instances": "1", "memory": "96M"}},
                      text=place.section(language))


@pytest.fixture(scope="module")
def nginx(start, host):
    return start.nginx(host)


def test_one_program_answers_again_and_again(host):
    first, one = ask(host, "hello")
    second, two = ask(host, "hello")
    pid, count = first.text.split()[1:]
    assert second.text.split()[1:] == [pid, str(int(count) + 1)]
    assert (one["instance"], two["start"]) == (two["instance"], "warm")


def test_a_mebibyte_of_any_bytes_comes_back_as_it_was(host, nginx):
    body = os.urandom(1 << 20)
    answer, record = ask(host, "echo", body)
    assert answer.body == body
    assert record["bytes_in"] == len(body)
    reply = web.get(nginx.plain, "/fn/app/echo", "POST", body=body)
    assert reply.body == body


def test_a_line_is_read_before_the_next_is_sent(host):
    with host.connect() as connection:
        scripted.begin_body(connection, "/fn/app/lines", 12)
        for word in ("one", "two"):
            scripted.send_body(connection, f"{word}\n".encode())
            host.wait_log(f"heard {word}")
        scripted.end_body(connection, b"end\n")
        answer = connection.read_answer()
        host.wait_log("heard end")
    assert (answer.text, answer.is_complete) == ("ONE\nTWO\nEND\n", True)


def test_an_event_reaches_nginx_s_client_before_the_next_is_made(host, nginx):
    with web.Client(nginx.stream) as client:
        client.ask("/fn/app/events", headers=[("Connection", "close")])
        scripted.read_until(client, b"data: 1\n\n")
        (host.state / "data/default/go").touch()
        scripted.read_until(client, b"data: 2\n\n")


def test_head_has_the_head_alone(host):
    answer, _ = host.execute("/fn/app/sized", method="HEAD")
    assert (answer.header("Content-Length"), answer.body) == ("6", b"")
    assert answer.is_complete


def test_a_status_passes(host):
    answer, _ = ask(host, "gone")
    assert (answer.status, answer.text) == (410, "gone\n")


def test_an_exception_in_mid_answer_cuts_it(host):
    answer, record = ask(host, "late")
    assert answer.text == "half of it\n" and not answer.is_complete
    assert record["outcome"] != "ok"
    logged(host, record, "a late failure")
    assert ask(host, "hello")[0].status == 200


# ------------------------------------------------------------- the program alone


def alone(language, **env):
    return scripted.Alone(language, LANGUAGES[language][1], **env)


def test_requests_come_on_one_connection_that_is_kept(language):
    with alone(language) as program, program.connect() as connection:
        for count in range(1, 6):
            connection.send(scripted.request("/hello", request_id=count,
                                             flags=fcgi.KEEP_CONN))
            answer = connection.read_answer(count)
            assert answer.is_complete
            assert answer.text.split()[2] == str(count)


def test_a_child_s_stdin_is_no_socket_of_ours(language):
    with alone(language) as program:
        assert program.fetch("/stdin").text == "/dev/null\n"
        assert program.fetch("/hello").is_complete


def test_a_client_that_takes_nothing_holds_the_writer_up(language):
    with alone(language) as program, program.connect() as connection:
        connection.send(scripted.request("/flood"))
        connection.read_answer(stop=lambda answer: answer.body)
        program.wait_asleep()
        assert "all of the flood" not in program.log()
        answer = connection.read_answer(answer=fcgi.Answer())
        assert answer.is_complete
        program.wait_log("all of the flood is written")


def test_sigterm_ends_an_idle_program_at_once(language):
    with alone(language) as program:
        program.wait_asleep()
        assert program.end() == 0
    with alone(language) as program:
        program.fetch("/hello")
        assert program.end() == 0
    with alone(language) as program, program.connect() as connection:
        connection.send(scripted.request("/hello", flags=fcgi.KEEP_CONN))
        assert connection.read_answer().is_complete
        program.wait_asleep()
        assert program.end() == 0


def test_sigterm_ends_a_spare(language):
    with alone(language, FCGI_HOST_SPARE="1") as program:
        program.wait_asleep()
        assert program.end() == 0
