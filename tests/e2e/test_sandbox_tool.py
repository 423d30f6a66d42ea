"""fcgi-host-sandbox: a command in the sandbox of a function, without the host."""
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from lib import host as host_room
from lib import image
from lib import proc

NOBODYS = 1900065536
DENIED = ("1", "3", "4", "10", "11", "17", "24", "25", "26", "status")


class Tool:
    """The program, started as an administrator does."""

    def __init__(self, installed, become=()):
        self.installed = installed
        self.become = become

    def start(self, *words, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            [*self.become, str(self.installed.sandbox), *map(str, words)],
            env=self.installed.environment(FH_TEST_MARKER="caller"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def run(self, *words, data=b"", timeout=30):
        """(exit status, output, error) as text."""
        with self.start(*words, stdin=subprocess.PIPE) as process:
            out, error = process.communicate(data, timeout)
        return process.returncode, out.decode(), error.decode()

    def shell(self, *words):
        """Output of a script that must succeed; options may stand before."""
        code, out, error = self.run("-q", *words[:-1], "sh", "-c", words[-1])
        assert (code, error) == (0, ""), (code, out, error)
        return out


@pytest.fixture(scope="module")
def tool(installed):
    return Tool(installed)


@pytest.fixture(scope="module")
def users(reachable):
    """The same, as an ordinary user starts it."""
    return Tool(reachable, host_room.become_user())


def kept():
    """The leaves below the own cgroup, which a run could leave on the host."""
    group = proc.cgroup_v2(os.getpid())
    return [] if group is None else sorted(
        path.name for path in group.glob("fcgi-host-sandbox-*"))


def leaf_of(process):
    return f"fcgi-host-sandbox-{process.pid}"


def processes_of(uid):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid == uid and proc.is_alive(pid):
                found.append(pid)
        except FileNotFoundError:
            pass
    return found


# --------------------------------------------------------------- passed on


def test_input_and_both_outputs_are_passed_on(tool):
    code, out, error = tool.run("-q", "sh", "-c", "cat; echo no >&2",
                                data=b"in\n")
    assert (code, out, error) == (0, "in\n", "no\n")


def test_a_megabyte_goes_through_unchanged(tool):
    data = os.urandom(1 << 20)
    with tool.start("-q", "cat", stdin=subprocess.PIPE) as process:
        out, _ = process.communicate(data, 30)
    assert out == data


@pytest.mark.parametrize("script, code", [
    ("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137),
    ("kill -TERM $$", 143)])
def test_the_exit_status_is_that_of_the_command(tool, script, code):
    assert tool.run("-q", "sh", "-c", script)[0] == code


def test_a_command_that_is_not_there_is_127_and_no_program_126(tool, tmp_path):
    code, _, error = tool.run("-q", "no-such-command")
    assert code == 127 and "no-such-command: No such file" in error
    plain = tmp_path / "plain"
    plain.write_text("no program\n")
    plain.chmod(0o644)
    code, _, error = tool.run("-q", "-f", plain, "./plain")
    assert code == 126 and "./plain: Permission denied" in error


def test_options_of_the_command_are_its_own(tool):
    assert tool.run("-q", "echo", "-m", "--help")[1] == "-m --help\n"
    assert tool.run("-q", "--", "echo", "-n", "x")[1] == "x"


# ------------------------------------------------------------- the profile


def test_the_environment_is_only_what_is_said(tool):
    seen = tool.shell("-e", "A=1", "-e", "A=2", "-e", "HOME=/data", "env")
    assert sorted(line for line in seen.splitlines()
                  if not line.startswith(("PWD=", "OLDPWD=", "_="))) == [
        "A=2", "HOME=/data", "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=/tmp"]


def test_nothing_of_the_callers_is_open(tool, tmp_path):
    with open(tmp_path / "secret", "w", encoding="ascii") as secret:
        with tool.start("-q", "ls", "/proc/self/fd",
                        pass_fds=[secret.fileno()]) as process:
            out, _ = process.communicate(timeout=30)
    # 3 is the folder that ls reads
    assert out.split() == [b"0", b"1", b"2", b"3"]


def test_the_user_is_nobody_or_who_is_named(tool):
    assert tool.shell("id -u; id -g; id -G").split() == 3 * [str(NOBODYS)]
    account = pwd.getpwnam("nobody")
    assert tool.shell("-u", "nobody", "id -u; id -G").split() == [
        str(account.pw_uid), str(account.pw_gid)]
    assert tool.shell("-u", "70000:70001", "id -u; id -g").split() == [
        "70000", "70001"]


def test_a_folder_and_a_file_stand_read_only_in_fn(tool, tmp_path):
    tmp_path.chmod(0o755)
    program = tmp_path / "p.sh"
    program.write_text("#!/bin/sh\npwd; ls; echo x > p.sh || echo refused\n")
    program.chmod(0o755)
    (tmp_path / "other").write_text("")
    code, out, _ = tool.run("-q", "-f", tmp_path, "./p.sh")
    assert (code, out.split()) == (0, ["/fn", "other", "p.sh", "refused"])
    code, out, _ = tool.run("-q", "-f", program, "/fn/p.sh")
    assert (code, out.split()) == (0, ["/fn", "p.sh", "refused"])


@pytest.fixture
def apart():
    """A folder that is not below one of the sandbox's own."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_data_and_binds_are_where_they_are_said_to_be(tool, apart):
    for name in ("data", "open", "shut"):
        (apart / name).mkdir()
        os.chown(apart / name, NOBODYS, NOBODYS)
    code, out, error = tool.run(
        "-q", "-d", apart / "data", "-b", f"{apart}/open:rw", "-b",
        f"{apart}/shut", "sh", "-c", f"echo 1 > /data/a; "
        f"echo 2 > {apart}/open/b; echo 3 > {apart}/shut/c")
    assert code != 0 and "Read-only file system" in error, (out, error)
    assert (apart / "data/a").read_text() == "1\n"
    assert (apart / "open/b").read_text() == "2\n"
    assert not list((apart / "shut").iterdir())


def test_a_bind_that_has_no_place_is_said_to_have_none(tool, tmp_path):
    code, _, error = tool.run("-q", "-b", tmp_path, "true")
    assert code == 125 and "not below /tmp" in error, error


def test_with_an_image_its_programs_stand_there_instead_of_the_hosts(
        tool, apart):
    made = image.build(apart / "image", "sh", "ls", "cat")
    (made / "usr/share/mark").write_text("of the image\n")
    (apart / "seen").write_text("of the host\n")
    out = tool.shell("-r", made, "-b", apart / "seen",
                     f"cat /usr/share/mark {apart}/seen; ls /usr/bin")
    assert out.split("\n")[:2] == ["of the image", "of the host"]
    assert out.split()[6:] == ["cat", "ls", "sh"]
    assert tool.run("-q", "-r", made, "python3")[0] == 127


def test_an_image_that_cannot_be_used_is_refused_by_name(tool, apart):
    code, _, error = tool.run("-q", "-r", apart / "none", "sh")
    assert code == 125 and f"--rootfs {apart}/none: there is no" in error
    made = image.build(apart / "image", "sh")
    (made / "lib").unlink()
    (made / "lib").symlink_to("../../../etc")
    code, out, error = tool.run("-q", "-r", made, "sh", "-c", "echo ran")
    assert (code, out) == (125, "")
    assert f"--rootfs {made}/lib: a link to \"../../../etc\"" in error


def test_tmp_memory_and_processes_have_their_ceilings(tool):
    out = tool.shell("--tmp", "1M", "head -c 2M /dev/zero > /tmp/a 2>/dev/null;"
                     " stat -c %s /tmp/a")
    assert int(out) == 1 << 20
    code, _, error = tool.run(
        "-q", "-m", "64M", "python3", "-c", "x = bytearray(200 << 20)")
    assert code in (1, 137), error
    code, out, error = tool.run(
        "-q", "-p", "4", "sh", "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait")
    assert "fork" in error.lower(), (code, out, error)


@pytest.mark.parametrize("number", DENIED)
def test_the_hostile_program_is_denied_here_too(tool, installed, number):
    probe = installed.libexec / "tests/probes/probe"
    if not probe.exists():
        pytest.skip("NOT RUN: tests/probes/probe is not built; run make check")
    code, out, error = tool.run("-q", "-f", probe, "/fn/probe", number)
    assert code == 0 and f"probe {number}: denied" in out, (out, error)


def test_without_seccomp_its_hole_is_open_and_that_is_said_aloud(
        tool, installed):
    probe = installed.libexec / "tests/probes/probe"
    if not probe.exists():
        pytest.skip("NOT RUN: tests/probes/probe is not built; run make check")
    code, out, error = tool.run("-q", "--without", "seccomp", "-f", probe,
                                "/fn/probe", "11")
    assert code == 1 and "probe 11: HOLE" in out
    assert "WITHOUT THE LAYER seccomp" in error


@pytest.mark.parametrize("layer", ["mount", "pid"])
def test_the_tree_and_the_pid_namespace_cannot_be_left_out(tool, layer):
    code, _, error = tool.run("--without", layer, "true")
    assert code == 125 and "cannot be left out" in error


def test_layers_prints_each_and_runs_nothing(tool):
    code, out, error = tool.run("--layers", "--without", "net")
    assert (code, error) == (0, "")
    lines = {line.split()[1]: line.split()[2] for line in out.splitlines()}
    assert len(lines) == 14 and set(lines.values()) <= {"on", "off", "out"}
    assert lines["net"] == "out" and lines["mount"] == "on"
    assert [name for name, is_on in lines.items() if is_on == "out"] == ["net"]


def test_a_layer_that_is_missing_is_said_unless_quiet(tool):
    out = tool.run("--layers")[1]
    off = [line.split()[1] for line in out.splitlines() if " off " in line]
    if not off:
        pytest.skip("NOT RUN: this machine has every layer")
    error = tool.run("true")[2]
    for name in off:
        assert f"the layer {name} is off" in error
    assert tool.run("-q", "true")[2] == ""


def test_a_cgroup_that_is_named_holds_the_sandbox(tool):
    mount = proc.cgroup_v2_mount()
    if mount is None:
        pytest.skip("NOT RUN: cgroup v2 is not mounted")
    group = pathlib.Path(mount) / f"fh-test-{os.getpid()}"
    group.mkdir()
    try:
        with tool.start("-q", "--cgroup", group, "sh", "-c",
                        "echo in; read x; echo $x",
                        stdin=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"in\n"
            leaf, = [path for path in group.iterdir() if path.is_dir()]
            assert len((leaf / "cgroup.procs").read_text().split()) == 2
            out, _ = process.communicate(b"on\n", 30)
        assert (process.returncode, out) == (0, b"on\n")
        assert not [path for path in group.iterdir() if path.is_dir()]
    finally:
        group.rmdir()
    code, _, error = tool.run("-q", "--cgroup", "/tmp", "true")
    assert code == 125 and "no cgroup v2" in error


# --------------------------------------------------------------- its end


def test_what_the_command_left_running_is_gone_with_it(tool):
    process = tool.start("-q", "-u", "70006", "sh", "-c", "sleep 1000 & echo $!")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and out.strip().isdigit()
    assert not processes_of(70006)
    assert leaf_of(process) not in kept()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM,
                                    signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_to_the_tool_ends_the_sandbox(tool, number):
    with tool.start("-q", "-u", "70007", "sh", "-c",
                    "trap '' INT TERM HUP QUIT; echo up; sleep 1000 & wait"
                    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not processes_of(70007) and leaf_of(process) not in kept()


def test_a_tool_that_is_killed_takes_its_sandbox_along(tool):
    with tool.start("-q", "-u", "70008", "-f", "/usr/share", "sh", "-c",
                    "echo up; sleep 1000 & wait") as process:
        assert process.stdout.readline() == b"up\n"
        below = proc.descendants(process.pid)
        process.kill()
        process.communicate(timeout=30)
    until = time.monotonic() + 30
    while any(map(proc.is_alive, below)) and time.monotonic() < until:
        time.sleep(0.02)
    assert below and not processes_of(70008)
    assert tool.run("-q", "true")[0] == 0
    assert leaf_of(process) not in kept(), "it stays for ever"


# ------------------------------------------------------------- wrong use


@pytest.mark.parametrize("words, sentence", [
    ([], "say what to run"),
    (["--nonsense"], "--nonsense is no option"),
    (["-m", "12", "x"], "--memory 12: wanted is a number with K, M or G"),
    (["--cpu", "0", "x"], "--cpu 0: wanted"),
    (["-p", "-1", "x"], "--processes -1: wanted"),
    (["-u", "root", "x"], "none of them root's"),
    (["-u", "0:5", "x"], "none of them root's"),
    (["-b", "relative", "x"], "an absolute path"),
    (["-b", "/a/../etc", "x"], "an absolute path"),
    (["-e", "novalue", "x"], "NAME=VALUE"),
    (["--network", "egress", "x"], "--network egress: wanted is none, loopback, or"),
    (["--network", "/no/such", "x"], "--network /no/such: there is none"),
    (["--network", "/etc/passwd", "x"], "it is no network namespace"),
    (["--without", "nothing", "x"], "a name that --layers prints"),
    (["-r", "relative", "x"], "--rootfs relative: wanted is the absolute"),
    (["-r", "/", "x"], "--rootfs /: is the host's own tree"),
    (["-f", "/no/such", "x"], "--function /no/such: No such file"),
    (["-f", "/dev/null", "x"], "neither a file nor a folder"),
    (["-d", "/etc/passwd", "x"], "--data /etc/passwd: Not a directory"),
    (["-b", "/no/such", "x"], "--bind /no/such: No such file"),
])
def test_what_cannot_be_right_is_refused_with_a_sentence(tool, words, sentence):
    code, out, error = tool.run(*words)
    assert code == 125 and out == "" and sentence in error, error


# --------------------------------------------------------------- an ordinary user


@pytest.mark.any_user
def test_an_ordinary_user_has_one_too(users):
    script = "id -u; cat /proc/self/uid_map; ls /fn; cat /etc/shadow; " \
        "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status"
    code, out, error = users.run("-q", "sh", "-c", f"{script}; exit 5")
    assert (code, error) == (
        5, "cat: /etc/shadow: No such file or directory\n"), (out, error)
    number, ids, *status = out.split("\n")
    assert number == str(NOBODYS)
    # the only id that there is, and it is nobody's of the namespace around it
    assert ids.split() == [str(NOBODYS), "0", "1"]
    assert [line.split(":")[1].strip() for line in status if line] == [
        "0" * 16, "0" * 16, "1", "2"]


@pytest.mark.any_user
def test_what_is_weaker_for_an_ordinary_user_is_said(users):
    _, out, error = users.run("true")
    assert "the layer identity is off: " in error, (out, error)
    assert re.search(r"^layer identity +off", users.run("--layers")[1], re.M)


@pytest.mark.any_user
@pytest.mark.parametrize("probe", [one for one in DENIED if one != "status"])
def test_a_hostile_program_is_denied_in_a_users_too(users, programs, probe):
    with tempfile.TemporaryDirectory(prefix="fh-probe-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        shutil.copy(programs.probe, pathlib.Path(folder) / "probe")
        code, out, _ = users.run("-q", "-f", folder, "/fn/probe", probe)
    assert code == 0 and f"probe {probe}: denied" in out, out


@pytest.mark.any_user
def test_a_user_has_a_loopback_and_no_network_of_the_machines(users):
    listens = "import socket; s = socket.create_server(('127.0.0.1', 0)); " \
        "socket.create_connection(s.getsockname()); print('in')"
    code, out, error = users.run("-q", "--network", "loopback",
                                 "/usr/bin/python3", "-c", listens)
    assert (code, out) == (0, "in\n"), error
    code, _, error = users.run("-q", "--network", "/proc/self/ns/net", "true")
    assert code == 125 and "sudo" in error, error


@pytest.mark.any_user
def test_what_a_user_writes_to_data_is_his(users):
    with tempfile.TemporaryDirectory(prefix="fh-data-", dir="/tmp") as folder:
        if users.become:
            user = pwd.getpwnam(host_room.ACCOUNT)
            os.chown(folder, user.pw_uid, user.pw_gid)
        assert users.shell("-d", folder, "echo kept > /data/note") == ""
        note = pathlib.Path(folder) / "note"
        assert note.read_text() == "kept\n"
        assert note.stat().st_uid == os.stat(folder).st_uid
