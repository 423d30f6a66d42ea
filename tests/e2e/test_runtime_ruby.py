"""Rack applications: [runtime rack] of the sample configuration, in the sandbox,
and its program alone where the host would stand between."""
import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import fcgi, runtimes, scripted
from lib.scripted import ask, logged

WORK = scripted.FUNCTIONS / "work.ru"
FILE = "/usr/lib/ruby/3.1.0/set.rb"
ERROR = "Internal Server Error\n"
VERSION = "run ->(_) { [200, { 'Content-Type' => 'text/plain' }, ['version %s']] }\n"
LINT = """use Rack::Lint
use Rack::ContentLength
run(lambda do |env|
  [200, { 'Content-Type' => 'text/plain' }, [env['rack.input'].read.upcase]]
end)
"""
USES = """require 'beside'
require 'word'
run ->(_) { [200, {}, ["#{Beside} #{Word} #{Rack.release}"]] }
"""
GEMS = "vendor/bundle/ruby/3.1.0"
# A Rack 3 as far as a runtime sees it: several values of a header are an array.
RACK3 = """module Rack
  def self.release
    '3.0.0'
  end

  module Builder
    def self.new_from_string(text, file)
      @app = nil
      instance_eval(text, file)
      @app
    end

    def self.run(app)
      @app = app
    end
  end
end
"""
RACK3_APP = """run(lambda do |env|
  line = { '/line' => "a\\nb", '/array' => %w[a b] }[env['PATH_INFO']]
  [200, { 'x-rack' => Rack.release, 'x-values' => line }, ['x']]
end)
"""
BROKEN = {
    "syntax": ("run ->(env) {\n  x = = 1\n}\n", r"syntax\.ru:2: syntax error"),
    "dies": ("\n\nraise 'at load'\n", r"dies\.ru:3:.*at load"),
    "module": ("require 'no/such'\nrun nil\n",
               r"cannot load such file -- no/such"),
    "empty": ("\n", r"missing run or map statement"),
    "leaves": ("exit 0\n", r"leaves\.ru:1:.*SystemExit"),
}


def gem(name, version, text):
    """A gem as `bundle install` leaves it."""
    spec = (f"Gem::Specification.new do |s|\n  s.name = '{name}'\n"
            f"  s.version = '{version}'\n  s.summary = 'x'\n"
            f"  s.authors = ['x']\n  s.require_paths = ['lib']\nend\n")
    return {f"{GEMS}/gems/{name}-{version}/lib/{name}.rb": text,
            f"{GEMS}/specifications/{name}-{version}.gemspec": spec}


def below(folder, files):
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.fixture(scope="module")
def host(start, place):
    return start.host({
        "app.ru": WORK, "lint.ru": LINT,
        **below("beside", {"main.ru": USES, "lib/word.rb": "Word = 'word'\n",
                           **gem("beside", "1.0", "Beside = 'gem'\n")}),
        **below("three", {"main.ru": RACK3_APP,
                          **gem("rack", "3.0.0", RACK3)}),
        **{f"{name}.ru": text for name, (text, _) in BROKEN.items()}},
        {"defaults": {"instances": "1", "memory": "96M"}},
        text=place.section("rack"))


def values(answer, name):
    return [value for key, value in answer.head if key.lower() == name]


# ---------------------------------------------------------------- what is served


def test_list_has_nothing_to_say_about_an_application(host):
    done = host.verb("list")
    line, = re.findall(r"^app\s.*$", done.stdout, re.MULTILINE)
    assert re.search(r"rack\s+default\s+fastcgi", line), line


def test_the_environment_is_the_requests(host):
    answer, record = host.execute("/fn/app/env/a?x=1&y=%20",
                                  HTTP_X_WORD="a word", HTTP_PROXY="evil")
    env = dict(line.split("=", 1) for line in answer.text.splitlines())
    assert (env["SCRIPT_NAME"], env["PATH_INFO"], env["QUERY_STRING"]) == \
        ("/fn/app", "/env/a", "x=1&y=%20")
    assert env["REQUEST_ID"] == record["request_id"]
    assert (env["REQUEST_METHOD"], env["HTTP_X_WORD"]) == ("GET", "a word")
    assert "HTTP_PROXY" not in env


def test_the_program_s_environment_holds_nothing_of_a_request(host):
    answer, _ = ask(host, "process", HTTP_X_WORD="a word")
    assert "HTTP_" not in answer.text and "REQUEST_METHOD" not in answer.text
    assert "RACK_ENV=production" in answer.text


def test_a_body_is_read_twice_up_to_its_bound(host):
    answer, _ = ask(host, "twice", b"x" * 100_000)
    assert answer.text == "true 100000"
    answer, record = ask(host, "twice", b"x" * 2_000_000)
    assert answer.status == 500
    logged(host, record, "the body is too long to be read again")


def test_a_body_with_a_path_is_that_file(host):
    answer, _ = ask(host, "file")
    assert answer.body == open(FILE, "rb").read()


@pytest.mark.parametrize("part", ["cookies", "array"])
def test_several_cookies_stay_several(host, part):
    answer, _ = ask(host, part)
    assert values(answer, "set-cookie") == ["a=1", "b=2"]


def test_rack_s_lint_finds_nothing(host):
    answer, _ = host.execute("/fn/lint", b"body")
    assert (answer.status, answer.text) == (200, "BODY")


def test_libraries_and_gems_beside_a_function_are_found(host):
    answer, _ = host.execute("/fn/beside")
    assert re.fullmatch(r"gem word 2\..*", answer.text), answer.text


def test_a_function_s_own_rack_goes_before_the_machine_s(host):
    answer, _ = host.execute("/fn/three/array")
    assert values(answer, "x-rack") == ["3.0.0"]
    assert values(answer, "x-values") == ["a", "b"]
    answer, record = host.execute("/fn/three/line")
    assert answer.status == 500
    logged(host, record, "the header x-values has a value that cannot be sent")


def test_a_new_version_is_served_after_a_rename(host):
    host.put("version.ru", VERSION % 1)
    assert host.wait_served("/fn/version").text == "version 1"
    host.put("version.ru", VERSION % 2)
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
    assert (answer.stderr, record["exit"]) == (b"", 1)
    logged(host, record, r"/fn/app\.ru:\d+:in `inner': a deep failure")
    logged(host, record, r"from /fn/app\.ru:\d+:in `deep'")
    assert "in `answer_by'" not in host.log(), "the runtime's own frames"
    assert ask(host, "hello")[0].text.split()[1] == pid


@pytest.mark.parametrize("part,words", [
    ("nothing", "is no status"),
    ("number", "a part of the body is Integer, not String"),
    ("split", "the header X-Split has a value that cannot be sent"),
    ("nul", "the header X-Nul has a value that cannot be sent"),
    ("badname", "a header has a name that cannot be sent")])
def test_what_cannot_be_sent_is_a_500(host, part, words):
    answer, record = ask(host, part)
    assert (answer.status, answer.text) == (500, ERROR)
    assert not values(answer, "set-cookie") and not values(answer, "x-split")
    logged(host, record, words)


def test_a_function_that_exits_is_answered_and_started_anew(host):
    pid = ask(host, "hello")[0].text.split()[1]
    answer, record = ask(host, "leave")
    assert (answer.status, answer.text) == (500, ERROR)
    logged(host, record, "SystemExit")
    again, other = ask(host, "hello")
    assert again.status == 200
    assert other["instance"] != record["instance"] or \
        again.text.split()[1] != pid


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
    host.put("mended.ru", "run ->")
    assert host.wait_served("/fn/mended", status=500).text == ERROR
    host.put("mended.ru", VERSION % "mended")
    assert host.wait_served("/fn/mended").text == "version mended"


def test_puts_and_warn_are_for_the_log(host):
    answer, record = ask(host, "print")
    assert (answer.text, answer.stderr) == ("nothing else\n", b"")
    for words in ("a printed line", "a line without an end", "a warned line",
                  "a line to rack.errors"):
        logged(host, record, words)


# ------------------------------------------------------------- the program alone


def alone(function=WORK, **env):
    return scripted.Alone("rack", function, **env)


def test_who_has_kept_an_answer_writes_into_no_later_one():
    with alone() as program, program.connect() as connection:
        answers = []
        for part in ("/keep", "/kept", "/hello"):
            connection.send(scripted.request(part, flags=fcgi.KEEP_CONN))
            answers.append(connection.read_answer())
    assert all(answer.is_complete and answer.status == 200
               for answer in answers)
    assert answers[0].text == "kept\n"
    assert answers[1].text == "the write said: the request is over"
    assert answers[2].text.startswith("hello ")


@pytest.mark.parametrize("part,end", [
    ("child", "parent\n"), ("childdies", "parent\n"),
    ("childleaves", "parent 7\n")])
def test_a_child_that_was_forked_answers_nobody(part, end):
    with alone() as program:
        pid = program.fetch("/hello").text.split()[1]
        answer = program.fetch(f"/{part}")
        assert (answer.text, answer.is_complete) == (f"begun\n{end}", True)
        assert program.fetch("/hello").text.split()[1] == pid
        assert program.end() == 0


def test_a_broken_answer_ends_a_kept_connection_and_not_the_program():
    with alone() as program:
        pid = program.fetch("/hello").text.split()[1]
        with program.connect() as connection:
            connection.send(scripted.request("/late", flags=fcgi.KEEP_CONN))
            answer = connection.read_answer()
        assert (answer.text, answer.is_complete) == ("half of it\n", False)
        assert program.fetch("/hello").text.split()[1] == pid


def test_records_mean_the_same_however_they_are_cut():
    body = b"one\ntwo\n"
    with alone() as program, program.connect() as connection:
        connection.send_split(scripted.request("/lines", body), size=1)
        answer = connection.read_answer()
    assert (answer.text, answer.is_complete) == ("ONE\nTWO\n", True)


def test_what_is_no_fastcgi_closes_the_connection_alone():
    with alone() as program:
        with program.connect() as connection:
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.is_closed_by_peer()
        with program.connect() as connection:
            connection.send(fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1,
                                                       b"\x05\x05ab"))
            assert connection.is_closed_by_peer()
        assert program.fetch("/hello").status == 200


def test_a_second_request_at_a_time_and_an_unknown_role_are_refused():
    with alone() as program, program.connect() as connection:
        connection.send(fcgi.begin(role=9, flags=fcgi.KEEP_CONN))
        assert connection.read_record() == \
            (fcgi.END, 1, b"\0\0\0\0\x03\0\0\0")
        scripted.begin_body(connection, "/lines", 4, PATH_INFO="/lines")
        connection.send(fcgi.begin(7))
        scripted.end_body(connection, b"end\n")
        seen = [connection.read_record() for _ in range(5)]
        assert (fcgi.END, 7, b"\0\0\0\0\x01\0\0\0") in seen
        assert (fcgi.END, 1, bytes(8)) in seen


@pytest.mark.parametrize("part", ["lines", "called", "partial"])
def test_a_line_is_answered_before_the_next_is_sent(part):
    with alone() as program, program.connect() as connection:
        scripted.begin_body(connection, f"/{part}", 12, PATH_INFO=f"/{part}")
        answer = scripted.talk(connection, [b"one\n", b"two\n", b"end\n"],
                               [b"ONE\n", b"TWO\n"])
    assert answer.is_complete
    assert answer.text == "ONE\nTWO\nEND\n" + "END" * (part != "lines")


@pytest.mark.parametrize("is_aborted", [True, False])
def test_who_writes_to_a_client_that_has_left_is_told_and_lives(is_aborted):
    with alone() as program:
        pid = program.process.pid
        with program.connect() as connection:
            connection.send(scripted.request("/endless"))
            connection.read_answer(stop=lambda answer: answer.body)
            if is_aborted:
                connection.send(fcgi.record(fcgi.ABORT, 1))
                connection.read_answer(answer=fcgi.Answer())
                program.wait_log("the write said: the client has left")
        program.wait_log("the write said: the client has left")
        assert program.fetch("/hello").text.split()[1] == str(pid)


def test_sigterm_lets_a_request_end():
    with alone() as program, program.connect() as connection:
        scripted.begin_body(connection, "/slow", 5, PATH_INFO="/slow")
        program.wait_log("slow has begun")
        os.kill(program.process.pid, signal.SIGTERM)
        scripted.end_body(connection, b"word\n")
        answer = connection.read_answer()
        assert (answer.text, answer.is_complete) == ("slow heard word\n", True)
        assert program.wait() == 0


def test_a_spare_reads_nothing_of_the_function_before_its_first_request(
        tmp_path):
    function = tmp_path / "later.ru"
    with alone(function, FCGI_HOST_SPARE="1",
               FCGI_HOST_PRELOAD="rack matrix no/such") as program:
        program.wait_log("no/such cannot be loaded")
        program.wait_asleep()
        shutil.copy(WORK, function)
        assert "/matrix.rb" in program.fetch("/loaded").text
        assert "FCGI_HOST_" not in program.fetch("/process").text
        assert program.end() == 0


def test_a_function_that_scaled_to_zero_is_answered_by_a_spare(start, place):
    host = start.host({"app.ru": WORK},
                      {"defaults": {"idle": "150ms", "instances": "1"}},
                      text=place.section("rack", spare=2,
                                         preload="rack matrix"))
    first, _ = host.execute("/fn/app/loaded")
    scripted.wait_spare(host)
    answer, record = host.execute("/fn/app/loaded")
    assert (answer.status, record["start"]) == (200, "spare")
    assert "/matrix.rb" in answer.text and "/matrix.rb" not in first.text


# ----------------------------------------------------------------------- --check


def check(*words):
    done = subprocess.run([*runtimes.command("rack"), *map(str, words)],
                          text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_sound_file_is_ok_and_nothing_of_it_is_run(tmp_path):
    sound = tmp_path / "sound.ru"
    sound.write_text("BEGIN { warn 'it ran' }\nwarn 'it ran'\nrun nil\n"
                     "__END__\nno ruby = = at all\n")
    assert check("--check", sound) == (0, "ok\n", "")


def test_an_unsound_file_is_named_with_its_line(tmp_path):
    unsound = tmp_path / "unsound.ru"
    unsound.write_text("run ->(env) {\n  x = = 1\n}\n")
    code, out, err = check("--check", unsound)
    assert (code, out) == (1, "")
    assert err.startswith(f"{unsound}:2: syntax error"), err
    code, _, err = check("--check", tmp_path / "absent.ru")
    assert code == 1 and "absent.ru" in err


def test_wrong_use_is_told():
    code, _, err = check()
    assert code == 2 and err.startswith("usage: ")
