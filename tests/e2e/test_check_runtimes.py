"""The runtimes of the sample configuration: an error of syntax stands in the list
before any request, and a .py is a handler or a script without a word about it."""
import json
import re
import time

import pytest

# file: (text, the line of its error, what the checker says of it)
BAD = {
    "bad.sh": ("#!/bin/sh\necho\nif true; then\n", 4, "yntax error"),
    "bad.py": ("import os\ndef handler(request:\n    pass\n", 2, "was never closed|invalid syntax"),
    "bad.wsgi": ("x = 1\nreturn\n", 2, "outside function"),
    "bad.pl": ("use strict;\nmy $x = ;\n", 2, "syntax error"),
    "bad.mjs": ("export default {\n  async fetch( {\n};\n", 3, "SyntaxError"),
    "bad.cjs": ("const a = 1;\nconst a = 2;\n", 2, "SyntaxError"),
    "bad.lua": ("print(1)\nif then\n", 2, "unexpected symbol"),
    "bad.php": ("<?php\necho 1;\nfunction (;\n", 3, "syntax error"),
    "bad.psgi": ("use strict;\nsub { my ($env) = ; }\n", 2, "syntax error"),
    "bad.ru": ("run ->(env) {\n  [200,\n}\n", 3, "syntax error|unexpected"),
}
GOOD = {
    "good.sh": "#!/bin/sh\necho\n", "good.pl": "use strict;\nprint 1;\n",
    "good.mjs": "export default () => new Response('x');\n",
    "good.cjs": "module.exports = () => new Response('x');\n",
    "good.lua": "print(1)\n", "good.php": "<?php\necho 1;\n",
    "good.psgi": "sub { [200, [], ['x']] };\n",
    "good.ru": "run ->(env) { [200, {}, ['x']] }\n",
    "good.wsgi": "def application(environ, start_response): pass\n",
}
HANDLER = """
def handler(request):
    return "handled"
"""
SCRIPT = """
import os
print("Content-Type: text/plain\\n")
print("script of", os.environ["GATEWAY_INTERFACE"], __name__)
"""
# Neither is to be seen in the tree; its owner says what it is.
HIDDEN = """
def answer(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hidden"]

globals()["application"] = answer
"""


@pytest.fixture(scope="module")
def host(start, place):
    made = start.host({}, {"defaults": {"timeout": "20s"}}, is_started=False,
                      runtimes=place.all())
    for name, (text, *_) in BAD.items():
        made.put("alice/" + name.replace(".", "-") + "." + name.split(".")[1], text)
    for name, text in GOOD.items():
        made.put("alice/" + name.replace(".", "-") + "." + name.split(".")[1], text)
    return made.start()


def listed(host):
    done = host.verb("list", "--json")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return {f["function"]: f for f in map(json.loads,
                                          done.stdout.splitlines())}


def wait_checked(host, *names, timeout=60):
    end = time.monotonic() + timeout
    while True:
        lines = listed(host)
        if all(lines[name]["check"] not in (None, "pending") for name in names):
            return [lines[name] for name in names]
        assert time.monotonic() < end, (lines, host.log()[-3000:])
        time.sleep(0.1)


@pytest.mark.parametrize("name", BAD)
def test_an_error_is_shown_with_file_and_line_before_any_request(host, name):
    _, line, words = BAD[name]
    shown, = wait_checked(host, "alice/" + name.replace(".", "-"))
    assert shown["check"] == "unsound", shown
    detail = shown["check_detail"]
    file = "/fn/" + name.replace(".", "-") + "." + name.split(".")[1]
    assert file in detail, detail
    # FILE:LINE, or `line N` behind it
    assert re.search(rf":\s?{line}\b|line {line}\b", detail), detail
    assert re.search(words, detail), detail
    assert not [r for r in host.books.all() if r["type"] == "exec" and
                r["function"] == shown["function"]]


def test_what_is_sound_is_called_so(host):
    names = ["alice/" + name.replace(".", "-") for name in GOOD]
    for line in wait_checked(host, *names):
        assert (line["check"], line["check_detail"]) == ("sound", None), line


def test_a_script_and_a_handler_stand_side_by_side_without_any_sidecar(host):
    host.put("bob/handled.py", HANDLER)
    host.put("bob/printed.py", SCRIPT)
    # the very first requests, which nothing has been found of yet
    answer = host.wait_served("/fn/bob/handled")
    assert answer.text == "handled"
    answer = host.wait_served("/fn/bob/printed")
    assert answer.text == "script of CGI/1.1 __main__\n"
    handled, printed = wait_checked(host, "bob/handled", "bob/printed")
    assert [handled[k] for k in ("runtime", "protocol", "check")] == \
        ["wsgi", "fastcgi", "sound"]
    assert [printed[k] for k in ("runtime", "protocol", "check")] == \
        ["python", "cgi", "otherwise"]
    _, record = host.execute("/fn/bob/printed")
    assert record["runtime"] == "python"
    table = host.verb("list").stdout
    assert [row.split()[2] for row in table.splitlines()
            if row.startswith("bob/printed ")] == ["python"]


def test_a_file_changes_from_script_to_handler_by_rename_and_back(host):
    for text, expected in ((SCRIPT, "script of"), (HANDLER, "handled"),
                           (SCRIPT, "script of")):
        host.put("bob/changes.py", text)
        end = time.monotonic() + 30
        while expected not in (answer := host.fetch("/fn/bob/changes")).text:
            assert time.monotonic() < end, (answer, host.log()[-3000:])
            # what was served till then is an answer of the old one, whole
            assert answer.status in (200, 404, 503), answer
            time.sleep(0.02)


def test_runtime_in_the_sidecar_decides_instead(host):
    host.sidecar("bob/hidden", runtime="wsgi")
    host.put("bob/hidden.py", HIDDEN)
    assert host.wait_served("/fn/bob/hidden").text == "hidden"
    line, = wait_checked(host, "bob/hidden")
    assert (line["runtime"], line["check"]) == ("wsgi", "sound")
    host.put("bob/seen.py", SCRIPT)
    host.sidecar("bob/seen", runtime="python")
    assert "script of" in host.wait_served("/fn/bob/seen").text


def test_a_function_with_an_error_is_served_by_its_runtime_which_says_so(host):
    wait_checked(host, "alice/bad-py")
    answer, record = host.execute("/fn/alice/bad-py")
    assert answer.status == 500 and record["runtime"] == "wsgi"
    host.wait_log("SyntaxError")
