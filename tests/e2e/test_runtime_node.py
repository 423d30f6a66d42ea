"""Functions in JavaScript: fetch handlers and (req, res), in a host."""
import json
import os
import subprocess
import time

import pytest

from lib import fcgi, host as host_room, programs, runtimes, web

SOURCES = programs.HERE / "runtime"
# What a function of each shape exports; all say "shape".
SHAPES = {
    "object.mjs": "export default { fetch() { return new Response('shape') } }",
    "one.mjs": "export default async (request) => new Response('shape')",
    "two.mjs": "export default (req, res) => { res.end('shape') }",
    "app.mjs": "export default function (req, res, next) { res.end('shape') }",
    "object.cjs": "exports.fetch = () => new Response('shape')",
    "one.cjs": "module.exports = async (request) => new Response('shape')",
    "two.cjs": "module.exports = (req, res) => { res.end('shape') }",
    "made.cjs": "exports.__esModule = true\n"
                "exports.default = { fetch: () => new Response('shape') }",
    "this.mjs": "class A { word = 'shape'; fetch() "
                "{ return new Response(this.word) } }\nexport default new A()",
    "wait.mjs": "const word = await Promise.resolve('shape')\n"
                "export default { fetch: () => new Response(word) }",
    "old.js": "module.exports = (req, res) => { res.end('shape') }",
    "new.js": "export default { fetch: () => new Response('shape') }",
}
FOLDER = {
    "package.json": '{"type": "module"}',
    "main.js": "import { word } from './words.js'\nimport own from 'own'\n"
               "export default { fetch: () => new Response(own(word)) }",
    "words.js": "export const word = 'folder'",
    "node_modules/own/package.json": '{"main": "own.js"}',
    "node_modules/own/own.js": "module.exports = (word) => `own ${word}`",
}
EXPRESS = """
const express = require('express')
const app = express()
app.use(express.json())
app.get('/', (req, res) => res.send('home'))
app.get('/users/:id', (req, res) => res.json({
    id: req.params.id, q: req.query.q, base: req.baseUrl,
    original: req.originalUrl, ip: req.ip, protocol: req.protocol }))
app.post('/sum', (req, res) => res.status(201).json(
    req.body.numbers.reduce((a, b) => a + b)))
app.get('/fail', () => { throw new Error('words for the log alone') })
app.get('/file', (req, res) => res.sendFile('/fn/words.txt'))
app.get('/away', (req, res) => res.redirect('/elsewhere'))
module.exports = app
"""


def folder_of(name):
    return name.rsplit(".", maxsplit=1)[1]


@pytest.fixture(scope="module")
def host(start, place):
    host = start.host({
        "fetch.mjs": SOURCES / "fetch.mjs", "plain.js": SOURCES / "plain.js",
        **{f"{folder_of(name)}/{name}": text for name, text in SHAPES.items()},
        **{f"folder/{name}": text for name, text in FOLDER.items()},
        "express/main.js": EXPRESS, "express/words.txt": "from a file\n",
    }, {"defaults": {"instances": "1", "env.greeting": "good day"}},
        text=place.section("node"), is_started=False)
    return host.start()


@pytest.fixture(scope="module")
def nginx(start, host):
    return start.nginx(host)


def facts(host, url, **params):
    answer = host.fetch(url, **params)
    assert answer.status == 200, (answer, host.log()[-2000:])
    return json.loads(answer.text)


def failed(host, url, words):
    """A request that is answered with a constant, its trace in the log."""
    answer, record = host.execute(url)
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    assert words.encode() not in answer.stdout
    assert (record["outcome"], record["exit"]) == ("error", 1)
    host.wait_log(f"{record['request_id']}.*{words}")
    return record


# ------------------------------------------------------------------- shapes

@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_of_a_handler_is_served(host, name):
    answer = host.fetch(f"/fn/{folder_of(name)}/{name.split('.')[0]}")
    assert (answer.status, answer.text) == (200, "shape"), host.log()[-2000:]


def test_a_folder_has_its_own_modules_and_its_package_json(host):
    answer = host.fetch("/fn/folder")
    assert (answer.status, answer.text) == (200, "own folder"), \
        host.log()[-2000:]


def test_a_fetch_handler_has_the_whole_url_and_the_params(host):
    said = facts(host, "/fn/fetch/facts?q=%C3%A4", HTTP_HOST="a.example",
                 HTTP_X_ONE="1", REQUEST_ID="an-id")
    assert said["url"] == "http://a.example/fn/fetch/facts?q=%C3%A4"
    assert (said["method"], said["header"]) == ("GET", "1")
    assert (said["id"], said["path"]) == ("an-id", "/facts")
    assert (said["greeting"], said["argv"]) == ("good day", 2)
    said = facts(host, "/fn/fetch/facts", HTTPS="on", HTTP_HOST="a.example:1")
    assert said["url"] == "https://a.example:1/fn/fetch/facts"


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_a_header_called_status_is_no_status(host, name):
    answer, record = host.execute(f"/fn/{name}/status")
    assert (answer.status, answer.text) == (201, "made"), host.log()[-2000:]
    assert (answer.header("X-Other"), record["outcome"]) == ("too", "ok")


@pytest.mark.parametrize("name", [
    "a/fn/fetch/b?", "a\\fn\\fetch\\b?", "a?", "a#", "a@b", "a b", "a\tb", "[::1"])
def test_no_host_says_where_the_path_begins(host, nginx, name):
    answer = host.fetch("/fn/fetch/facts", HTTP_HOST=name)
    assert (answer.status, answer.text) == (400, "Bad Request\n")
    with web.Client(nginx.plain) as client:
        client.send(f"GET /fn/fetch/facts HTTP/1.1\r\nHost: {name}\r\n"
                    "Connection: close\r\n\r\n".encode())
        assert client.read().status == 400


@pytest.mark.parametrize("path, seen", [
    ("guarded/../facts", "facts"), ("guarded/..%2ffacts", "facts"),
    ("guarded/%2e%2e/facts?a=b", "facts?a=b"),
    ("guarded/x//../../facts", "facts"), ("/facts", "facts"),
    ("./facts", "facts"), ("a%2Fb/facts", "a%2Fb/facts"),
    (".a/%C3%A4.b/facts?//", ".a/%C3%A4.b/facts?//")])
def test_a_path_is_resolved_as_the_web_server_does(host, nginx, path, seen):
    said = web.get(nginx.plain, f"/fn/fetch/{path}")
    assert json.loads(said.text)["url"] == f"http://localhost/fn/fetch/{seen}"
    if seen == "facts":
        said = json.loads(web.get(nginx.plain, f"/fn/plain/{path}").text)
        assert (said["url"], said["original"]) == ("/facts", "/fn/plain/facts")


def test_no_path_is_another_to_the_function_than_to_the_web_server(host, nginx):
    reply = web.get(nginx.plain, "/fn/fetch/x\\..\\y/facts")
    assert json.loads(reply.text)["url"] == \
        "http://localhost/fn/fetch/x%5C..%5Cy/facts"
    for route in ("plain", "%70lain"):
        assert web.get(nginx.plain, f"/fn/{route}/facts").status == 200
        assert web.get(nginx.plain, f"/fn/{route}/facts%3Fx").status == 500


def test_a_content_type_may_be_of_any_bytes(host):
    answer = host.fetch("/fn/fetch/echo", b"x", CONTENT_TYPE=b"a/\xff\xfe")
    assert (answer.status, answer.body) == (200, b"x"), host.log()[-2000:]
    assert answer.header("Content-Type") == "a/\xff\xfe"


@pytest.mark.parametrize("name", ["a.example", "a.example:8080", "[::1]:80"])
def test_a_host_is_that_of_the_url(host, name):
    assert facts(host, "/fn/fetch/facts", HTTP_HOST=name, HTTPS="on")["url"] == \
        f"https://{name}/fn/fetch/facts"


def test_a_req_is_mounted_at_the_functions_route(host):
    said = facts(host, "/fn/plain/facts?q=%C3%A4", HTTP_X_ONE="1", HTTPS="on",
                 REQUEST_ID="an-id")
    assert said == {
        "method": "GET", "url": "/facts?q=%C3%A4", "base": "/fn/plain",
        "original": "/fn/plain/facts?q=%C3%A4", "header": "1", "raw": True,
        "version": "1.1", "ip": "127.0.0.1", "secure": True, "id": "an-id"}


def test_what_is_no_request_is_400_and_not_the_functions(host):
    answer, record = host.execute("/fn/fetch/facts", HTTP_HOST="a b c")
    assert (answer.status, record["exit"]) == (400, 0)


# ------------------------------------------------------------------ answers

@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_several_cookies_stay_several(host, name):
    answer = host.fetch(f"/fn/{name}/cookies")
    assert [value for key, value in answer.head
            if key.lower() == "set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_head_has_the_head_and_no_body(host, nginx, name):
    for method, body in (("HEAD", b""), ("GET", b"twelve bytes")):
        reply = web.get(nginx.plain, f"/fn/{name}/length", method)
        assert (reply.status, reply.body) == (200, body)
        assert reply.header("Content-Length") == "12"


def test_a_status_and_a_redirect_are_as_the_function_says(host):
    assert host.fetch("/fn/fetch/teapot").status == 418
    answer = host.fetch("/fn/fetch/moved", HTTP_HOST="a.example")
    assert answer.status == 303
    assert answer.header("Location") == "http://a.example/fn/fetch/facts"


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_a_megabyte_of_anything_goes_there_and_back(host, nginx, name):
    data = os.urandom(1 << 20)
    answer = host.fetch(f"/fn/{name}/echo", data, CONTENT_TYPE="x/y")
    assert (answer.status, answer.header("Content-Type")) == (200, "x/y")
    assert answer.body == data and answer.is_complete
    reply = web.get(nginx.stream, f"/fn/{name}/echo", "POST",
                    [("Content-Type", "x/y")], data)
    assert reply.body == data and reply.is_whole


def test_a_body_that_nobody_reads_is_no_harm(host):
    data = os.urandom(1 << 20)
    for _ in range(3):
        assert host.fetch("/fn/fetch/facts", data).status == 200
    assert host.fetch("/fn/fetch/size", data).text == str(len(data))


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_an_event_reaches_the_client_before_the_function_ends(host, nginx,
                                                             name):
    with web.Client(nginx.stream) as client:
        client.ask(f"/fn/{name}/events")
        first = b"data: first\n\n"
        while first not in client.pending:
            assert client._more(), "the answer ended"
        (host.state / f"data/default/{name}-goes-on").touch()
        assert client.read().body == first + b"data: more\n\n"


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_a_piece_of_the_body_reaches_the_function_before_the_rest_is_there(
        host, name):
    with host.connect() as connection:
        request_id = host_room.new_id()
        connection.send(fcgi.begin() + fcgi.stream(
            fcgi.PARAMS, 1, fcgi.pairs(fcgi.request_params(
                f"/fn/{name}/pieces", "POST", 6, REQUEST_ID=request_id))))
        connection.send(fcgi.record(fcgi.STDIN, 1, b"one"))
        host.wait_log(f"{request_id}.*piece one")
        connection.send(fcgi.stream(fcgi.STDIN, 1, b"two"))
        assert connection.read_answer().text == "onetwo"
        host.wait_log(f"{request_id}.*piece two")


def test_an_execution_ends_when_what_it_waits_for_has_ended(host):
    answer, record = host.execute("/fn/fetch/later")
    assert (answer.status, answer.text) == (200, "answered")
    assert record["outcome"] == "ok"
    for words in ("waited until the end", "in waitUntil"):
        host.wait_log(f"{record['request_id']}.*{words}")


# ------------------------------------------------------------------- errors

@pytest.mark.parametrize("url", ["fetch/throw", "plain/throw", "plain/reject"])
def test_an_exception_is_500_and_its_trace_in_the_log_alone(host, url):
    one = failed(host, f"/fn/{url}", "words for the log alone")
    again = failed(host, f"/fn/{url}", "words for the log alone")
    assert one["instance"] == again["instance"], "the program ended"


@pytest.mark.parametrize("url,words", [
    ("fetch/uncaught", "nobody catches me"), ("plain/later", "nobody catches me"),
    ("fetch/unhandled", "nobody awaits me")])
def test_what_nobody_catches_is_500_and_the_programs_end(host, url, words):
    one = failed(host, f"/fn/{url}", words)
    name = url.split("/")[0]
    answer, again = host.execute(f"/fn/{name}/facts")
    assert answer.status == 200
    assert one["instance"] != again["instance"], "the program goes on"


@pytest.mark.parametrize("url,words", [
    ("fetch/bad", "a line break"), ("plain/bad", "ERR_INVALID_CHAR"),
    ("fetch/nothing", "no Response")])
def test_an_answer_that_is_none_is_500(host, url, words):
    failed(host, f"/fn/{url}", words)


@pytest.mark.parametrize("name", ["fetch", "plain"])
def test_an_answer_that_fails_in_the_middle_never_looks_whole(host, nginx,
                                                             name):
    answer = host.fetch(f"/fn/{name}/cut")
    assert answer.body == b"begun" and not answer.is_complete
    assert not web.get(nginx.stream, f"/fn/{name}/cut").is_whole
    answer = host.fetch(f"/fn/{name}/facts")
    assert answer.status == 200


@pytest.mark.parametrize("name,text,words", [
    ("broken.mjs", "export default {\n  fetch() {\n    return new ;\n  } }",
     r"/fn/broken\.mjs:3: SyntaxError: Unexpected token"),
    ("torn.cjs", "\nmodule.exports = (req, res) => {\n",
     r"/fn/torn\.cjs:\d: SyntaxError: "),
    ("odd.js", "\n\nexport default fetch() {",
     r"/fn/odd\.js:3: SyntaxError: "),
    ("thrown.mjs", "throw new Error('at its load')", "at its load"),
    ("mute.mjs", "export const a = 1", "has no handler"),
    ("lost.mjs", "import './nowhere.mjs'", "nowhere.mjs"),
])
def test_a_function_that_cannot_be_loaded_says_why_and_is_tried_anew(
        host, name, text, words):
    stem = name.split(".")[0]
    host.add(name, text)
    answer = host.wait_served(f"/fn/{stem}", status=500)
    assert answer.text == "Internal Server Error\n"
    host.wait_log(words)
    host.add(name, SHAPES["two.cjs" if name.endswith(".cjs") else
                          "object.mjs"])
    assert host.wait_served(f"/fn/{stem}").text == "shape"


# ---------------------------------------------------------------- the rest

def test_what_is_printed_is_in_the_log_with_the_requests_id(host):
    answer, record = host.execute("/fn/fetch/print")
    assert answer.text == "ok"
    for words in ("printed 1", "printed to stderr", "written",
                  "to descriptor 1"):
        host.wait_log(f"{record['request_id']}.*{words}")


def test_a_warm_program_serves_again_and_again(host):
    first = facts(host, "/fn/fetch/facts")
    for lap in range(1, 20):
        said = facts(host, "/fn/fetch/facts")
        assert (said["pid"], said["served"]) == (first["pid"],
                                                 first["served"] + lap)
        data = os.urandom(1000)
        assert host.fetch("/fn/fetch/echo", data).body == data


def test_a_program_that_leaves_garbage_stays_within_its_memory(host):
    pids = set()
    with host.connect() as connection:
        for _ in range(1500):
            connection.send(fcgi.request_bytes("/fn/fetch/garbage",
                                               flags=fcgi.KEEP_CONN))
            answer = connection.read_answer()
            assert answer.status == 200, (answer, host.log()[-2000:])
            pids.add(answer.text)
    assert len(pids) == 1, "it ended in between"


@pytest.mark.parametrize("own,limit", [("", 48), ("--max-old-space-size=70", 70),
                                       ("--max_old_space_size=70", 70)])
def test_v8_knows_of_the_memory_that_the_function_has(start, place, own, limit):
    host = start.host({"heap.mjs": "import v8 from 'node:v8'\n"
                       "export default () => Response.json(["
                       "v8.getHeapStatistics().heap_size_limit >> 20,"
                       "v8.cachedDataVersionTag()])"},
                      {"function heap": {"env.node_options": own}},
                      text=place.section("node"))
    said, tag = json.loads(host.fetch("/fn/heap").text)
    # and three of the spaces for what is young
    assert said in range(limit, limit + 8)
    # what node has compiled of itself is good for it, as for a bare node
    assert tag == int(subprocess.run(
        ["/usr/bin/node", "-p", "v8.cachedDataVersionTag()"],
        stdout=subprocess.PIPE, check=True, env={}).stdout)


def test_a_new_version_by_rename_is_served(host):
    for word in ("one", "two"):
        host.add("version.mjs", "export default { fetch: () => "
                                f"new Response('{word}') }}")
        host.wait_served("/fn/version")
        for _ in range(200):
            if host.fetch("/fn/version").text == word:
                break
        assert host.fetch("/fn/version").text == word


@pytest.mark.parametrize("name,words", [("fetch", "pull 5"), ("plain", "full ")])
def test_a_client_that_does_not_read_holds_the_function_back(host, nginx, name,
                                                            words):
    with web.Client(nginx.stream) as client:
        client.ask(f"/fn/{name}/flood")
        host.wait_log(f"function={name} .*{words}")
        reply = client.read()
    assert reply.is_whole and len(reply.body) == 64 << 20
    record = host.books.executions()[-1]
    assert record["mem_peak_kib"] < 100 << 10


# W12
@pytest.mark.parametrize("name", ["fetch", "plain"])
@pytest.mark.parametrize("how", ["abort", "close", "nginx"])
def test_a_function_is_told_that_its_client_is_gone_and_serves_the_next(
        host, nginx, name, how):
    _, before = host.execute(f"/fn/{name}/facts")
    request_id = host_room.new_id()
    with (web.Client(nginx.stream) if how == "nginx" else host.connect()
          ) as client:
        if how == "nginx":
            client.ask(f"/fn/{name}/hang?{request_id}")
            request_id = host.wait_log(rf"request=(\w+) .*hangs {request_id}")[1]
        else:
            client.send(fcgi.request_bytes(f"/fn/{name}/hang?{request_id}",
                                           flags=fcgi.KEEP_CONN,
                                           REQUEST_ID=request_id))
            host.wait_log(f"hangs {request_id}")
        if how == "abort":
            client.send(fcgi.record(fcgi.ABORT, 1))
            assert client.read_answer().is_complete
    record = host.books.wait_request(request_id)
    assert (record["outcome"], record["instance"]) == ("aborted",
                                                       before["instance"])
    said = "aborted: AbortError" if name == "fetch" else "req: ECONNRESET"
    host.wait_log(f"{request_id}.*{said}")
    _, after = host.execute(f"/fn/{name}/facts")
    assert after["instance"] == before["instance"], "it was killed"


def test_a_spare_serves_the_first_request_behind_a_rest(start_once, place):
    host = start_once.host(
        {"f.mjs": SOURCES / "fetch.mjs"},
        {"defaults": {"idle": "150ms", "instances": "1"}},
        text=place.section("node", spare=1,
                           preload="node:zlib node:crypto"))
    _, first = host.execute("/fn/f/facts")
    until = time.monotonic() + 30
    while [i["state"] for i in json.loads(host.verb(
            "status", "--json").stdout)["instances"]] != ["spare"]:
        assert time.monotonic() < until, host.log()[-2000:]
        time.sleep(0.05)
    answer, second = host.execute("/fn/f/facts")
    assert (first["start"], second["start"]) == ("fresh", "spare")
    assert json.loads(answer.text)["hidden"] == [], "the function sees it"


# ----------------------------------------------------------------- express

def test_an_express_app_is_a_function(host):
    url = "/fn/express"
    assert host.fetch(url).text == "home", host.log()[-2000:]
    said = facts(host, f"{url}/users/7?q=a", HTTP_HOST="a.example")
    assert said == {"id": "7", "q": "a", "base": url, "protocol": "http",
                    "original": f"{url}/users/7?q=a", "ip": "127.0.0.1"}
    answer = host.fetch(f"{url}/sum", b'{"numbers": [1, 2, 3]}',
                        CONTENT_TYPE="application/json")
    assert (answer.status, answer.text) == (201, "6")
    answer = host.fetch(f"{url}/file")
    assert (answer.status, answer.text) == (200, "from a file\n")
    answer = host.fetch(f"{url}/away")
    assert (answer.status, answer.header("Location")) == (302, "/elsewhere")
    assert host.fetch(f"{url}/users").status == 404


def test_an_express_app_s_error_is_express_s_to_answer(host):
    answer, record = host.execute("/fn/express/fail")
    assert answer.status == 500
    host.wait_log(f"{record['request_id']}.*words for the log alone")
