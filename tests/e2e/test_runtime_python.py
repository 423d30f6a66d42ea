"""Functions in Python: WSGI and handler(request), in a host's sandboxes."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

import pytest

from lib import host as host_room, pyhost, runtimes, web

WSGI = pyhost.SOURCES / "wsgi.py"
BROKEN = {"syntax.wsgi": ("def application(:\n", "SyntaxError"),
          "raises.wsgi": ("import no_such_module\n", "ModuleNotFoundError"),
          "exits.wsgi": ("raise SystemExit(0)\n", "SystemExit"),
          "script.wsgi": ("print('Content-Type: text/plain')\n",
                        "neither application .WSGI. nor handler.request.")}
VALIDATED = """
from wsgiref.validate import validator

def plain(environ, start_response):
    body = environ["wsgi.input"]
    found = [body.read(2), body.readline(), *body.readlines(), *body]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d parts" % len(found), b"" , b" are valid"]

application = validator(plain)
"""


@pytest.fixture(scope="module")
def host(start, place):
    return start.host({
        "app.wsgi": WSGI, "handle.wsgi": pyhost.SOURCES / "handler.py",
        "valid.wsgi": VALIDATED,
        **{name: text for name, (text, _) in BROKEN.items()}},
        {"defaults": {"instances": "2", "env.own_variable": "the function's"},
         "function by-name": {"runtime": "wsgi"}},
        runtimes=host_room.RUNTIMES + place.section("wsgi"))


def test_a_warm_application_answers_request_after_request(host):
    first, record = host.execute("/fn/app")
    again, later = host.execute("/fn/app")
    assert first.status == again.status == 200
    assert first.header("Content-Length") == str(len(first.body))
    numbers = [int(answer.text.split()[1]) for answer in (first, again)]
    if record["instance"] == later["instance"]:
        assert later["start"] == "warm" and numbers[1] == numbers[0] + 1


@pytest.mark.parametrize("method, body", [
    ("GET", b""), ("POST", b"one\ntwo\nthree"), ("HEAD", b"")])
def test_the_server_is_one_by_wsgiref_s_validator(host, method, body):
    answer, _ = host.execute("/fn/valid/path?query", body, method=method)
    assert answer.status == 200, host.log()[-3000:]
    assert answer.body == (b"" if method == "HEAD" else
                           b"%d parts are valid" % (4 if body else 2))


def test_a_megabyte_of_any_bytes_comes_back(host):
    body = os.urandom(1 << 20)
    answer, record = host.execute("/fn/app/echo", body)
    assert answer.body == body and answer.is_complete
    assert record["bytes_in"] == len(body)
    digest, _ = host.execute("/fn/app/digest", body)
    assert digest.text == f"{hashlib.sha256(body).hexdigest()} True"


def test_the_body_is_read_as_a_file_is(host):
    body = b"line one\nabcdefgh\nrest\nmore\nnext\nlast\nend"
    answer, _ = host.execute("/fn/app/reads", body)
    assert answer.text == repr([b"line one\n", b"abc", b"defg", b"h\n",
                                [b"rest\n"], b"more\n",
                                [b"next\n", b"last\n", b"end"], b"", b"", b""])


def test_a_function_reads_the_body_while_it_comes(host):
    """The host sends an answer when the body is there (W34): what the function
    has seen before that stands in the log."""
    with host.connect() as connection:
        pyhost.begin(connection, "/fn/app/lines", 15)
        for line in ("first", "second"):
            pyhost.send_body(connection, f"{line}\n".encode())
            host.wait_log(f"seen {line}")
        pyhost.end_body(connection, b"x\n")
        answer = connection.read_answer()
    assert answer.is_complete
    assert answer.text == "got first\ngot second\ngot x\n"


def test_an_event_reaches_the_browser_before_the_function_ends(start, host):
    nginx = start.nginx(host)
    with web.Client(nginx.stream) as client:
        client.ask("/fn/app/events")
        reply = client.read_head()
        assert reply.header("Content-Type") == "text/event-stream"
        seen = client.pending
        while b"data: one" not in seen:
            more = client.sock.recv(4096)
            assert more, seen
            seen += more
        assert b"two" not in seen
        assert web.get(nginx.plain, "/fn/app/go").status == 200
        while b"data: two" not in seen:
            more = client.sock.recv(4096)
            assert more, seen
            seen += more


def test_a_trace_is_in_the_log_alone(host):
    answer, record = host.execute("/fn/app/raise")
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    assert answer.is_complete and answer.stderr == b""
    assert (record["outcome"], record["exit"]) == ("error", 1)
    found = host.wait_log(
        rf'.*{record["request_id"]}.*LookupError: nothing of this.*')
    assert "event=" in found.group()
    begin = host.log().index(record["request_id"])
    assert "fcgi-host-python" not in re.sub(
        r"/\S*", "", host.log()[begin:found.start()]), "our frames are shown"


def test_a_fault_is_no_error_of_the_requests_behind_it(host):
    _, failed = host.execute("/fn/app/raise")
    answer, record = host.execute("/fn/app")
    assert (answer.status, record["instance"]) == (200, failed["instance"])
    assert (record["outcome"], record["exit"]) == ("ok", 0)


@pytest.mark.parametrize("path", ["raise-before-body", "exit", "twice", "none",
                                  "text"])
def test_a_fault_before_the_first_byte_is_500(host, path):
    answer, record = host.execute(f"/fn/app/{path}")
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    host.wait_log(rf'{record["request_id"]}.*(Error|SystemExit): ')


def test_a_fault_behind_the_first_byte_cuts_the_answer(host):
    answer, record = host.execute("/fn/app/raise-later")
    assert not answer.is_complete
    assert answer.body in (b"", b"a beginning")
    assert record["outcome"] != "ok"
    host.wait_log(rf'{record["request_id"]}.*behind the beginning')


def test_a_head_that_was_not_sent_can_be_replaced(host):
    answer, _ = host.execute("/fn/app/exc-info")
    assert (answer.status, answer.text) == (503, "in its place")


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_loaded_is_tried_anew_by_each_request(host, name):
    instances = set()
    for _ in range(2):
        answer, record = host.execute(f"/fn/{name[:-5]}")
        assert (answer.status, answer.text) == (500, "Internal Server Error\n")
        host.wait_log(rf'.*{name}.*\n(?:.*\n)*.*{BROKEN[name][1]}'
                      if name == "syntax.wsgi" else BROKEN[name][1])
        instances.add(record["instance"])
    assert len(instances) == 2


def test_a_new_version_serves_when_it_is_renamed_into_place(host):
    text = ("def application(environ, start_response):\n"
            "    start_response('200 OK', [])\n    return [b'%s']\n")
    host.add("fresh.wsgi", text % "one")
    assert host.wait_served("/fn/fresh").text == "one"
    host.add("fresh.wsgi", text % "two and longer")
    until = time.monotonic() + 30
    while host.wait_served("/fn/fresh").text != "two and longer":
        assert time.monotonic() < until, "the old version goes on"
        time.sleep(0.02)


def test_what_is_printed_is_in_the_log_with_the_request_s_id(host):
    answer, record = host.execute("/fn/app/print")
    assert answer.text == "printed" and answer.stderr == b""
    for line in ("a line for the log", "and one for stderr",
                 "past the buffers", "from a child", "by wsgi.errors"):
        host.wait_log(rf'{record["request_id"]}.*{line}')


@pytest.mark.parametrize("path, line", [
    ("close", "one two"), ("close-and-raise", None)])
def test_the_iterable_is_closed_in_any_case(host, path, line):
    answer, record = host.execute(f"/fn/app/{path}")
    host.wait_log(rf'{record["request_id"]}.*it was closed')
    if line:
        assert answer.text == line


def test_write_is_there_for_who_needs_it(host):
    answer, _ = host.execute("/fn/app/write")
    assert answer.text == "written and returned"


def test_large_parts_arrive_whole(host):
    answer, _ = host.execute("/fn/app/large?200001")
    assert answer.is_complete and answer.body == b"".join(
        bytes([i % 251]) * 200001 for i in range(40))


@pytest.mark.parametrize("status, fields", [
    ("200 OK", [["X-Split", "a\r\nSet-Cookie: stolen=1"]]),
    ("200 OK", [["X-Nul", "a\0b"]]), ("200 OK", [["X\nY", "a"]]),
    ("200 OK", [["", "a"]]), ("200 OK", [["X Y", "a"]]),
    ("200 OK", [["X-Wide", "\u20ac"]]), ("200 OK", [["Status", "404"]]),
    ("200 OK", [["Content-Length", "-1"]]),
    ("200 OK", [["Content-Length", "4"], ["content-length", "5"]]),
    ("200 OK", [["X", 1]]), ("200 OK", [["X"]]),
    ("200 OK\r\nX: y", []), ("OK", []), ("99 Low", []), (200, []),
    ("2000", [])])
def test_a_head_that_cannot_be_sent_is_a_fault(host, status, fields):
    answer, _ = host.execute("/fn/app/head",
                             json.dumps([status, fields]).encode())
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")


@pytest.mark.parametrize("status, fields, seen", [
    ("404 Nowhere at all", [["X-Latin", "\u00fc"]], b"body"),
    ("200", [["Content-Length", "4"]], b"body"),
    ("204 No Content", [], b""), ("304 Not Modified", [["ETag", "x"]], b"")])
def test_a_head_is_passed_as_it_is(host, status, fields, seen):
    answer, _ = host.execute("/fn/app/head",
                             json.dumps([status, fields]).encode())
    assert answer.status == int(status[:3]) and answer.body == seen
    for name, value in fields:
        assert answer.header(name) == value


def test_several_cookies_stay_several(host):
    answer, _ = host.execute("/fn/app/cookies")
    assert [v for k, v in answer.head if k == "Set-Cookie"] == [
        "a=1", "b=2; Path=/"]


def test_head_has_the_head_and_no_body(host):
    answer, _ = host.execute("/fn/app/cookies", method="HEAD")
    assert answer.status == 200 and answer.body == b""
    assert answer.header("Set-Cookie")
    endless, _ = host.execute("/fn/app/endless", method="HEAD")
    assert endless.is_complete and endless.body == b""


def facts(host, path="/fn/app/facts", **extra):
    answer, record = host.execute(path, **extra)
    return json.loads(answer.text), record


def test_a_module_finds_the_names_that_it_expects(host):
    found, _ = facts(host)
    assert found["name"] == "app"
    assert found["file"] == found["is_module"] == "/fn/app.wsgi"
    assert found["argv"] == ["/fn/app.wsgi"]
    assert found["path"][0] == "/fn"
    assert not [path for path in found["path"]
                if path.startswith(("/tmp", "/data"))]
    assert subprocess.run([found["executable"], "-c", "print(1)"], check=True,
                          stdout=subprocess.PIPE).stdout == b"1\n"


def test_the_request_is_in_environ_and_not_in_the_process(host):
    found, record = facts(host, "/fn/app/facts/%C3%BC?q=1", HTTP_X_OWN="seen",
                          HTTP_CONTENT_TYPE="twice", HTTPS="on",
                          DOCUMENT_URI="/fn/app/facts/ü")
    environ = found["environ"]
    assert environ["SCRIPT_NAME"] == "/fn/app"
    assert environ["PATH_INFO"] == "/facts/\u00c3\u00bc"  # latin-1 (PEP 3333)
    assert environ["QUERY_STRING"] == "q=1"
    assert environ["HTTP_X_OWN"] == "seen"
    assert environ["REQUEST_ID"] == record["request_id"]
    assert environ["wsgi.url_scheme"] == "https"
    assert "HTTP_CONTENT_TYPE" not in environ
    assert found["process"]["OWN_VARIABLE"] == "the function's"
    assert not {"HTTP_X_OWN", "QUERY_STRING", "REQUEST_ID",
                "FCGI_HOST_SPARE"} & set(found["process"])
    later, _ = facts(host)
    assert "HTTP_X_OWN" not in later["environ"]
    assert later["environ"]["wsgi.url_scheme"] == "http"


def test_two_instances_have_hashes_of_their_own(host):
    """Each is an exec of its own, with a seed of its own."""
    text = "seed = hash('a string')\ndef handler(request):\n    return str(seed)\n"
    host.add("seed-a.wsgi", text)
    host.add("seed-b.wsgi", text)
    seeds = {host.wait_served(f"/fn/seed-{which}").text for which in "ab"}
    assert len(seeds) == 2


def test_a_folder_s_lib_and_environment_are_on_its_path(host):
    packages = ".venv/lib/python%s/site-packages" % subprocess.run(
        ["/usr/bin/python3", "-c",
         "import sys; print('%d.%d' % sys.version_info[:2], end='')"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in ("lib/json.py", f"{packages}/json.py", "lib/first.py",
                 f"{packages}/second.py", "beside.py"):
        host.put(f"folder/{name}", f"text = {name!r}\n")
    host.put("folder/.venv/pyvenv.cfg",
             "home = /usr/bin\ninclude-system-site-packages = false\n")
    host.add("folder/main.wsgi", "import beside, first, second, json, sys\n"
             "def handler(request):\n"
             "    return [beside.text, first.text, second.text,\n"
             "            json.__file__, sys.path, sys.prefix]\n")
    found = json.loads(host.wait_served("/fn/folder").text)
    assert found[:3] == ["beside.py", "lib/first.py",
                         f"{packages}/second.py"]
    assert found[3].startswith("/usr/lib/")
    assert not [path for path in found[4] if "dist-packages" in path]
    assert found[5] == "/fn/.venv"
    assert not list((host.functions / "folder").rglob("__pycache__"))


def test_a_py_file_is_served_so_where_its_runtime_is_said(host):
    host.add("by-name.py", "def handler(request):\n    return __name__\n")
    assert host.wait_served("/fn/by-name").text == "by-name"


# ------------------------------------------------------------------ spares

SPARE = """
import random, sys
seen = {"loaded": "urllib.request" in sys.modules, "hash": hash("a string"),
        "random": random.random(), "place": id(sys), "version": %d}

def handler(request):
    return seen
"""


@pytest.fixture(scope="module")
def spares(start, place):
    """Whatever was used scales to zero at once, and a spare is booted."""
    return start.host({"cold.wsgi": SPARE % 1}, {
        "defaults": {"idle": "0", "instances": "1"}},
        runtimes=place.section("wsgi", spare=2, preload="urllib.request"))


def from_spare(host):
    """What the function saw in a spare that waited for it."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        answer, record = host.execute("/fn/cold")
        if record["start"] == "spare":
            return json.loads(answer.text)
    raise AssertionError("no spare was taken")


def test_a_spare_has_loaded_modules_and_seeds_of_its_own(spares):
    found = [from_spare(spares) for _ in range(3)]
    assert all(one["loaded"] for one in found)
    for what in ("hash", "random", "place"):
        assert len({one[what] for one in found}) == 3, (what, found)


def test_a_spare_reads_the_version_that_is_there_when_it_is_asked(spares):
    assert from_spare(spares)["version"] == 1
    spares.add("cold.wsgi", SPARE % 2)
    until = time.monotonic() + 30
    while from_spare(spares)["version"] != 2:
        assert time.monotonic() < until, "the old version goes on"


# ------------------------------------------------------- handler(request)

@pytest.mark.parametrize("form, kind, body", [
    ("text", "text/plain; charset=utf-8", "plain ü".encode()),
    ("bytes", "application/octet-stream", b"\x00\xff"),
    ("dict", "application/json", b'{"a": [1, null]}'),
    ("list", "application/json", b'["x", 2]'),
    ("stream", "application/octet-stream", b"text and bytes")])
def test_a_handler_returns_what_it_has(host, form, kind, body):
    answer, _ = host.execute(f"/fn/handle/{form}")
    assert (answer.status, answer.header("Content-Type"), answer.body) == (
        200, kind, body)


def test_a_handler_says_status_and_header(host):
    made, _ = host.execute("/fn/handle/tuple")
    assert (made.status, made.header("X-Made"), made.text) == (
        201, "yes", "made")
    phrase, _ = host.execute("/fn/handle/phrase")
    assert (phrase.status, phrase.header("Content-Type")) == (404, "text/html")
    pairs, _ = host.execute("/fn/handle/pairs")
    assert [v for k, v in pairs.head if k == "Set-Cookie"] == ["a=1", "b=2"]
    empty, _ = host.execute("/fn/handle/empty")
    assert (empty.status, empty.body) == (204, b"")


def test_a_handler_is_told_of_the_request(host):
    answer, _ = host.execute("/fn/handle/facts?a=1&b=%20&a=2", b"\xffbody",
                             CONTENT_TYPE="text/x-own", HTTP_X_OWN_FIELD="it")
    assert json.loads(answer.text) == {
        "method": "POST", "path": "/facts", "query": {"a": "1", "b": " "},
        "all": [["a", "1"], ["b", " "], ["a", "2"]], "type": "text/x-own",
        "own": "it", "missing": False, "body": "\xffbody", "environ": "POST",
        "names": ["content-length", "content-type", "x-own-field"]}


@pytest.mark.parametrize("body", [b"{", b"\xff", b"", pytest.param(
    b"[" * 100000, id="deep")])
def test_a_body_that_is_no_json_is_a_valueerror(host, body):
    answer, record = host.execute("/fn/handle/json", body)
    assert (answer.status, record["outcome"]) == (400, "ok"), answer


def test_a_handler_reads_json_forms_and_lines(host):
    found, _ = host.execute("/fn/handle/json", b'{"a": "\xc3\xbc"}')
    assert json.loads(found.text) == {"a": "ü"}
    form, _ = host.execute(
        "/fn/handle/form", b"name=a+b&empty=&name=c",
        CONTENT_TYPE="application/x-www-form-urlencoded; charset=utf-8")
    assert json.loads(form.text) == {"name": "a b", "empty": ""}
    lines, _ = host.execute("/fn/handle/lines", b"one\ntwo\n")
    assert lines.text == "<one><two>"


MULTIPART = (b'--b d\r\nContent-Disposition: form-data; name="a;b"\r\n\r\n\xc3\xbc\r\n'
             b'--b d\r\nContent-Type: image/x\r\ncontent-disposition: form-data; '
             b'name="file"; filename="x; y.png"\r\n\r\n\0\r\n--b\xff\r\n\r\n'
             b'--b d\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n'
             b'--b d--\r\n')


def test_a_handler_takes_an_upload(host):
    answer, _ = host.execute("/fn/handle/upload", MULTIPART,
                             CONTENT_TYPE='multipart/form-data; boundary="b d"')
    assert json.loads(answer.text) == {
        "a;b": "ü", "file": ["x; y.png", "image/x", "\0\r\n--b\xff\r\n"]}


@pytest.mark.parametrize("kind, body", [
    ("multipart/form-data", MULTIPART),
    ("multipart/form-data; boundary=", MULTIPART),
    ('multipart/form-data; boundary="b d"', MULTIPART[:-6]),
    ('multipart/form-data; boundary="b d"', MULTIPART.replace(b"name=", b"eman=")),
    ("multipart/form-data; boundary=x", MULTIPART),
    ("multipart/form-data; boundary=x", b"--x\r\n" * 10001 + b"--x--"),
    ("application/x-www-form-urlencoded", b"a&" * 10001), ("text/plain", b"a=1")])
def test_a_form_that_is_none_is_a_fault(host, kind, body):
    answer, record = host.execute("/fn/handle/upload", body, CONTENT_TYPE=kind)
    assert answer.status == 500
    host.wait_log(rf'{record["request_id"]}.*ValueError: ')


@pytest.mark.parametrize("form", ["none", "number", "short", "raise", "form"])
def test_a_handler_s_fault_is_500(host, form):
    answer, record = host.execute(f"/fn/handle/{form}")
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    host.wait_log(rf'{record["request_id"]}.*Error: ')


def test_the_runtime_is_built_and_installed_beside_the_others(installed):
    program = runtimes.python(installed)
    assert shutil.which(str(program)), program
