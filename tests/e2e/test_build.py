"""A runtime's build: a program is made of a function's file in its sandbox, once for a
version, and served from there."""
import json
import os
import time

import pytest

from lib import chost, host as host_room

HELLO = chost.HANDLER % '\treturn fcgi_puts(request, "%s");'


def sections(place):
    return host_room.RUNTIMES + place.section("c") + SHELL


# A language whose build is what its file says, in the place of a compiler that was
# taken over.
SHELL = """
[runtime made]
extensions = made
protocol = cgi
build = /bin/sh %f
command = /build/program
"""


@pytest.fixture(scope="module")
def host(start, place):
    return start.host({"work.c": (chost.SOURCES / "work.c").read_text()},
                      runtimes=sections(place))


def program(*lines):
    """A build that writes a CGI program of these lines."""
    text = "\n".join(("#!/bin/sh", r"printf 'Content-Type: text/plain\n\n'", *lines))
    return f"cat > /build/program <<'END'\n{text}\nEND\n"


def put(host, name, *lines, before=""):
    host.add(f"{name}.made", before + program(*lines), 0o644)


def listed(host, name):
    found = [one for one in map(json.loads, host.verb(
        "list", "--json").stdout.splitlines()) if one["function"] == name]
    assert len(found) == 1, found
    return found[0]


def said(host, name, state="unsound"):
    """What list says of a build."""
    row = listed(host, name)
    assert (row["check"], row["problem"]) == (state, None), row
    return row["check_detail"]


def builds(host, name, count=1):
    """The records of the function's builds, when there are so many."""
    until = time.monotonic() + 30
    while True:
        found = [one for one in host.books.all() if one.get("reason") == "build"
                 and one["function"] == name]
        if len(found) >= count:
            return found
        assert time.monotonic() < until, (count, found, host.log()[-2000:])
        time.sleep(0.02)


def files(host):
    return {path.name: path.stat() for path in (host.state / "built").iterdir()}


# --------------------------------------------------------------------------- C

def test_a_file_in_c_is_served_when_it_is_dropped(host):
    answer = host.wait_served("/fn/work")
    assert answer.text.startswith("hello")
    assert said(host, "work", "sound") is None
    record, = builds(host, "work")
    assert (record["exit"], record["signal"], record["executions"]) == (0, None, 0)
    assert record["idle_cpu_us"] > 1000


def test_the_compiler_s_errors_stand_in_list_and_no_visitor_sees_them(host):
    host.add("wrong.c", "int x;\nint y z;\n", 0o644)
    answer = host.wait_served("/fn/wrong", status=500)
    assert answer.text == "the function's program could not be built\n"
    assert said(host, "wrong").startswith("wrong.c:2:7: error: expected")
    host.wait_log(r'event=check function=wrong .*why="wrong\.c:2:7: error')
    record = host.execute("/fn/wrong")[1]
    assert (record["outcome"], record["billed_ms"]) == ("refused", 0)


def test_what_failed_is_not_tried_again_until_it_has_changed(host):
    host.add("mended.c", "int x", 0o644)
    for _ in range(5):
        host.wait_served("/fn/mended", status=500)
    assert len(builds(host, "mended")) == 1
    host.add("mended.c", HELLO % "mended", 0o644)
    assert host.wait_served("/fn/mended").text == "mended"
    assert len(builds(host, "mended", 2)) == 2


def test_a_folder_s_other_files_are_parts_of_it(host):
    folder = host.functions / "sum"
    folder.mkdir()
    (folder / "part.c").write_text("int sum(void)\n{\n\treturn 42;\n}\n")
    (folder / "main.c").write_text("int sum(void);\n" + chost.HANDLER %
                                   '\treturn fcgi_printf(request, "%d", sum());')
    assert host.wait_served("/fn/sum").text == "42"


def test_a_new_version_serves_when_it_is_built(host):
    for word in ("one", "two", "three"):
        host.add("fresh.c", HELLO % word, 0o644)
        until = time.monotonic() + 30
        while host.wait_served("/fn/fresh").text != word:
            assert time.monotonic() < until, "the old version goes on"
            time.sleep(0.02)


# ------------------------------------------------------------------ its program

def test_a_request_waits_for_a_build_that_is_made_once(host):
    put(host, "slow", "echo served", before="sleep 1\n")
    deadline = time.monotonic() + 30
    while (answer := host.fetch("/fn/slow")).status == 404:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (answer.status, answer.text) == (200, "served\n")
    assert len(builds(host, "slow")) == 1


def test_two_functions_of_the_same_contents_share_no_file(host):
    put(host, "twin-a", "stat -c %i /build/program")
    put(host, "twin-b", "stat -c %i /build/program")
    assert host.wait_served("/fn/twin-a").text != \
        host.wait_served("/fn/twin-b").text


def test_a_program_is_its_tenant_s_and_nobody_s_to_change(host):
    (host.functions / "alice").mkdir()
    put(host, "alice/own", "echo x 2>/dev/null > /build/program && echo written",
        "chmod 777 /build/program 2>/dev/null && echo changed",
        "rm -f /build/program 2>/dev/null && echo removed",
        "touch /build/other 2>/dev/null && echo added", "ls /build",
        "stat -c '%u %a' /build/program; id -u")
    lines = host.wait_served("/fn/alice/own").text.split("\n")
    assert lines[0] == "program" and lines[1] == f"{lines[2]} 700", lines
    assert int(lines[2]) >= 1900000000


def test_a_program_is_gone_with_its_function(host):
    put(host, "leaves", "stat -c %i /build/program")
    inode = int(host.wait_served("/fn/leaves").text)
    assert inode in [st.st_ino for st in files(host).values()]
    (host.functions / "leaves.made").unlink()
    until = time.monotonic() + 30
    while inode in [st.st_ino for st in files(host).values()]:
        assert time.monotonic() < until, "its program is still there"
        time.sleep(0.02)


# -------------------------------------------------------------- hostile builds

def fail(host, name, text):
    """What list says of a build that fails."""
    host.add(f"{name}.made", text, 0o644)
    host.wait_served(f"/fn/{name}", status=500)
    return said(host, name)


def test_a_build_makes_nothing_but_its_one_file(host):
    before = set(files(host))
    found = fail(host, "maker", "cd /build; for c in 'ln -s /etc/passwd x' "
                 "'mkfifo x' 'mkdir x' 'touch x' 'ln program x' 'rm -f program' "
                 "'mv program x'; do $c 2>/dev/null && echo did $c; done\n"
                 "ls -a /build; exit 1\n")
    assert found == ".; ..; program"
    made = {name: st for name, st in files(host).items() if name not in before}
    assert all(os.path.stat.S_ISREG(st.st_mode) and st.st_nlink == 1
               for st in made.values())


def test_a_build_runs_nothing_of_what_it_has_written(host):
    found = fail(host, "runner", "printf '#!/bin/sh\\necho it runs\\n' > "
                 "/build/program\n/build/program 2>&1 | grep -o -e 'it runs' -e "
                 "'Permission denied'\nexit 1\n")
    assert found == "Permission denied"


def test_a_build_has_no_data_no_network_and_no_secrets(host):
    secrets = host.functions / "bare.env"
    secrets.write_text("SECRET_WORD=treasure\n")
    secrets.chmod(0o600)
    host.sidecar("bare", env_file="bare.env")
    found = fail(host, "bare", "ls -d /data; env | grep SECRET; "
                 "tail -n +3 /proc/net/dev | grep -v lo:; ls /fn; exit 1\n")
    assert "treasure" not in found and "bare.made" in found
    assert found.startswith("ls: cannot access '/data'"), found


def test_a_file_of_gigabytes_is_cut_off(host):
    before = set(files(host))
    found = fail(host, "giant", "head -c 3000000000 /dev/zero > /build/program; "
                 "code=$?; stat -c %s /build/program; exit $code\n")
    assert "33554432" in found or "File size" in found, found
    assert all(st.st_size <= 32 << 20 for name, st in files(host).items()
               if name not in before)


def test_a_build_takes_no_room_of_the_disk_behind_the_end_of_its_file(host):
    before = set(files(host))
    found = fail(host, "hoard", "fallocate -n -l 64M /build/program 2>&1\n"
                 "fallocate -z -n -l 64M /build/program 2>&1\n"
                 "stat -c 'it has %b blocks' /build/program; exit 1\n")
    assert found.endswith("it has 0 blocks"), found
    assert all(st.st_blocks * 512 <= 32 << 20 for name, st in
               files(host).items() if name not in before)


def test_a_writer_that_stays_behind_has_no_part_in_the_program(host):
    text = ("(trap '' HUP TERM; while :; do echo evil; done > /dev/null) &\n"
            "exec 9<> /build/program\n"
            "(trap '' HUP TERM; sleep 3; echo evil >&9; sleep 60) &\n" +
            program("echo good; cat /build/program | grep -c evil"))
    host.add("stays.made", text, 0o644)
    assert host.wait_served("/fn/stays").text == "good\n1\n"
    time.sleep(3.2)  # until it would have written
    assert host.wait_served("/fn/stays").text == "good\n1\n"


def test_a_build_that_takes_all_memory_harms_itself_alone(host):
    found = fail(host, "greedy", "x=x; while :; do x=$x$x; done\n")
    assert found
    assert host.wait_served("/fn/work").status == 200


def test_a_build_without_end_is_ended(host):
    host.add("endless.made", "while :; do :; done\n", 0o644)
    until = time.monotonic() + 60
    while host.fetch("/fn/endless").status != 500:
        assert time.monotonic() < until
    assert said(host, "endless") == "the build did not end within 10 s"
    record, = builds(host, "endless")
    assert record["idle_cpu_us"] > 100000


def test_what_is_no_program_is_a_502(host):
    host.add("nothing.made", "exit 0\n", 0o644)
    host.wait_served("/fn/nothing", status=502)


# ------------------------------------------------------- what changes around it

def test_a_gateway_s_successor_has_all_built_anew(start, place):
    host = start.host({"hello.c": HELLO % "again"}, runtimes=sections(place))
    assert host.wait_served("/fn/hello").text == "again"
    os.kill(host.wait_role("gateway"), 9)
    assert host.wait_served("/fn/hello").text == "again"


def test_a_host_s_successor_removes_what_is_left_and_builds_anew(start, place):
    host = start.host({"hello.c": HELLO % "again"}, runtimes=sections(place))
    host.wait_served("/fn/hello")
    host.stop()
    assert files(host) == {}
    (host.state / "built/left").write_text("of one that was killed")
    host.start()
    assert host.wait_served("/fn/hello").text == "again"
    assert set(files(host)) == {"1"}


def test_a_reload_that_says_another_build_has_all_built_anew(start, place):
    host = start.host(runtimes=sections(place))
    put(host, "same", "echo $WORD")
    host.wait_served("/fn/same")
    host.runtimes = host.runtimes.replace("build = /bin/sh %f",
                                          "build = /bin/sh -x %f")
    host.configure({})
    assert host.verb("reload").returncode == 0
    assert host.wait_served("/fn/same").status == 200
    assert len(builds(host, "same", 2)) == 2


def test_a_shell_shows_what_could_not_be_built_and_what_could(host):
    host.add("look.made", "exit 1\n", 0o644)
    host.wait_served("/fn/look", status=500)
    done = host.verb("shell", "look", "--", "sh", "-c", "ls /fn /build; exit 3")
    assert done.returncode == 3 and "look.made" in done.stdout, done
    put(host, "look", "echo fine")
    host.wait_served("/fn/look")
    done = host.verb("shell", "look", "--", "/build/program")
    assert done.stdout.endswith("fine\n"), done


@pytest.mark.any_user
def test_an_ordinary_user_s_host_builds_as_root_s_does(start, place, as_user):
    host = start.host({"hello.c": HELLO % "mine"}, runtimes=sections(place),
                      as_user=as_user)
    assert host.wait_served("/fn/hello").text == "mine"
    host.add("wrong.c", "int x", 0o644)
    host.wait_served("/fn/wrong", status=500)
    assert said(host, "wrong").startswith("wrong.c:1:")


def test_a_reload_that_means_nothing_to_it_builds_nothing_anew(start, place):
    """What changes nothing for a function leaves its program."""
    host = start.host(runtimes=sections(place))
    put(host, "rests", "stat -c %i /build/program")
    inode = host.wait_served("/fn/rests").text
    host.configure({"function another": {"idle": "1s"}})
    assert host.verb("reload").returncode == 0
    assert host.wait_served("/fn/rests").text == inode
    assert len(builds(host, "rests")) == 1
