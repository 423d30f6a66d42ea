"""The program of JavaScript functions by itself: its FastCGI, its end, its start."""
import json
import subprocess
import time

import pytest

from lib import fcgi, programs, runtimes

pytestmark = pytest.mark.any_user

PROGRAM = programs.TREE / "functions/node/fcgi-host-node.cjs"
COMMAND = ["/usr/bin/node", str(PROGRAM)]
SOURCES = programs.HERE / "runtime"


def serving(file=SOURCES / "fetch.mjs", **env):
    return runtimes.Direct([*COMMAND, str(file)], **env)


@pytest.fixture(scope="module", name="shared")
def shared_program():
    with serving() as program:
        yield program


@pytest.fixture(scope="module", name="plain")
def plain_program():
    with serving(SOURCES / "plain.js") as program:
        yield program


def wait_said(program, words, timeout=30):
    """Until the program has said so since the last hang()."""
    until = time.monotonic() + timeout
    while words not in program.log()[program.heard:]:
        assert program.process.poll() is None, program.log()
        assert time.monotonic() < until, f"no {words!r}:\n{program.log()}"
        time.sleep(0.01)


def request(url, request_id=1, flags=0, **extra):
    return fcgi.request_bytes(url, request_id=request_id, flags=flags,
                              SCRIPT_NAME="", PATH_INFO=url, **extra)


def hang(program, connection, flags=0, **extra):
    """A request that is under way until its client leaves."""
    program.heard = len(program.log())
    connection.send(request("/hang", flags=flags, **extra))
    wait_said(program, "hangs")


# ----------------------------------------------------------------- protocol

def test_a_connection_serves_one_request_behind_the_other(shared):
    with shared.connect() as connection:
        for number in (1, 2, 700):
            connection.send(request("/facts", number, fcgi.KEEP_CONN))
            answer = connection.read_answer(number)
            assert (answer.status, answer.app_status) == (200, 0)
        connection.send(request("/facts", 3))
        assert connection.read_answer(3).is_complete
        assert connection.is_closed_by_peer()


def test_a_stream_means_the_same_however_it_is_cut(shared):
    whole = fcgi.request_bytes("/echo", b"a body", CONTENT_TYPE="x/y")
    for size in (1, 3, 7, 8, 9, 100):
        with shared.connect() as connection:
            connection.send_split(whole, size=size)
            answer = connection.read_answer()
        assert (answer.text, answer.header("Content-Type")) == \
            ("a body", "x/y")


def test_padding_is_skipped(shared):
    params = fcgi.pairs(fcgi.request_params("/echo", "POST", 4))
    with shared.connect() as connection:
        connection.send(
            fcgi.begin() + fcgi.record(fcgi.PARAMS, 1, params, padding=255) +
            fcgi.record(fcgi.PARAMS, 1, padding=3) +
            fcgi.record(fcgi.STDIN, 1, b"body", padding=1) +
            fcgi.record(fcgi.STDIN, 1))
        assert connection.read_answer().text == "body"


def test_management_is_answered_while_a_request_runs(shared):
    with shared.connect() as connection:
        hang(shared, connection)
        connection.send(fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs(
            {"FCGI_MPXS_CONNS": "", "FCGI_MAX_REQS": "", "OTHER": ""})))
        kind, number, content = connection.read_record()
        assert (kind, number) == (fcgi.GET_VALUES_RESULT, 0)
        assert fcgi.read_pairs(content) == {b"FCGI_MPXS_CONNS": b"0",
                                            b"FCGI_MAX_REQS": b"1"}
        connection.send(fcgi.record(77, 0, b"what is this"))
        kind, number, content = connection.read_record()
        assert (kind, number, content[0]) == (fcgi.UNKNOWN_TYPE, 0, 77)


def test_what_cannot_be_served_is_refused_in_words(shared):
    with shared.connect() as connection:
        hang(shared, connection)
        connection.send(request("/facts", 2))
        answer = connection.read_answer(2)
        assert answer.protocol_status == fcgi.CANT_MPX_CONN
        # one of the same id would end the first
        connection.send(request("/facts", 1) + fcgi.record(fcgi.ABORT, 1))
        assert connection.read_answer(1).is_complete
    with shared.connect() as connection:
        connection.send(fcgi.begin(1, role=3))
        assert connection.read_answer().protocol_status == fcgi.UNKNOWN_ROLE


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", fcgi.record(fcgi.BEGIN, 1, version=2),
    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b"\x05\x85\0\0\0name"),
    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b"\xff"),
    fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, bytes(2 << 20)),
], ids=["http", "version", "value", "length", "size"])
def test_bytes_that_are_no_request_close_the_connection_alone(shared, data):
    with shared.connect() as connection:
        try:
            connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert connection.is_closed_by_peer()
    assert shared.fetch("/facts").status == 200


def test_a_second_connection_waits_for_its_turn(shared):
    with shared.connect() as first, shared.connect() as second:
        hang(shared, first, fcgi.KEEP_CONN)
        second.send(request("/facts"))
        second.send(fcgi.record(fcgi.GET_VALUES, 0))
        kind, _, _ = second.read_record()
        assert kind == fcgi.GET_VALUES_RESULT, "it was served beside the first"
        first.send(fcgi.record(fcgi.ABORT, 1))
        assert first.read_answer().is_complete
        assert second.read_answer().status == 200
        # an idle one is in nobody's way
        with shared.connect() as third:
            third.send(request("/facts"))
            assert third.read_answer().status == 200


# --------------------------------------------------------- the client leaves

@pytest.mark.parametrize("how", ["abort", "close"])
def test_the_signal_of_a_request_is_aborted_when_the_client_is_gone(
        shared, how):
    with shared.connect() as connection:
        hang(shared, connection, fcgi.KEEP_CONN)
        if how == "abort":
            connection.send(fcgi.record(fcgi.ABORT, 1))
            answer = connection.read_answer()
            assert (answer.is_complete, answer.stdout) == (True, b"")
            connection.send(request("/facts", 2))
            assert connection.read_answer(2).status == 200
    wait_said(shared, "aborted: AbortError")
    assert shared.fetch("/facts").status == 200


@pytest.mark.parametrize("how", ["clone", "again"])
def test_who_follows_a_request_is_told_that_the_client_is_gone(shared, how):
    with shared.connect() as connection:
        hang(shared, connection, REQUEST_URI=f"/hang?{how}")
    wait_said(shared, "aborted: AbortError")


def test_a_body_that_is_asked_for_behind_the_client_s_leaving_is_an_error(
        shared):
    with shared.connect() as connection:
        shared.heard = len(shared.log())
        connection.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, fcgi.pairs(
            {**fcgi.request_params("/hang", "POST", 9),
             "REQUEST_URI": "/hang?late"})) + fcgi.record(fcgi.STDIN, 1, b"some"))
        wait_said(shared, "hangs late")
    wait_said(shared, "late: AbortError")
    assert shared.fetch("/facts").status == 200


@pytest.mark.parametrize("method,body", [
    ("GET", ""), ("POST", "words"), ("PROPFIND", "words"), ("patch", "words")])
def test_a_request_is_node_s_own_to_whoever_looks_at_it(shared, method, body):
    answer = shared.fetch("/shape", body.encode(), REQUEST_METHOD=method,
                          HTTP_X_ONE="1")
    assert json.loads(answer.text) == {
        "is": True, "constructor": True, "tag": "[object Request]",
        "shown": True, "urls": 1, "methods": [method] * 3,
        "bodies": [body] * 2, "used": [body != "", body != ""],
        "one": ["1", "1", None], "two": "2", "three": ["3", None],
        "signals": True, "keys": []}


@pytest.mark.parametrize("extra", [
    {"HTTP_HOST": "two words"}, {"HTTP_HOST": "who:why@localhost"},
    {"HTTP_X_ONE": "a\nb"}, {"REQUEST_METHOD": "TRACE"},
    {"REQUEST_METHOD": "G T"}])
def test_what_is_no_request_is_400(shared, extra):
    assert shared.fetch("/facts", **extra).status == 400


@pytest.mark.parametrize("how", ["abort", "close"])
def test_req_and_res_are_closed_when_the_client_is_gone(plain, how):
    with plain.connect() as connection:
        hang(plain, connection, fcgi.KEEP_CONN)
        assert connection.read_answer(stop=lambda a: a.body == b"begun")
        if how == "abort":
            connection.send(fcgi.record(fcgi.ABORT, 1))
            assert connection.read_answer().is_complete
    wait_said(plain, "req: ECONNRESET")
    wait_said(plain, "closed false")
    assert plain.fetch("/facts", SCRIPT_NAME="").status == 200


# ------------------------------------------------------------- start and end

def test_sigterm_ends_an_idle_program_at_once():
    with serving() as program, program.connect() as connection:
        connection.send(request("/facts", flags=fcgi.KEEP_CONN))
        assert connection.read_answer().status == 200
        program.terminate()
        assert program.wait() == 0
        assert connection.is_closed_by_peer()


def test_sigterm_lets_a_request_finish():
    with serving() as program, program.connect() as connection:
        connection.send(request("/brief", flags=fcgi.KEEP_CONN))
        wait_said(program, "begins")
        program.terminate()
        answer = connection.read_answer()
        assert (answer.text, answer.is_complete) == ("finished", True)
        assert program.wait() == 0


def test_a_function_that_cannot_be_loaded_ends_its_program_behind_a_500(
        tmp_path):
    file = tmp_path / "f.mjs"
    file.write_text("export default {\n")
    with serving(file) as program:
        answer = program.fetch("/")
        assert (answer.status, answer.app_status) == (500, 1)
        assert answer.is_complete and "Syntax" not in answer.text
        assert program.wait() == 1
        assert f"{file}:2: SyntaxError" in program.log()


def test_what_nobody_catches_ends_the_program_behind_a_500():
    with serving() as program:
        answer = program.fetch("/uncaught")
        assert (answer.status, answer.app_status) == (500, 1)
        assert program.wait() == 1
        assert "nobody catches me" in program.log()


def test_a_spare_reads_nothing_of_the_function_before_its_first_connection(
        tmp_path):
    (tmp_path / "ready.js").write_text("console.log('preloaded')")
    file = tmp_path / "f.mjs"
    with serving(file, FCGI_HOST_SPARE="1",
                 FCGI_HOST_PRELOAD=f"crypto  {tmp_path}/ready.js") as program:
        wait_said(program, "preloaded")
        file.write_text((SOURCES / "fetch.mjs").read_text())
        answer = program.fetch("/facts")
        assert (answer.status, '"hidden":[]' in answer.text) == (200, True), \
            program.log()
        assert program.fetch("/echo", b"body").text == "body"
        program.terminate()
        assert program.wait() == 0


def test_a_spare_that_waits_ends_at_sigterm(tmp_path):
    (tmp_path / "ready.js").write_text("console.log('preloaded')")
    with serving(tmp_path / "none.mjs", FCGI_HOST_SPARE="1",
                 FCGI_HOST_PRELOAD=f"{tmp_path}/ready.js") as program:
        wait_said(program, "preloaded")
        program.terminate()
        assert program.wait() == 0


def test_without_a_listening_socket_it_says_so():
    done = subprocess.run([*COMMAND, SOURCES / "fetch.mjs"], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    assert done.returncode == 1
    assert "descriptor 0 is to be a listening socket" in done.stderr


# -------------------------------------------------------------------- check

@pytest.mark.parametrize("name,text,line", [
    ("good.mjs", "import a from './nowhere.mjs'\nexport default a", None),
    ("good.cjs", "throw 1\nreturn", None),
    ("good.js", "#!/usr/bin/node\nmodule.exports = (req, res) => {}", None),
    ("module.js", "#!/usr/bin/node\nexport default {}\nawait 1", None),
    ("bad.mjs", "\nexport default {\n  a b\n}", 3),
    ("bad.cjs", "\nconst a = 1\nconst a = 2\n", 3),
    ("bad.js", "module.exports = {\n  a b\n}", 2),
    ("export.cjs", "\nexport default {}", 2),
])
def test_check_reads_the_syntax_and_runs_nothing(tmp_path, name, text, line):
    file = tmp_path / name
    file.write_text(text)
    done = subprocess.run([*COMMAND, "--check", file], text=True,
                          capture_output=True, timeout=60)
    if line is None:
        assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{file}:{line}: SyntaxError: ")
    assert done.stderr.count("\n") == 1


def test_the_kind_of_a_js_file_is_its_package_s(tmp_path):
    (tmp_path / "package.json").write_text('{"type": "commonjs"}')
    (tmp_path / "f.js").write_text("export default {}")
    done = subprocess.run([*COMMAND, "--check", tmp_path / "f.js"], text=True,
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    (tmp_path / "package.json").write_text("{")
    done = subprocess.run([*COMMAND, "--check", tmp_path / "f.js"], text=True,
                          capture_output=True, timeout=60)
    assert (done.returncode, "package.json" in done.stderr) == (1, True)


def test_wrong_use_says_how():
    for words in ([], ["--what", "x"]):
        done = subprocess.run([*COMMAND, *words], text=True,
                              capture_output=True, timeout=60)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage" in done.stderr
