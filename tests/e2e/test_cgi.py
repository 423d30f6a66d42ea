"""CGI functions: kinds, meta-variables, answers good and bad, the environment."""
import time

import pytest

pytestmark = pytest.mark.any_user

HELLO = {
    "hello.sh": """printf 'Content-Type: text/plain\\n\\nshell %s' "$PATH_INFO"
""",
    "pyhello.py": """import os
print("Content-Type: text/plain\\n")
print("python", os.environ["PATH_INFO"], end="")
""",
    "plhello.pl": """print "Content-Type: text/plain\\n\\n";
print "perl $ENV{PATH_INFO}";
""",
    "bare": """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\nbare %s' "$PATH_INFO"
""",
    "script.cgi": """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\ncgi %s' "$PATH_INFO"
""",
    "site/app/main.sh": """cat ./part.txt 2>/dev/null || cat /fn/part.txt
""",
    "site/app/part.txt": "Content-Type: text/plain\n\nfolder part",
}


@pytest.fixture(scope="module")
def host(start, programs):
    functions = dict(HELLO)
    for name in ("swiss.cgi", "deep.cgi", "deep/er.cgi", "alice/tool.cgi",
                 "noexec.cgi", "withenv.cgi", "small.cgi"):
        functions[name] = programs.cgi
    host = start.host(functions, is_started=False)
    (host.functions / "noexec.cgi").chmod(0o644)
    host.sidecar("withenv", **{"env.GREETING": "good day",
                               "env.TERM": "dumb"})
    host.sidecar("small", body_max="10K", header_max="2K")
    return host.start()


@pytest.mark.parametrize("name,says", [
    ("hello", "shell"), ("pyhello", "python"), ("plhello", "perl"),
    ("bare", "bare"), ("script", "cgi")])
def test_every_kind_of_cgi_function_answers(host, name, says):
    answer, record = host.execute(f"/fn/{name}/a/b")
    assert (answer.status, answer.text) == (200, f"{says} /a/b")
    assert answer.header("Content-Type") == "text/plain"
    assert record["function"] == name
    assert record["tenant"] == "default"
    assert (record["outcome"], record["exit"]) == ("ok", 0)


def test_a_folder_with_main_is_one_function_and_reads_its_own_folder(host):
    answer, record = host.execute("/fn/site/app")
    assert (answer.status, answer.text) == (200, "folder part")
    assert record["function"] == "site/app"
    assert record["tenant"] == "site"


def test_the_first_folder_is_the_tenant(host):
    _, record = host.execute("/fn/alice/tool")
    assert (record["tenant"], record["function"]) == ("alice", "alice/tool")


def variables(answer):
    return dict(line.split("=", 1) for line in answer.text.splitlines()
                if "=" in line)


def test_the_meta_variables_of_rfc_3875_are_set(host):
    answer, _ = host.execute(
        "/fn/swiss/extra/path?head&environ", CONTENT_TYPE="text/x-test",
        REMOTE_ADDR="192.0.2.7", HTTP_X_SOMETHING="some thing",
        HTTPS="on", REQUEST_SCHEME="https")
    env = variables(answer)
    assert env["GATEWAY_INTERFACE"] == "CGI/1.1"
    assert env["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert env["SERVER_NAME"] == "localhost"
    assert env["SERVER_PORT"] == "80"
    assert env["REQUEST_METHOD"] == "GET"
    assert env["SCRIPT_NAME"] == "/fn/swiss"
    assert env["PATH_INFO"] == "/extra/path"
    assert env["QUERY_STRING"] == "head&environ"
    assert env["REMOTE_ADDR"] == "192.0.2.7"
    assert env["CONTENT_TYPE"] == "text/x-test"
    assert env["HTTP_X_SOMETHING"] == "some thing"
    assert (env["HTTPS"], env["REQUEST_SCHEME"]) == ("on", "https")
    assert env["REQUEST_URI"] == "/fn/swiss/extra/path?head&environ"


@pytest.mark.parametrize("url,script,info", [
    ("/fn/swiss", "/fn/swiss", ""),
    ("/fn/swiss/", "/fn/swiss", "/"),
    ("/fn/swiss/a%20b/c", "/fn/swiss", "/a b/c"),
    ("/fn/deep/other", "/fn/deep", "/other"),
    ("/fn/deep/er", "/fn/deep/er", ""),
    ("/fn/deep/er/x", "/fn/deep/er", "/x"),
    ("/fn/deep/erratic", "/fn/deep", "/erratic"),
    ("/fn/site/app/x", None, None)])
# W32
def test_the_longest_name_wins_and_the_url_is_split_there(host, url, script,
                                                          info):
    path = url.replace("%20", " ")
    answer, record = host.execute(
        f"{url}?head&env=SCRIPT_NAME&env=PATH_INFO", DOCUMENT_URI=path,
        SCRIPT_NAME=path)
    assert answer.status == 200
    if script is None:
        assert record["function"] == "site/app"
        return
    assert record["function"] == script.removeprefix("/fn/")
    env = variables(answer)
    assert env["SCRIPT_NAME"] == script
    assert env["PATH_INFO"] in (info, "(unset)" if not info else info)


def test_a_location_may_name_the_function_and_its_prefix(host):
    answer, record = host.execute(
        "/shop/cart/7?head&env=SCRIPT_NAME&env=PATH_INFO",
        FCGI_HOST_FUNCTION="alice/tool", FCGI_HOST_PREFIX="/shop")
    assert record["function"] == "alice/tool"
    env = variables(answer)
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/shop", "/cart/7")


@pytest.mark.parametrize("url", ["/fn/nobody", "/elsewhere", "/fn", "/",
                                 "/fnord/swiss",
                                 "/fn/swiss.cgi", "/fn/SWISS", "/fn/noexec"])
def test_what_is_no_function_is_404_with_a_sentence(host, url):
    answer = host.fetch(url)
    assert answer.is_complete
    assert answer.status == 404
    assert answer.header("Content-Type").startswith("text/plain")
    assert len(answer.text.strip()) > 10


@pytest.mark.parametrize("url", ["/fn/../etc/passwd", "/fn/swiss%00/x",
                                 "/fn/%2e%2e/swiss", "/fn//swiss", "fn/swiss"])
def test_an_odd_path_runs_nothing_outside(host, url):
    answer = host.fetch(url, DOCUMENT_URI="")
    assert answer.is_complete
    assert answer.status in (400, 404), answer


def test_a_file_that_is_not_executable_says_so_in_the_list(host):
    listing = host.verb("list").stdout
    line = next(text for text in listing.splitlines() if "noexec" in text)
    assert "execut" in line or "mode" in line, line


# W13
# W22
def test_an_exit_code_after_a_whole_answer_is_recorded_not_shown(host):
    answer, record = host.execute("/fn/swiss?head&raw=all+of+it&exit=3")
    assert (answer.status, answer.text) == (200, "all of it")
    assert answer.is_complete
    # FastCGI 1.0 section 5.5: of a CGI program, its exit code
    assert (answer.app_status, answer.protocol_status) == (3, 0)
    assert (record["outcome"], record["exit"]) == ("error", 3)
    assert (record["status"], record["signal"]) == (200, None)


@pytest.mark.parametrize("query,outcome,code,signal", [
    ("exit=0", "error", 0, None), ("exit=4", "error", 4, None),
    ("raw=Content-Type:+text/plain%0a&exit=0", "error", 0, None),
    ("kill=11", "crash", None, 11), ("kill=9", "crash", None, 9),
    ("raw=Content-Type:+t&kill=6", "crash", None, 6)])
# W21
def test_an_end_before_the_header_is_502_with_its_cause(host, query, outcome,
                                                        code, signal):
    answer, record = host.execute(f"/fn/swiss?{query}")
    assert (answer.is_complete, answer.status) == (True, 502)
    assert (record["outcome"], record["status"]) == (outcome, 502)
    assert (record["exit"], record["signal"]) == (code, signal)


BAD_HEADS = {
    "no colon": "raw=Hello+there%0a%0a",
    "no CGI field": "raw=X-Other:+1%0a%0abody",
    "Content-Type twice":
        "raw=Content-Type:+a/b%0aContent-Type:+c/d%0a%0a",
    "Status twice": "raw=Status:+200%0aStatus:+201%0aContent-Type:+a/b%0a%0a",
    "Content-Length twice":
        "raw=Content-Type:+a/b%0aContent-Length:+1"
        "%0aContent-Length:+1%0a%0ax",
    "status of two digits": "raw=Status:+20%0aContent-Type:+a/b%0a%0a",
    "status of letters": "raw=Status:+abc%0aContent-Type:+a/b%0a%0a",
    "blank in a name": "raw=Content-Type:+a/b%0aBad+Name:+x%0a%0a",
    "control byte in a value": "raw=Content-Type:+a/b%0aX:+a%01b%0a%0a",
    "bare CR in a value": "raw=Content-Type:+a/b%0aX:+a%0dSet-Cookie:+b%0a%0a",
    "leading blank": "raw=+Content-Type:+a/b%0a%0a",
    "length is no number":
        "raw=Content-Type:+a/b%0aContent-Length:+many%0a%0a",
    "empty name": "raw=Content-Type:+a/b%0a:+x%0a%0a",
}


@pytest.mark.parametrize("what", BAD_HEADS)
# W19
def test_a_bad_head_is_502_and_the_record_says_so(host, what):
    answer, record = host.execute(f"/fn/swiss?{BAD_HEADS[what]}&raw=secret")
    assert (answer.is_complete, answer.status) == (True, 502)
    assert "secret" not in answer.text
    assert (record["outcome"], record["status"]) == ("error", 502)
    assert record["reason"], "the record does not say why"


# W23
def test_a_header_that_is_too_long_is_502(host):
    answer, record = host.execute("/fn/small?raw=X:+&out=3000&raw=%0a"
                                  "&head&raw=x")
    assert (answer.status, record["status"]) == (502, 502)
    answer, _ = host.execute("/fn/small?raw=X:+&out=1000&raw=%0a&head&raw=x")
    assert (answer.status, answer.text) == (200, "x")


# W20
def test_status_and_location_mean_what_rfc_3875_says(host):
    answer, record = host.execute(
        "/fn/swiss?field=Status:+418+Teapot&field=Content-Type:+a/b&end")
    assert (answer.status, record["status"]) == (418, 418)
    assert record["outcome"] == "ok"
    answer, record = host.execute(
        "/fn/swiss?field=Location:+http://example.org/x&end")
    assert (answer.status, record["status"]) == (302, 302)
    assert answer.header("Location") == "http://example.org/x"
    answer, record = host.execute(
        "/fn/swiss?field=Status:+301&field=Location:+http://e.org/&end")
    assert (answer.status, record["status"]) == (301, 301)


# W20
def test_a_first_line_of_http_is_translated(host):
    answer, record = host.execute(
        "/fn/swiss?raw=HTTP/1.1+404+Gone+Fishing%0d%0a"
        "Content-Type:+text/plain%0d%0a%0d%0a&raw=nph")
    assert (answer.status, answer.text) == (404, "nph")
    assert record["status"] == 404
    assert b"HTTP/1.1" not in answer.stdout


# W24
def test_stderr_before_the_header_does_not_break_the_answer(host):
    answer, record = host.execute("/fn/swiss?err=warning:+odd&head&raw=fine")
    assert (answer.status, answer.text) == (200, "fine")
    assert answer.stderr == b""
    assert record["outcome"] == "ok"
    host.wait_log(r"warning: odd|warning:\\x20odd")


# W30
def test_nothing_of_the_daemons_environment_reaches_a_function(host):
    answer, _ = host.execute("/fn/swiss?head&environ")
    text = answer.text
    for name in ("FH_TEST_MARKER", "NOTIFY_SOCKET", "FCGI_HOST_LIBEXEC",
                 "ASAN_OPTIONS", "LISTEN_FDS"):
        assert name not in text, text


# W28
def test_dangerous_params_never_become_environment(host):
    bad = {"HTTP_PROXY": "http://evil", "LD_PRELOAD": "/tmp/evil.so",
           "LD_LIBRARY_PATH": "/tmp", "PHP_VALUE": "x=1",
           "PHP_ADMIN_VALUE": "x=2", "BASH_ENV": "/tmp/e", "IFS": "x",
           "PYTHONPATH": "/tmp", "FCGI_HOST_SECRET": "x",
           "GLIBC_TUNABLES": "x=1", "PERL5OPT": "-Mevil"}
    answer, _ = host.execute("/fn/swiss?head&environ", **bad,
                             PATH="/evil/bin")
    env = variables(answer)
    assert not set(bad) & set(env), set(bad) & set(env)
    assert "/evil" not in env.get("PATH", "")


def test_a_sidecars_env_reaches_the_function(host):
    answer, _ = host.execute("/fn/withenv?head&env=GREETING")
    assert answer.text == "GREETING=good day\n"


def test_the_request_id_reaches_function_and_record(host):
    answer = host.fetch("/fn/swiss?head&env=REQUEST_ID", REQUEST_ID="my-id-1")
    assert answer.text == "REQUEST_ID=my-id-1\n"
    host.books.wait_request("my-id-1")
    answer = host.fetch("/fn/swiss?head&env=REQUEST_ID",
                        HTTP_X_REQUEST_ID="my-id-2")
    assert answer.text == "REQUEST_ID=my-id-2\n"
    host.books.wait_request("my-id-2")
    answer = host.fetch("/fn/swiss?head&env=REQUEST_ID")
    made = variables(answer)["REQUEST_ID"]
    assert len(made) >= 8 and made != "(unset)"
    host.books.wait_request(made)


def test_the_body_arrives_whole_with_its_length(host):
    body = bytes(range(256)) * 400
    answer, record = host.execute("/fn/swiss?head&env=CONTENT_LENGTH&echo",
                                  body)
    assert answer.body == b"CONTENT_LENGTH=%d\n" % len(body) + body
    assert record["bytes_in"] == len(body)
    assert record["method"] == "POST"


# W33
def test_a_body_without_a_length_gets_one(host):
    body = b"spooled" * 1000
    answer, record = host.execute("/fn/swiss?head&env=CONTENT_LENGTH&echo",
                                  body, CONTENT_LENGTH="")
    assert answer.body == b"CONTENT_LENGTH=%d\n" % len(body) + body
    assert record["bytes_in"] == len(body)


def test_a_body_above_the_bound_is_413(host):
    answer, record = host.execute("/fn/small?head&sum", b"x" * 20000)
    assert (answer.is_complete, answer.status) == (True, 413)
    assert (record["outcome"], record["status"]) == ("refused", 413)
    answer, record = host.execute("/fn/small?head&sum", b"x" * 20000,
                                  CONTENT_LENGTH="")
    assert (answer.status, record["status"]) == (413, 413)
    answer, _ = host.execute("/fn/small?head&sum", b"x" * 10240)
    assert answer.text.startswith("length=10240 ")


def test_a_program_that_reads_no_body_still_answers(host):
    answer, record = host.execute("/fn/swiss?head&raw=deaf", b"x" * 300000)
    assert (answer.status, answer.text) == (200, "deaf")
    assert record["outcome"] == "ok"


def test_a_fresh_process_runs_in_a_warm_sandbox(host):
    first, one = host.execute("/fn/deep/er?head&self&keep=mark&seen=mark")
    second, two = host.execute("/fn/deep/er?head&self&seen=mark")
    assert one["instance"] == two["instance"]
    assert (two["start"], two["cold"]) == ("warm", False)
    assert first.text.endswith("kept\nseen=yes\n")
    assert second.text.endswith("served=1\nseen=no\n"), \
        "/tmp was not emptied between executions"


# W27
def test_what_a_program_left_behind_is_gone_before_the_next(host):
    started = time.monotonic()
    answer, record = host.execute("/fn/swiss?head&orphan=20000&raw=done")
    assert (answer.text, record["outcome"]) == ("done", "ok")
    assert time.monotonic() - started < 15, \
        "a child that holds stdout kept the answer open"
    script = ("import os; print('Content-Type: text/plain\\n'); "
              "print([p for p in os.listdir('/proc') if p.isdigit()])")
    host.add("procs.py", script)
    answer = host.wait_served("/fn/procs")
    assert len(answer.text.split(",")) <= 3, answer.text


def test_data_belongs_to_the_tenant_and_outlives_instances(host):
    answer, _ = host.execute("/fn/alice/tool?head&data=shared")
    assert answer.text == "data=ok\n"
    host.add("alice/reader.sh",
             "printf 'Content-Type: text/plain\\n\\n'; cat /data/shared\n")
    assert host.wait_served("/fn/alice/reader").text == "line\n"
    host.add("peek.sh", "printf 'Content-Type: text/plain\\n\\n'; "
                        "cat /data/shared 2>&1\n")
    assert "line\n" not in host.wait_served("/fn/peek").text
