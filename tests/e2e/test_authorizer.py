"""Functions in the role of authorizer (FastCGI 1.0 section 6.3): what they are
told, what becomes of their answers, and both under a real lighttpd with
conf/lighttpd-authorizer.conf.in."""
import pytest

from lib import fcgi, host as host_room, web


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({"gate.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
                       "tiny.cgi": programs.cgi},
                      {"function tiny": {"body_max": "1K"}})


def ask_bytes(url, name, request_id=1, flags=0, **extra):
    """BEGIN and PARAMS, as a web server asks an authorizer: no STDIN."""
    params = fcgi.request_params(url, FCGI_HOST_AUTHORIZER=name, **extra)
    for absent in ("SCRIPT_NAME", "CONTENT_LENGTH"):
        if absent not in extra:
            del params[absent]
    return (fcgi.begin(request_id, fcgi.AUTHORIZER, flags) +
            fcgi.stream(fcgi.PARAMS, request_id, fcgi.pairs(params)))


def ask(host, url, name, more=b"", **extra):
    """The authorizer's answer, and its record."""
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(ask_bytes(url, name, REQUEST_ID=request_id, **extra) +
                        more)
        answer = connection.read_answer()
    return answer, host.books.wait_request(request_id)


FUNCTIONS = pytest.mark.parametrize("name", ["gate", "warm"])


@FUNCTIONS
# W10
def test_a_decision_needs_no_stdin_and_leaves_a_record(host, name):
    answer, record = ask(host, "/private/x?field=Status:+200&field="
                         "Variable-REMOTE_USER:+alice&end", name)
    assert (answer.status, answer.is_complete) == (200, True)
    assert answer.header("Variable-REMOTE_USER") == "alice"
    assert (record["function"], record["outcome"], record["status"]) == \
        (name, "ok", 200)
    answer, record = ask(host, "/private/x?field=Status:+403&head&raw=no", name)
    assert (answer.status, answer.text) == (403, "no")
    assert (record["outcome"], record["status"]) == ("ok", 403)


@FUNCTIONS
def test_it_is_told_its_role_and_neither_path_nor_body(host, name):
    names = ("FCGI_ROLE", "SCRIPT_NAME", "PATH_INFO", "CONTENT_LENGTH",
             "REQUEST_URI")
    url = "/private/x?head&sum" + "".join(f"&env={n}" for n in names)
    body = fcgi.stream(fcgi.STDIN, 1, b"sent all the same")
    answer, record = ask(host, url, name, body, CONTENT_LENGTH="99",
                         SCRIPT_NAME="/private")
    assert answer.text == ("length=0 crc=00000000\nFCGI_ROLE=AUTHORIZER\n"
                           "SCRIPT_NAME=(unset)\nPATH_INFO=(unset)\n"
                           "CONTENT_LENGTH=(unset)\n"
                           f"REQUEST_URI={url}\n")
    assert record["bytes_in"] == 0


def test_a_peer_cannot_say_a_responder_that_it_is_an_authorizer(host):
    answer = host.fetch("/fn/gate?head&env=FCGI_ROLE", FCGI_ROLE="AUTHORIZER")
    assert answer.text == "FCGI_ROLE=(unset)\n"


def test_a_length_over_body_max_is_nothing_to_an_authorizer(host):
    answer, _ = ask(host, "/private/x?head&raw=yes", "tiny",
                    CONTENT_LENGTH="5000000")
    assert (answer.status, answer.text) == (200, "yes")


def test_the_url_names_no_authorizer(host):
    """Else a function could be made to allow itself."""
    for name in ("", "nobody", "../gate"):
        with host.connect() as connection:
            connection.send(ask_bytes("/fn/gate?head", name))
            answer = connection.read_answer()
        assert answer.status == 404
        assert "FCGI_HOST_AUTHORIZER" in answer.text
    with host.connect() as connection:
        connection.send(ask_bytes("/private/x?head&raw=f", "",
                                  FCGI_HOST_FUNCTION="gate"))
        assert connection.read_answer().text == "f"


@FUNCTIONS
def test_a_kept_connection_changes_roles(host, name):
    with host.connect() as connection:
        for lap in range(1, 20, 2):
            connection.send(ask_bytes(f"/private/x?head&raw=a{lap}", name, lap,
                                      fcgi.KEEP_CONN))
            assert connection.read_answer(lap).text == f"a{lap}"
            connection.send(fcgi.request_bytes(
                f"/fn/{name}?head&raw=r&sum", b"body", lap + 1,
                fcgi.KEEP_CONN))
            assert connection.read_answer(lap + 1).text.startswith(
                "rlength=4 ")


@FUNCTIONS
def test_a_crash_a_bad_answer_and_an_abort_are_no_consent(host, name):
    for query in ("kill=11", "exit=3", "raw=no+header%0a%0a"):
        answer, record = ask(host, f"/private/x?{query}", name)
        assert answer.status == 502, (query, answer)
        assert record["outcome"] in ("crash", "error")
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(ask_bytes("/private/x?sleep=5000", name,
                                  REQUEST_ID=request_id) +
                        fcgi.record(fcgi.ABORT, 1))
        assert connection.read_answer().stdout == b""
    assert host.books.wait_request(request_id)["outcome"] == "aborted"


# ---- lighttpd

@pytest.fixture(scope="module", params=["cgi", "fcgi"])
def guarded(request, start, programs):
    """A host whose `gate` is of that kind, and lighttpd in front of it."""
    host = start.host({f"gate.{request.param}": getattr(programs,
                                                        request.param),
                       "alice/app.cgi": programs.cgi,
                       "open.cgi": programs.cgi},
                      socket_name="fcgi-host.sock")
    server = start.server("lighttpd", host)
    (server.dir / "www/private").mkdir()
    (server.dir / "www/private/paper.txt").write_text("secret\n")
    return host, server


CONSENT = "field=Status:+200&field=Variable-REMOTE_USER:+alice" \
    "&field=Variable-X_MINE:+1&field=X-Else:+gone&end"
REFUSAL = "field=Status:+403&field=X-Why:+cookie&head&raw=not+you"


def records_of(host, count):
    """(function, status) of the last executions, once there are so many."""
    host.books.wait(lambda _: len(host.books.executions()) >= count)
    return [(r["function"], r["status"]) for r in host.books.executions()]


def test_lighttpd_hands_a_file_out_as_the_function_decides(guarded):
    host, server = guarded
    before = len(host.books.executions())
    reply = web.get(server.plain, f"/private/paper.txt?{CONSENT}")
    assert (reply.status, reply.text) == (200, "secret\n")
    assert reply.header("X-Else") is None
    reply = web.get(server.plain, f"/private/paper.txt?{REFUSAL}")
    assert (reply.status, reply.text) == (403, "not you")
    assert reply.header("X-Why") == "cookie"
    for query in ("kill=11", "exit=1", "raw=no+header"):
        reply = web.get(server.plain, f"/private/paper.txt?{query}")
        assert reply.status == 502 and "secret" not in reply.text
    assert records_of(host, before + 5)[before:] == [
        ("gate", 200), ("gate", 403)] + 3 * [("gate", 502)]


def test_lighttpd_calls_a_function_as_another_decides(guarded):
    """Both get the same query: consent by the one, environment by the other,
    whose answer it is."""
    host, server = guarded
    before = len(host.books.executions())
    reply = web.get(server.plain, f"/fn/alice/app?{CONSENT}&env=REMOTE_USER"
                    "&env=X_MINE&env=FCGI_ROLE&env=SCRIPT_NAME&sum", "POST",
                    body=b"for the function")
    assert reply.status == 200
    assert reply.header("X-Else") == "gone", "the function's own answer"
    assert reply.text.startswith(
        "REMOTE_USER=alice\nX_MINE=(unset)\nFCGI_ROLE=(unset)\n"
        "SCRIPT_NAME=/fn/alice/app\nlength=16 ")
    reply = web.get(server.plain, f"/fn/alice/app?{REFUSAL}", "POST",
                    body=b"dropped")
    assert (reply.status, reply.text) == (403, "not you")
    reply = web.get(server.plain, "/fn/open?head&raw=free")
    assert reply.text == "free"
    assert records_of(host, before + 4)[before:] == [
        ("gate", 200), ("alice/app", 200), ("gate", 403), ("open", 200)]
