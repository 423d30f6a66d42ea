"""Secrets of an env_file: they reach the function's process, and nobody else; which
file is taken, and what is said of one that is not."""
import json
import os
import subprocess
import time

import pytest

from lib import leaks, proc

pytestmark = pytest.mark.any_user

SECRET = "correct-horse-battery"
SHOW = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n%s|%s' "$KEY" "$OTHER"
"""
PYTHON = """import os
print("Content-Type: text/plain\\n")
print(os.environ.get("KEY"), os.environ.get("OTHER"), sep="|", end="")
"""
PHP = "<?php echo getenv('KEY'), '|', getenv('OTHER');"
RUNTIME_PHP = """
[runtime php]
extensions = php
protocol = fastcgi
command = /usr/bin/php-cgi
"""


@pytest.fixture(scope="module")
def host(start, programs, as_user):
    return start.host({"alice/show.sh": SHOW, "alice/show2.py": PYTHON,
                       "alice/page.php": PHP, "alice/swiss.fcgi": programs.fcgi,
                       "alice/folder/main.sh": SHOW, "bob/show.sh": SHOW,
                       "swiss.cgi": programs.cgi}, text=RUNTIME_PHP,
                      as_user=as_user == "user")


def secret_file(host, name, text, mode=0o600):
    host.put(name, text, mode)


def wait_body(host, url, body):
    """Until the answer is that; a change is found within moments."""
    wait_answer(host, url, lambda text: text == body)


def wait_answer(host, url, is_it):
    """The first text that is the one."""
    until = time.monotonic() + 30
    while True:
        answer = host.fetch(url)
        if answer.status == 200 and answer.is_complete and \
                is_it(answer.body.decode()):
            return answer.body.decode()
        assert time.monotonic() < until, \
            f"{url} gives {answer!r}\n{host.log()[-2000:]}"
        time.sleep(0.01)


def listing(host):
    done = host.verb("list", "--json")
    assert done.returncode in (0, 1), done.stderr
    return {f["function"]: f for f in map(json.loads, done.stdout.splitlines())}


def wait_said(host, name, part):
    """The detail in `list` of a function that is not served."""
    said = listing(host)[name]
    assert part in said["detail"], said
    assert SECRET not in str(said)
    host.wait_served(f"/fn/{name}", status=404)


@pytest.mark.parametrize("name", ["show", "show2", "page"])
def test_a_secret_reaches_the_program_in_whatever_language(host, name):
    secret_file(host, f"alice/{name}.env", f"# mine\nKEY={SECRET}\nOTHER='a b'\n")
    host.sidecar(f"alice/{name}", env_file=f"{name}.env")
    wait_body(host, f"/fn/alice/{name}", f"{SECRET}|a b")


def test_a_change_is_seen_by_the_next_request_renamed_or_written(host):
    secret_file(host, "alice/folder/.env", "KEY=one\n")
    host.put("alice/folder/main.ini", "[function]\nenv_file = .env\n")
    wait_body(host, "/fn/alice/folder", "one|")
    secret_file(host, "alice/folder/.env", "KEY=two\n")
    wait_body(host, "/fn/alice/folder", "two|")
    path = host.functions / "alice/folder/.env"
    path.write_text("KEY=three\nOTHER=x\n")
    wait_body(host, "/fn/alice/folder", "three|x")


def test_a_fastcgi_programs_instance_retires_and_its_params_have_no_secret(host):
    secret_file(host, "alice/swiss.env", f"KEY={SECRET}\nOTHER=param\n")
    host.sidecar("alice/swiss", env_file="swiss.env", **{"env.plain": "seen"})
    host.wait_served("/fn/alice/swiss")
    at_start = wait_answer(host, "/fn/alice/swiss?head&process",
                           lambda text: f"KEY={SECRET}\n" in text)
    assert "OTHER=param\n" in at_start
    params = host.fetch("/fn/alice/swiss?head&environ").body.decode()
    assert "PLAIN=seen" in params and SECRET not in params
    secret_file(host, "alice/swiss.env", "KEY=next\n")
    at_start = wait_answer(host, "/fn/alice/swiss?head&process",
                           lambda text: "KEY=next\n" in text)
    assert SECRET not in at_start


def test_the_functions_file_wins_over_the_sidecars_and_that_over_the_tenants(host):
    for name, text in (("t", "KEY=tenant\nOTHER=tenant\n"), ("f", "KEY=function\n")):
        path = host.dir / f"{name}.env"
        path.write_text(text)
        path.chmod(0o600)
        host.own(path)
    host.configure({"tenant bob": {"env_file": host.dir / "t.env",
                                   "env.key": "plain"}})
    assert host.verb("reload").returncode == 0
    wait_body(host, "/fn/bob/show", "tenant|tenant")
    secret_file(host, "bob/.env", "KEY=sidecar\nOTHER=sidecar\n")
    host.sidecar("bob/show", env_file=".env")
    wait_body(host, "/fn/bob/show", "sidecar|sidecar")
    host.configure({"function bob/show": {"env_file": host.dir / "f.env"}})
    assert host.verb("reload").returncode == 0
    wait_body(host, "/fn/bob/show", "function|sidecar")
    # what the administrator changes is seen by a reload
    (host.dir / "f.env").write_text("KEY=later\n")
    assert host.verb("reload").returncode == 0
    wait_body(host, "/fn/bob/show", "later|sidecar")


def test_a_reload_retires_who_has_an_old_secret_of_the_administrators(
        host, programs):
    path = host.dir / "warm.env"
    path.write_text("KEY=one\n")
    path.chmod(0o600)
    host.own(path)
    host.add("warm.fcgi", programs.fcgi)
    host.add("other.fcgi", programs.fcgi)
    host.configure({"function warm": {"env_file": path, "idle": "1h"},
                    "function other": {"idle": "1h"}})
    assert host.verb("reload").returncode == 0
    host.wait_served("/fn/warm")
    host.wait_served("/fn/other?head")
    assert "KEY=one\n" in host.fetch("/fn/warm?head&process").text
    path.write_text("KEY=two\n")
    assert host.verb("reload").returncode == 0
    # who asks then is served by it; whom it does not concern goes on
    assert "KEY=two\n" in host.fetch("/fn/warm?head&process").text
    assert host.execute("/fn/other?head")[1]["start"] == "warm"


@pytest.mark.parametrize("make, part", [
    (lambda path: path.chmod(0o644), "chmod 600"),
    (lambda path: path.unlink(), "no such file"),
    (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "is a link"),
    (lambda path: path.write_text("A=" + "x" * 65536), "larger than 64 KiB"),
    (lambda path: (path.unlink(), path.mkdir()), "no regular file"),
], ids=["mode", "missing", "link", "size", "folder"])
def test_what_is_wrong_with_the_file_stands_in_list(host, make, part):
    path = host.functions / "alice/bad.env"
    host.add("alice/bad.sh", SHOW)
    secret_file(host, "alice/bad.env", f"KEY={SECRET}\n")
    host.sidecar("alice/bad", env_file="bad.env")
    wait_body(host, "/fn/alice/bad", f"{SECRET}|")
    make(path)
    try:
        wait_said(host, "alice/bad", part)
    finally:
        if path.is_dir():
            path.rmdir()


def test_a_sidecar_names_no_file_elsewhere(host):
    host.add("alice/far.sh", SHOW)
    host.sidecar("alice/far", env_file="../bob/.env")
    wait_said(host, "alice/far", "far.ini:2")
    host.sidecar("alice/far", env_file="/etc/shadow")
    wait_said(host, "alice/far", "far.ini:2")


def test_a_second_name_of_a_secret_is_not_opened(host):
    """A tenant could give a name of his own to a file of root's."""
    host.add("alice/second.sh", SHOW)
    secret_file(host, "alice/second.env", f"KEY={SECRET}\n")
    os.link(host.functions / "alice/second.env", host.dir / "first")
    host.sidecar("alice/second", env_file="second.env")
    host.wait_served("/fn/alice/second", status=502)
    host.wait_log("event=start_failed function=alice/second .*has a second name")


@pytest.mark.parametrize("text, part", [
    (f"A=1\n{SECRET}\n", "line 2: no = in it"),
    (f"A=1\nA={SECRET}\n", "line 2: a variable of that name stands above"),
    (f"ld_preload={SECRET}\n", "line 1: a function cannot be given"),
], ids=["line", "twice", "name"])
def test_what_is_wrong_in_the_text_is_told_by_its_line_in_the_log(host, text, part):
    host.add("alice/wrong.sh", SHOW)
    secret_file(host, "alice/wrong.env", text)
    host.sidecar("alice/wrong", env_file="wrong.env")
    host.wait_served("/fn/alice/wrong", status=502)
    request_id = f"wrong-{abs(hash(text))}"
    answer = host.fetch("/fn/alice/wrong", REQUEST_ID=request_id)
    assert SECRET.encode() not in answer.body
    host.wait_log(f"event=stderr request={request_id} function=alice/wrong .*"
                  f"env_file of its sidecar, {part}")
    assert SECRET not in host.log()
    secret_file(host, "alice/wrong.env", "KEY=right\n")
    wait_body(host, "/fn/alice/wrong", "right|")


def test_one_of_the_administrators_that_cannot_be_used_is_told_by_check_and_log(host):
    host.add("carol/show.sh", SHOW)
    path = host.dir / "none.env"
    host.configure({"tenant carol": {"env_file": path}})
    assert host.verb("reload").returncode == 0
    said = host.verb("check").stdout
    assert f"[tenant carol] env_file: {path}: No such file" in said
    host.wait_served("/fn/carol/show", status=502)
    host.wait_log(r"event=start_failed .*none\.env: there is no such file")
    path.write_text(f"KEY={SECRET}\n")
    path.chmod(0o640)
    host.own(path)
    assert f"{path}: others may read it: chmod 600" in host.verb("check").stdout
    path.chmod(0o600)
    host.verb("reload")
    wait_body(host, "/fn/carol/show", f"{SECRET}|")
    assert "[tenant carol] env_file" not in host.verb("check").stdout


def test_no_other_user_sees_the_environment_of_the_process(host):
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root can become another user")
    secret_file(host, "alice/swiss.env", f"KEY={SECRET}\n")
    host.sidecar("alice/swiss", env_file="swiss.env")
    wait_answer(host, "/fn/alice/swiss?head&process",
                lambda text: f"KEY={SECRET}\n" in text)
    mine = [pid for pid in host.instances()
            if SECRET.encode() in proc.environ(pid)]
    assert mine
    for pid in mine:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "cat",
             f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert b"Permission denied" in done.stderr
        assert SECRET.encode() not in done.stdout


def test_a_secret_is_in_no_memory_of_the_host_and_in_nothing_that_it_writes(
        host, programs):
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root reads the memory of these programs")
    if host.installed.is_sanitized:
        pytest.skip("NOT RUN: a sanitizer's table of all memory is too large to be "
                    "read")
    secret = "rare-" + os.urandom(8).hex()
    # an answer is in the host's memory: so one tells the length alone
    host.add("alice/mute.sh", SHOW.replace("$KEY", "${#KEY}"))
    host.add("alice/mute2.fcgi", programs.fcgi)
    secret_file(host, "alice/mute.env", f"KEY={secret}\n")
    host.sidecar("alice/mute", env_file="mute.env", idle="1h")
    host.sidecar("alice/mute2", env_file="mute.env", idle="1h")
    wait_body(host, "/fn/alice/mute", f"{len(secret)}|")
    host.wait_served("/fn/alice/mute2")
    leaks.at_rest(host)
    found = {proc.program(pid)
             for pid in [host.pid, *proc.descendants(host.pid)]
             for _, _, data in proc.memory(pid) if secret.encode() in data}
    assert found == {"mute2.fcgi"}
    told = host.log() + host.verb("status", "--json").stdout + \
        host.verb("list", "--json").stdout + \
        "".join(path.read_text() for path in host.ledgers())
    assert secret not in told
