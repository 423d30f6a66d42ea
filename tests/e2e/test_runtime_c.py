"""Functions in C behind a host: compiled by fcgi-host-cc, dropped as a program; and
the compiler in a sandbox."""
import hashlib
import os
import re
import subprocess
import time

import pytest

from lib import chost, web
from lib.alone import begin_body, end_body, send_body


@pytest.fixture(scope="module")
def kit(installed):
    with chost.Kit(installed, "/var/lib") as made:
        yield made


@pytest.fixture(scope="module")
def host(start, kit):
    return start.host({"app.fcgi": kit.build(chost.SOURCES / "work.c")},
                      {"defaults": {"instances": "2"}})


def test_a_warm_function_answers_request_after_request(host):
    first, record = host.execute("/fn/app")
    again, later = host.execute("/fn/app")
    assert first.status == again.status == 200
    numbers = [int(answer.text.split()[1]) for answer in (first, again)]
    if record["instance"] == later["instance"]:
        assert later["start"] == "warm" and numbers[1] == numbers[0] + 1


def test_a_megabyte_of_any_bytes_comes_back(host):
    body = os.urandom(1 << 20)
    answer, record = host.execute("/fn/app/echo", body)
    assert answer.is_complete and record["bytes_in"] == len(body)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


def test_a_function_reads_the_body_while_it_comes(host):
    """The host sends an answer when the body is there (W34): what the function
    has seen before that stands in the log."""
    with host.connect() as connection:
        begin_body(connection, "/fn/app/lines", 15)
        for line in ("first", "second"):
            send_body(connection, f"{line}\n".encode())
            host.wait_log(f"seen {line}")
        end_body(connection, b"x\n")
        answer = connection.read_answer()
    assert answer.is_complete
    assert answer.text == "begin\ngot first\ngot second\ngot x\n"


def test_what_is_printed_is_in_the_log_with_the_request_s_id(host):
    answer, record = host.execute("/fn/app/print")
    assert answer.text == "printed" and answer.stderr == b""
    for line in ("a line for the log", "and one for stderr"):
        host.wait_log(rf'{record["request_id"]}.*{line}')
    log = host.log()
    assert log.index("a line for the log") < log.index("and one for stderr")


def test_the_first_thing_that_is_printed_is_its_request_s(host, kit):
    """Each by a program that has said nothing before."""
    program = kit.build("#include <stdio.h>\n" + chost.HANDLER %
                        '\tputs("first words");\n'
                        '\treturn fcgi_puts(request, "said");', "first")
    for turn in range(10):
        host.add(f"first-{turn}.fcgi", program)
    for turn in range(10):
        host.wait_served(f"/fn/first-{turn}")
        host.wait_log(f"function=first-{turn} .*first words")
    found = re.findall(r"request=(\S*) function=first-\d .*first words", host.log())
    assert "" not in found and len(found) == 10, found


@pytest.mark.parametrize("path", ["fail", "header?name=X&value=a%0ab", "alloc"])
def test_a_failure_is_500_and_is_told_in_the_log_alone(host, path):
    answer, record = host.execute(f"/fn/app/{path}")
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    assert (record["outcome"], record["exit"]) == ("error", 1)
    host.wait_log(rf'{record["request_id"]}.*fcgi-host: ')
    answer, after = host.execute("/fn/app")
    assert (answer.status, after["instance"]) == (200, record["instance"])
    assert (after["outcome"], after["exit"]) == ("ok", 0), "the failure's stays"


def test_a_failure_behind_the_first_byte_cuts_the_answer(host):
    answer, record = host.execute("/fn/app/fail-later")
    assert not answer.is_complete and record["outcome"] != "ok"


def test_a_crash_is_a_502_and_the_next_request_has_a_fresh_program(host):
    answer, record = host.execute("/fn/app/crash")
    assert (answer.status, record["outcome"]) == (502, "crash")
    assert host.wait_served("/fn/app").text.startswith("hello")


@pytest.mark.parametrize("path", ["", "large?size=100000", "move", "fields"])
def test_head_has_the_head_alone(host, path):
    answer, record = host.execute(f"/fn/app/{path}", method="HEAD")
    assert (answer.body, record["outcome"]) == (b"", "ok"), record
    assert answer.status == {"move": 302, "fields": 404}.get(path, 200)


def test_nginx_serves_it_too(host, start):
    nginx = start.nginx(host)
    reply = web.get(nginx.plain, "/fn/app/facts?name=%C3%BC")
    assert "query=ü\n" in reply.text
    assert web.get(nginx.plain, "/fn/app/fields").status == 404


def test_a_new_version_serves_when_the_compiler_has_put_it_there(host, kit):
    source = kit.dir / "fresh.c"
    for word in ("one", "two"):
        source.write_text(chost.HANDLER % f'\treturn fcgi_puts(request, "{word}");')
        done = kit.run("-o", host.functions / "fresh.fcgi", source)
        assert done.returncode == 0, done
        until = time.monotonic() + 30
        while host.wait_served("/fn/fresh").text != word:
            assert time.monotonic() < until, "the old version goes on"
            time.sleep(0.02)


def compile_inside(installed, kit, text, *options):
    """The driver in a function's sandbox, with its ceilings; a program would be in
    kit.dir/data."""
    (kit.dir / "in.c").write_text(text)
    (kit.dir / "data").mkdir(exist_ok=True)
    (kit.dir / "data").chmod(0o777)
    return subprocess.run(
        [installed.sandbox, "-q", *options, "--bind", kit.dir / "c", "-f",
         kit.dir / "in.c", "-d", kit.dir / "data", kit.driver, "-o",
         "/data/it.fcgi", "/fn/in.c"], env=installed.environment(),
        text=True, timeout=120, stdin=subprocess.DEVNULL, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_compiler_has_all_it_needs_in_a_sandbox(installed, kit):
    text = (chost.SOURCES / "work.c").read_text()
    done = compile_inside(installed, kit, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with chost.Alone(kit.dir / "data/it.fcgi") as made:
        assert made.fetch().text == "hello 1"
    (kit.dir / "data/it.fcgi").unlink()


@pytest.mark.parametrize("text", [
    '#include "/etc/shadow"\n', 'asm(".incbin \\"/etc/shadow\\"");\n'])
def test_a_source_reads_in_a_sandbox_what_its_function_may(installed, kit, text):
    done = compile_inside(installed, kit, text)
    assert done.returncode == 1
    assert re.search("/etc/shadow: No such file|not found: /etc/shadow",
                     done.stderr), done.stderr
    assert not (kit.dir / "data/it.fcgi").exists()
