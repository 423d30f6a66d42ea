"""fcgi-host-python without a host around it: its end, spares, --check, and bytes that
no host sends."""
import json
import pathlib
import signal
import subprocess
import time

import pytest

from lib import fcgi, proc, pyhost, runtimes

WSGI = pyhost.SOURCES / "wsgi.py"
SPARE = {"FCGI_HOST_SPARE": "1"}
pytestmark = pytest.mark.any_user


@pytest.fixture
def alone(installed):
    with pyhost.Alone(installed, WSGI) as made:
        assert made.fetch().text.startswith("hello")
        yield made


def test_a_kept_connection_serves_one_request_after_another(alone):
    with alone.connect() as connection:
        for number in range(2, 5):
            connection.send(pyhost.request("/", b"", number, fcgi.KEEP_CONN))
            answer = connection.read_answer(number)
            assert answer.is_complete and answer.text == f"hello {number}"
    assert alone.fetch().text == "hello 5"


def test_body_and_answer_are_streams_at_once(alone):
    with alone.connect() as connection:
        pyhost.begin(connection, "/lines", PATH_INFO="/lines")
        answer = None
        for line in (b"first\n", b"second\n", b"third\n"):
            pyhost.send_body(connection, line)
            answer = connection.read_answer(
                answer=answer, stop=lambda a, e=line: a.body.endswith(e))
            assert not answer.is_complete
        pyhost.end_body(connection)
        assert connection.read_answer(answer=answer).is_complete


# ---------------------------------------------------------------- its end

def test_sigterm_ends_one_that_waits(alone):
    alone.terminate()
    assert alone.wait() == 0


def test_sigterm_ends_one_that_waits_on_a_kept_connection(alone):
    with alone.connect() as connection:
        connection.send(pyhost.request("/", b"", 1, fcgi.KEEP_CONN))
        assert connection.read_answer().is_complete
        alone.terminate()
        assert alone.wait() == 0


def test_sigterm_lets_a_request_end_first(alone):
    with alone.connect() as connection:
        pyhost.begin(connection, "/lines", PATH_INFO="/lines")
        pyhost.send_body(connection, b"first\n")
        answer = connection.read_answer(stop=lambda a: b"first" in a.body)
        alone.terminate()
        pyhost.send_body(connection, b"second\n")
        answer = connection.read_answer(answer=answer,
                                        stop=lambda a: b"second" in a.body)
        pyhost.end_body(connection)
        answer = connection.read_answer(answer=answer)
    assert answer.is_complete
    assert alone.wait() == 0


def test_sigterm_ends_one_that_loads_its_function(installed, tmp_path):
    file = tmp_path / "slow.py"
    file.write_text("import time\nprint('it loads')\ntime.sleep(1000)\n")
    with pyhost.Alone(installed, file) as made:
        made.wait_log("it loads")
        made.terminate()
        assert made.wait() == 0


def test_a_function_s_children_end_by_sigterm(installed, tmp_path):
    file = tmp_path / "forks.py"
    file.write_text(
        "import os, signal, time\n"
        "def handler(request):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        while True: time.sleep(1000)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    return str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n")
    with pyhost.Alone(installed, file) as made:
        assert made.fetch().text == str(-signal.SIGTERM)
        assert made.fetch().text == str(-signal.SIGTERM)


def test_one_that_cannot_be_loaded_ends_behind_its_500(installed, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("1 / 0\n")
    with pyhost.Alone(installed, file) as made:
        answer = made.fetch()
        assert (answer.status, answer.text) == (500, "Internal Server Error\n")
        assert answer.is_complete and answer.app_status == 1
        assert made.wait() == 1
        assert made.log().count("ZeroDivisionError") == 1


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 100000])
def test_a_function_s_file_is_read_whole(installed, tmp_path, size):
    file = tmp_path / "long.py"
    code = "def handler(request):\n    return 'to the end'\n"
    file.write_text("#" * max(0, size - len(code) - 1) + "\n" + code)
    with pyhost.Alone(installed, file) as made:
        assert made.fetch("/").text == "to the end"


@pytest.mark.parametrize("data,words", [
    (b"handler = print\0", "null byte"), (None, "No such file or directory")])
def test_a_file_that_is_no_source_says_so(installed, tmp_path, data, words):
    file = tmp_path / "none.py"
    if data is not None:
        file.write_bytes(data)
    with pyhost.Alone(installed, file) as made:
        assert made.fetch("/").status == 500
        assert made.wait() == 1
        assert words in made.log()


def test_a_function_s_own_stream_over_stdout_is_flushed_with_the_request(alone):
    assert alone.fetch("/print-own").text == "printed"
    alone.wait_log("by a stream of its own\n")
    alone.wait_log("by the buffer\n")


FORKING = """
import os, sys

def application(environ, start_response):
    if environ["PATH_INFO"] == "/pid":
        start_response("200 OK", [])
        return [b"%d" % os.getpid()]
    return parts(environ["PATH_INFO"], start_response)

def parts(path, start_response):
    start_response("200 OK", [])
    yield b"begun "
    pid = os.fork()
    if pid == 0:
        if path == "/dies":
            raise ValueError("of a child")
        if path == "/exits":
            sys.exit(7)
        yield b"child "
    else:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        yield b"parent %d" % code
"""


@pytest.mark.parametrize("path, code", [("/comes", 0), ("/dies", 1),
                                        ("/exits", 7)])
def test_a_child_that_was_forked_answers_nobody(installed, tmp_path, path,
                                                code):
    file = tmp_path / "forks.py"
    file.write_text(FORKING)
    with pyhost.Alone(installed, file) as program:
        answer = program.fetch(path)
        assert answer.is_complete and \
            answer.text == f"begun parent {code}", answer
        for _ in range(5):
            assert program.fetch("/pid").text == str(program.process.pid)
        assert program.end() == 0


def test_a_child_has_no_socket_of_ours(alone):
    found = alone.fetch("/child").text
    assert "socket:" not in found and "0 -> /dev/null" in found, found


def test_environ_is_each_request_s_own(alone):
    """Whatever changes between two: values, names, their order, their number."""
    def environ(**more):
        found = json.loads(alone.fetch("/facts", **more).text)["environ"]
        return {k: v for k, v in found.items() if k.startswith("HTTP_") or
                k in ("wsgi.url_scheme", "QUERY_STRING", "CONTENT_TYPE")}

    plain = {"wsgi.url_scheme": "http", "QUERY_STRING": "", "CONTENT_TYPE": ""}
    assert environ() == plain
    assert environ(HTTPS="on") == {**plain, "wsgi.url_scheme": "https"}
    assert environ(HTTPS="off") == plain
    assert environ(REQUEST_SCHEME="https")["wsgi.url_scheme"] == "https"
    assert environ(HTTP_A="1", HTTP_B="2") == {**plain, "HTTP_A": "1", "HTTP_B": "2"}
    assert environ(HTTP_A="1", HTTP_B="3") == {**plain, "HTTP_A": "1", "HTTP_B": "3"}
    assert environ(HTTP_B="4", HTTP_A="1") == {**plain, "HTTP_A": "1", "HTTP_B": "4"}
    assert environ(HTTP_A="y" * 300) == {**plain, "HTTP_A": "y" * 300}
    assert environ(HTTP_A="1") == {**plain, "HTTP_A": "1"}
    assert environ(QUERY_STRING="q") == {**plain, "QUERY_STRING": "q"}
    assert environ() == plain


# ----------------------------------------------------------------- spares

def test_a_spare_reads_nothing_of_the_function_before_its_first_request(
        installed, tmp_path):
    """There is nothing yet that it could read."""
    file = tmp_path / "main.py"
    with pyhost.Alone(installed, file, FCGI_HOST_PRELOAD="json no_such_module",
                      PYTHONPATH=str(tmp_path / "named"), **SPARE) as made:
        made.wait_log("No module named 'no_such_module'")
        (tmp_path / "lib").mkdir()
        (tmp_path / "named").mkdir()
        for place in ("lib", "named"):
            (tmp_path / place / f"from_{place}.py").write_text("")
        file.write_text("import sys\nloaded = 'json' in sys.modules\n"
                        "import from_lib, from_named\n" + WSGI.read_text())
        found = json.loads(made.fetch("/facts").text)
        assert not {"FCGI_HOST_SPARE", "FCGI_HOST_PRELOAD"} & {
            *found["process"], *found["environ"]}
        assert found["path"][:2] == [str(tmp_path), str(tmp_path / "named")]
        assert "json" in found["loaded"]
        environ = pathlib.Path(f"/proc/{made.process.pid}/environ")
        assert environ.exists()


def test_what_is_to_be_preloaded_is_there_before_the_function(installed, tmp_path):
    file = tmp_path / "main.py"
    file.write_text("import sys\nthere = 'decimal' in sys.modules\n"
                    "def handler(request):\n    return str(there)\n")
    with pyhost.Alone(installed, file, FCGI_HOST_PRELOAD="decimal",
                      **SPARE) as made:
        assert made.fetch().text == "True"
    with pyhost.Alone(installed, file, FCGI_HOST_PRELOAD="decimal") as made:
        assert made.fetch().text == "False"


def test_sigterm_ends_a_spare(installed, tmp_path):
    with pyhost.Alone(installed, tmp_path / "missing.py",
                      FCGI_HOST_PRELOAD="no_such_module", **SPARE) as made:
        made.wait_log("No module named 'no_such_module'")
        made.terminate()
        assert made.wait() == 0


# ------------------------------------------------------- the client leaves

def test_a_client_that_leaves_ends_an_endless_answer_and_no_program(alone):
    with alone.connect() as connection:
        connection.send(pyhost.request("/endless"))
        connection.read_answer(stop=lambda a: len(a.body) > 1 << 20)
    alone.wait_log("closed behind")
    assert "Traceback" not in alone.log()
    assert alone.fetch().text == "hello 2"


def test_a_client_that_reads_nothing_holds_the_function_up(alone):
    """What it takes is what the sockets hold, not what the memory holds."""
    with alone.connect() as connection:
        connection.send(pyhost.request("/endless"))
        alone.wait_log("piece 1.")
        rested = 0
        until = time.monotonic() + 30
        while rested < 20:
            before = alone.log()
            time.sleep(0.02)
            rested = rested + 1 if before == alone.log() else 0
            assert time.monotonic() < until, "it goes on"
        assert alone.log().count("piece ") < 64
    alone.wait_log("closed behind")


def test_a_body_that_breaks_off_is_an_error_of_the_read(alone):
    with alone.connect() as connection:
        pyhost.begin(connection, "/echo", 100, PATH_INFO="/echo")
        pyhost.send_body(connection, b"half of it")
    alone.wait_log("the request ended before its body")
    assert alone.fetch().text == "hello 2"


# ------------------------------------------------------------ hostile bytes

@pytest.mark.parametrize("length, body, seen", [
    ("3", b"abcdef", b"abc"), ("100", b"abc", b"abc"), ("0", b"abc", b""),
    ("99999999999999999999", b"abc", b"abc"), ("-1", b"abc", b"abc"),
    ("3x", b"abc", b"abc"), ("", b"abc", b"abc"),
    ("9223372036854775807", b"abc", b"abc")])
def test_a_length_that_lies_bounds_the_body_and_no_more(alone, length, body, seen):
    answer = alone.fetch("/echo", body, CONTENT_LENGTH=length)
    assert answer.is_complete and answer.body == seen
    assert alone.fetch().text == "hello 2"


def test_bytes_that_are_no_utf_8_stay_what_they_are(alone):
    found = json.loads(alone.fetch(
        "/facts", HTTP_X_BYTES=b"\xff\x00\xfe", PATH_INFO=b"/facts/\xc3\x28",
        **{"": "no name", "X": "", "HTTP_\u00fc": "wide"}).text)
    environ = found["environ"]
    assert environ["HTTP_X_BYTES"] == "\xff"  # libfcgi's strings end at a NUL
    assert environ["PATH_INFO"] == "/facts/\xc3("
    assert environ["HTTP_\xc3\xbc"] == "wide"


def test_many_and_large_params_are_served(alone):
    for turn in range(3):
        more = {f"HTTP_X_{turn}_{i}": f"{i}" * (i % 300) for i in range(400)}
        found = json.loads(alone.fetch("/facts", HTTP_X_LARGE="y" * 300000,
                                       **more).text)
        assert len(found["environ"]["HTTP_X_LARGE"]) == 300000
        assert more.items() <= found["environ"].items()


def test_what_is_no_fastcgi_ends_its_connection_alone(alone):
    for garbage in (b"GET / HTTP/1.0\r\n\r\n" + bytes(100), b"\1\1\0\0\0\x08\0\0" + bytes(8),
                    fcgi.begin(role=9), fcgi.begin()):
        with alone.connect() as connection:
            connection.send(garbage)
    assert alone.fetch().text == "hello 2"


def test_a_request_that_is_over_is_no_more_to_be_had(alone):
    assert alone.fetch("/late").text == "on time"
    assert alone.fetch("/let-go").text == "let go"
    alone.wait_log("late: done")
    assert alone.log().count("late: the request is over") == 2


def test_a_thread_that_waits_for_the_body_holds_no_answer_up(alone):
    with alone.connect() as connection:
        pyhost.begin(connection, "/thread-reads", 100, PATH_INFO="/thread-reads")
        assert connection.read_answer().text == "not waited for"
    alone.wait_log("the thread is over")
    assert alone.fetch().text == "hello 2"


def test_handlers_of_signals_run_while_the_body_is_waited_for(alone):
    with alone.connect() as connection:
        pyhost.begin(connection, "/alarm", PATH_INFO="/alarm")
        pyhost.send_body(connection, b"line\n")
        answer = connection.read_answer(stop=lambda a: b"alarms" in a.body)
        before = proc.stat(alone.process.pid)
        assert before is not None
        for piece in (b"one ", b"two ", b"three"):
            pyhost.send_body(connection, piece)
        pyhost.end_body(connection)
        answer = connection.read_answer(answer=answer)
    assert answer.is_complete
    assert answer.text == "got line\nalarmsall one two three"


# ---------------------------------------------------------------- --check

@pytest.mark.parametrize("text, word", [
    ("def application(environ, start_response): pass", "application"),
    ("from site.wsgi import application", "application"),
    ("import site.wsgi as application", "application"),
    ("class application: pass", "application"),
    ("application, other = 1, 2", "application"),
    ("application: object = make()", "application"),
    ("def handler(request): pass\napplication = 1", "application"),
    ("if True:\n  try:\n    x\n  except E:\n    application = 1", "application"),
    ("def handler(request): pass", "handler"),
    ("handler = lambda request: ''", "handler"),
    ("def handler(request, more=1, *, other=2): pass", "handler"),
    ("def handler(*all): pass", "handler"),
    ("async def handler(request): pass", "script"),
    ("async def application(scope, receive, send): pass", "script"),
    ("def handler(signum, frame): pass", "script"),
    ("def handler(request, *, needed): pass", "script"),
    ("def main():\n  application = 1", "script"),
    ("application: object", "script"), ("print(application)", "script"),
    ("class A:\n  def handler(self): pass", "script"), ("", "script"),
    ("raise SystemExit(7)", "script"),
    ("# coding: latin-1\nname = '\xfc'\nhandler = print", "handler")])
def test_check_tells_what_a_file_is_and_does_not_run_it(installed, tmp_path, text,
                                                        word):
    file = tmp_path / "some.py"
    file.write_text(text, "latin-1")
    code = 2 if word == "script" else 0
    assert check(installed, file) == (code, f"{word}\n", "")


@pytest.mark.parametrize("text, line", [
    (b"x = 1\ndef f(:\n", 2), (b"return 1\n", 1), (b"\xff\xfe\n", 1),
    (b"x = '\0'\n", 1), (b"a\nb\nc = (\n", 3), (b"def f():\n\tx\n        y\n", 3)])
def test_check_says_where_the_syntax_is_wrong(installed, tmp_path, text, line):
    file = tmp_path / "some.py"
    file.write_bytes(text)
    code, out, err = check(installed, file)
    assert (code, out) == (1, "")
    assert err.startswith(f"{file}:{line}: ") and err.count("\n") == 1


def check(installed, file):
    done = subprocess.run([runtimes.python(installed), "--check", file], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [[], ["--help"], ["a", "b"], ["/a/file.py"]])
def test_a_person_is_told_how_it_is_started(installed, words):
    done = subprocess.run([runtimes.python(installed), *words], text=True,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          check=False, timeout=60)
    # not what --check says of a script
    assert done.returncode == 64
    assert "listening socket" in done.stderr
