"""PSGI applications: [runtime psgi] of the sample configuration, in the sandbox,
and its program alone where the host would stand between."""
import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import fcgi, runtimes, scripted
from lib.scripted import ask, logged

WORK = scripted.FUNCTIONS / "work.psgi"
ERROR = "Internal Server Error\n"
VERSION = "sub { [200, ['Content-Type' => 'text/plain'], ['version %s']] }\n"
LINT = """use Plack::Builder;
builder { enable 'Lint'; enable 'StackTrace', no_print_errors => 1 if 0;
    sub { my $e = shift; my $b = ''; $e->{'psgi.input'}->read($b, 1000);
        [200, ['Content-Type' => 'text/plain'], [uc $b]] } };
"""
LIBRARY = "package Beside; sub word { 'a word of lib' } 1;\n"
LOCAL = "package Local; sub word { 'and of local' } 1;\n"
USES = """use Beside; use Local;
sub { [200, ['Content-Type' => 'text/plain'],
    [Beside->word, ' ', Local->word, ' ', $INC{'Beside.pm'}]] }
"""
BROKEN = {
    "syntax": ("sub { my $x = ; }\n", r"syntax error at .*syntax\.psgi line 1"),
    "dies": ("use strict;\n\ndie 'at load';\n",
             r"at load at .*dies\.psgi line 3"),
    "module": ("use No::Such::Module; sub {}\n",
               r"Can't locate No/Such/Module\.pm"),
    "number": ("42;\n", r"number\.psgi: its last value is no application"),
    "empty": ("\n", r"empty\.psgi: its last value is no application"),
}


@pytest.fixture(scope="module")
def host(start, place):
    return start.host({
        "app.psgi": WORK, "lint.psgi": LINT, "beside/main.psgi": USES,
        "beside/lib/Beside.pm": LIBRARY,
        "beside/local/lib/perl5/Local.pm": LOCAL,
        **{f"{name}.psgi": text for name, (text, _) in BROKEN.items()}},
        {"defaults": {"instances": "1", "memory": "64M"}},
        text=place.section("psgi"))


# ---------------------------------------------------------------- what is served


def test_list_has_nothing_to_say_about_an_application(host):
    done = host.verb("list")
    line, = re.findall(r"^app\s.*$", done.stdout, re.MULTILINE)
    assert re.search(r"psgi\s+default\s+fastcgi", line), line


def test_the_environment_is_the_requests(host):
    answer, record = host.execute("/fn/app/env/a%20b?x=1&y=%20",
                                  HTTP_X_WORD="a word", HTTP_PROXY="evil")
    env = dict(line.split("=", 1) for line in answer.text.splitlines())
    assert (env["SCRIPT_NAME"], env["QUERY_STRING"]) == ("/fn/app", "x=1&y=%20")
    assert env["PATH_INFO"] in ("/env/a b", "/env/a%20b")
    assert env["REQUEST_ID"] == record["request_id"]
    assert (env["REQUEST_METHOD"], env["HTTP_X_WORD"]) == ("GET", "a word")
    assert "HTTP_PROXY" not in env


def test_a_rewritten_url_s_path_is_the_host_s_word_for_it(host):
    answer, _ = host.execute("/fn/app/env/inner", REQUEST_URI="/outer?q")
    assert "PATH_INFO=/env/inner\n" in answer.text


def test_the_program_s_environment_holds_nothing_of_a_request(host):
    answer, _ = ask(host, "process", HTTP_X_WORD="a word")
    assert "HTTP_" not in answer.text and "REQUEST_METHOD" not in answer.text


def test_a_file_handle_is_a_body(host):
    answer, _ = ask(host, "handle")
    assert answer.body == open("/usr/share/perl/5.36/strict.pm", "rb").read()


def test_an_object_with_getline_is_a_body_and_is_closed(host):
    answer, record = ask(host, "getline")
    assert answer.text == "3\n2\n1\n"
    logged(host, record, "the body was closed")


def test_characters_up_to_255_are_bytes(host):
    answer, _ = ask(host, "latin")
    assert answer.body == b"\xe4"


def test_several_cookies_stay_several(host):
    answer, _ = ask(host, "cookies")
    assert [value for name, value in answer.head
            if name == "Set-Cookie"] == ["a=1", "b=2"]


def test_plack_s_lint_finds_nothing(host):
    answer, _ = host.execute("/fn/lint", b"body")
    assert (answer.status, answer.text) == (200, "BODY")


def test_libraries_beside_a_function_are_found(host):
    answer, _ = host.execute("/fn/beside")
    assert answer.text.startswith("a word of lib and of local /fn/"), \
        answer.text


def test_a_new_version_is_served_after_a_rename(host):
    host.put("version.psgi", VERSION % 1)
    assert host.wait_served("/fn/version").text == "version 1"
    host.put("version.psgi", VERSION % 2)
    for _ in range(600):
        answer = host.fetch("/fn/version")
        if answer.text == "version 2":
            return
        assert answer.text == "version 1"
    raise AssertionError("still the old version")


# ------------------------------------------------------------------------ errors


def test_an_exception_is_a_500_whose_trace_stands_in_the_log_alone(host):
    pid = ask(host, "hello")[0].text.split()[1]
    answer, record = ask(host, "deep")
    assert (answer.status, answer.text) == (500, ERROR)
    assert (answer.stderr, record["outcome"]) == (b"", "ok")
    logged(host, record, r"a deep failure at /fn/app\.psgi line \d+")
    logged(host, record, r"main::inner|Plack::Sandbox::\w+::inner")
    assert ask(host, "hello")[0].text.split()[1] == pid


@pytest.mark.parametrize("part,words", [
    ("silent", "the application has not answered"),
    ("nothing", "an answer is an array of three, or code"),
    ("wide", "the body has a character above 255"),
    ("split", "the header X-Split has a value that cannot be sent"),
    ("nul", "the header X-Nul has a value that cannot be sent"),
    ("badname", "a header has a name that cannot be sent")])
def test_what_cannot_be_sent_is_a_500(host, part, words):
    answer, record = ask(host, part)
    assert (answer.status, answer.text) == (500, ERROR)
    assert not answer.header("Set-Cookie") and not answer.header("X-Split")
    logged(host, record, words)


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_loaded_is_a_500_and_is_tried_anew(host, name):
    seen = []
    for _ in range(2):
        answer, record = host.execute(f"/fn/{name}")
        assert (answer.status, answer.text) == (500, ERROR)
        host.wait_log(BROKEN[name][1])
        seen.append(record["instance"])
    assert seen[0] != seen[1], "the program did not end"


def test_a_mended_function_is_served_at_once(host):
    host.put("mended.psgi", "sub {")
    assert host.wait_served("/fn/mended", status=500).text == ERROR
    host.put("mended.psgi", VERSION % "mended")
    assert host.wait_served("/fn/mended").text == "version mended"


def test_print_and_warn_are_for_the_log(host):
    answer, record = ask(host, "print")
    assert (answer.text, answer.stderr) == ("nothing else\n", b"")
    for words in ("a printed line", "a line to STDOUT", "a warned line",
                  "a line to psgi.errors"):
        logged(host, record, words)


# ------------------------------------------------------------- the program alone


def alone(function=WORK, **env):
    return scripted.Alone("psgi", function, **env)


def test_who_has_kept_an_answer_writes_into_no_later_one():
    with alone() as program, program.connect() as connection:
        answers = []
        for part in ("/keep", "/kept", "/hello"):
            connection.send(scripted.request(part, flags=fcgi.KEEP_CONN))
            answers.append(connection.read_answer())
    assert all(answer.is_complete and answer.status == 200
               for answer in answers)
    assert answers[0].text == "kept\n"
    assert answers[1].text == "the write said: the request is over\n"
    assert answers[2].text.startswith("hello ")


@pytest.mark.parametrize("part", ["exits", "fills"])
def test_an_answer_in_which_the_program_ends_is_cut(host, part):
    answer, record = ask(host, part)
    assert (answer.text, answer.is_complete) == ("begun\n", False)
    assert record["outcome"] != "ok"


@pytest.mark.parametrize("part", ["child", "childdies", "childleaves"])
def test_a_child_that_was_forked_answers_nobody(part):
    with alone() as program:
        pid = program.fetch("/hello").text.split()[1]
        answer = program.fetch(f"/{part}")
        assert (answer.text, answer.is_complete) == ("begun\nparent\n", True)
        assert program.fetch("/hello").text.split()[1] == pid
        assert program.end() == 0


def test_a_line_is_answered_before_the_next_is_sent():
    with alone() as program, program.connect() as connection:
        scripted.begin_body(connection, "/lines", 12, PATH_INFO="/lines")
        answer = scripted.talk(connection, [b"one\n", b"two\n", b"end\n"],
                               [b"ONE\n", b"TWO\n"])
    assert (answer.text, answer.is_complete) == ("ONE\nTWO\nEND\n", True)


def test_who_writes_to_a_client_that_has_left_is_told_and_lives():
    with alone() as program:
        pid = program.process.pid
        with program.connect() as connection:
            connection.send(scripted.request("/endless"))
            connection.read_answer(stop=lambda answer: answer.body)
        program.wait_log("the write said: the client has left")
        assert program.fetch("/hello").text.split()[1] == str(pid)


def test_sigterm_lets_a_request_end():
    with alone() as program, program.connect() as connection:
        scripted.begin_body(connection, "/slow", 5, PATH_INFO="/slow",
                            SCRIPT_NAME="/fn/x")
        program.wait_log("slow has begun")
        os.kill(program.process.pid, signal.SIGTERM)
        scripted.end_body(connection, b"word\n")
        answer = connection.read_answer()
        assert (answer.text, answer.is_complete) == ("slow heard word\n", True)
        assert program.wait() == 0


def test_a_cleanup_handler_runs_behind_the_answer():
    with alone() as program:
        assert program.fetch("/cleanup").is_complete
        program.wait_log("cleaned up behind /cleanup")


def test_a_program_that_asks_for_its_end_ends_behind_the_answer():
    with alone() as program:
        assert program.fetch("/harakiri").is_complete
        assert program.wait() == 0


def test_a_spare_reads_nothing_of_the_function_before_its_first_request(
        tmp_path):
    function = tmp_path / "later.psgi"
    with alone(function, FCGI_HOST_SPARE="1",
               FCGI_HOST_PRELOAD="Text::Wrap No::Such 1+1") as program:
        program.wait_log("1+1 cannot be loaded")
        program.wait_asleep()
        assert "No::Such cannot be loaded" in program.log()
        shutil.copy(WORK, function)
        assert "Text/Wrap.pm" in program.fetch("/loaded").text
        assert "FCGI_HOST_" not in program.fetch("/process").text
        assert program.end() == 0


def test_a_function_that_scaled_to_zero_is_answered_by_a_spare(start, place):
    host = start.host({"app.psgi": WORK},
                      {"defaults": {"idle": "150ms", "instances": "1"}},
                      text=place.section("psgi", spare=2,
                                         preload="Text::Wrap"))
    first, _ = host.execute("/fn/app/loaded")
    scripted.wait_spare(host)
    answer, record = host.execute("/fn/app/loaded")
    assert (answer.status, record["start"]) == (200, "spare")
    assert "Text/Wrap.pm" in answer.text and "Text/Wrap.pm" not in first.text


# ----------------------------------------------------------------------- --check


def check(installed, place, *files):
    """--check in a sandbox; (code, stdout, stderr)."""
    done = subprocess.run(
        [installed.sandbox, "--bind", place.dir, "--", "/usr/bin/perl",
         place.dir / "fcgi-host-perl", "--check", *files],
        env=installed.environment(), text=True, capture_output=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_sound_file_is_ok_and_is_not_run(installed, place):
    sound = place.dir / "sound.psgi"
    sound.write_text("print STDERR 'it ran'; sub { [200, [], []] };\n")
    code, out, err = check(installed, place, sound)
    assert (code, out) == (0, "ok\n")
    assert "it ran" not in err


def test_an_unsound_file_is_named_with_its_line(installed, place):
    unsound = place.dir / "unsound.psgi"
    unsound.write_text("sub {\n    my $x = ;\n}\n")
    code, out, err = check(installed, place, unsound)
    assert (code, out) == (1, "")
    assert re.search(rf"^{unsound}:2: syntax error", err, re.MULTILINE), err


def test_outside_of_a_sandbox_nothing_is_compiled():
    done = subprocess.run([*runtimes.command("psgi"), "--check", WORK],
                          text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "do it in a sandbox" in done.stderr


def test_wrong_use_is_told():
    done = subprocess.run(runtimes.command("psgi"), text=True,
                          capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
