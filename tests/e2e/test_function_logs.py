"""What functions write, in files of their own: one for each function, bounded,
rotated by the host, and its tenant's to read and nobody else's."""
import contextlib
import json
import os
import queue
import re
import signal
import stat
import subprocess
import threading
import time

import pytest

from lib import host as host_room

STEP = 64 * 1024  # so much a file is granted at a time, and counts at least
# Of the log of another tenant, and of his own: what there is of it here.
LOOKS = r"""#!/bin/sh
printf 'Content-Type: text/plain\n\n'
for path in %s; do
	if ls -d "$path" >/dev/null 2>&1; then echo "sees $path"; fi
	if cat "$path" >/dev/null 2>&1; then echo "reads $path"; fi
done
echo looked
"""


@contextlib.contextmanager
def function_host(start, functions, **keys):
    made = start.host(functions, is_started=False)
    made.function_logs = made.dir / "flogs"
    made.configure({"host": {"function_logs": made.function_logs, **keys}})
    made.start()
    yield made


@pytest.fixture
def host(start_once, programs):
    with function_host(start_once, {
            "top.cgi": programs.cgi, "alice/one.cgi": programs.cgi,
            "alice/deep/er.fcgi": programs.fcgi, "bob/one.cgi": programs.cgi},
            function_log_size="64K", function_log_keep="3") as made:
        yield made


def log_of(host, name):
    tenant, _, rest = (name if "/" in name else f"default/{name}").partition("/")
    return host.function_logs / tenant / (rest.replace("/", "+") + ".log")


def ask(host, mark, name="top"):
    """Has the function write a line; the id of the request."""
    request_id = host_room.new_id()
    answer = host.fetch(f"/fn/{name}?err={mark}&head", REQUEST_ID=request_id)
    assert answer.status == 200, answer
    host.books.wait_request(request_id)
    return request_id


def write(host, mark, name="top"):
    """The same, until it stands in the function's file."""
    request_id = ask(host, mark, name)
    wait_text(log_of(host, name), f'text="{mark}"')
    return request_id


def wait_text(path, text, timeout=30):
    """Until it stands in the file."""
    until = time.monotonic() + timeout
    while True:
        found = path.read_text() if path.exists() else ""
        if text in found:
            return found
        assert time.monotonic() < until, (path, found[-2000:])
        time.sleep(0.02)


def logs(host, *args, code=0, wrap=()):
    done = host.installed.run("logs", "-c", host.ini_path, *args,
                              wrap=[*wrap, *host.become])
    assert done.returncode == code, (done.stdout[-500:], done.stderr)
    return done.stdout.splitlines()


def marks(lines):
    return [line.split()[-1] for line in lines]


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


def test_each_function_has_a_file_and_the_hosts_log_has_none_of_their_lines(host):
    mine = write(host, "of-top")
    write(host, "of-alice", "alice/one")
    write(host, "of-deep", "alice/deep/er")
    write(host, "of-bob", "bob/one")
    text = wait_text(host.function_logs / "default/top.log", "of-top")
    assert re.fullmatch(r'time=\S+Z level=info role=gateway event=stderr request=' +
                        mine + r' function=top instance=\d+ cut=0 text="of-top"\n',
                        text)
    wait_text(host.function_logs / "alice/one.log", "of-alice")
    wait_text(host.function_logs / "alice/deep+er.log", "of-deep")
    wait_text(host.function_logs / "bob/one.log", "of-bob")
    assert files_of(host.function_logs / "alice") == ["deep+er.log", "one.log"]
    assert "event=stderr" not in host.log() and "of-top" not in host.log()


def test_logs_shows_one_function_or_all_or_one_request(host):
    write(host, "first", "alice/one")
    mine = write(host, "second", "alice/deep/er")
    write(host, "third", "alice/one")
    assert marks(logs(host, "alice/one")) == ["first", "third"]
    assert marks(logs(host)) == ["second", "first", "third"]  # by their names
    assert marks(logs(host, "-n", "2")) == ["second", "third"]  # by their time
    [line] = logs(host, "--request", mine)
    assert line.endswith(f"Z alice/deep/er {mine} second")
    [fact] = logs(host, "--json", "--request", mine)
    assert json.loads(fact)["text"] == "second"
    assert logs(host, "alice/never") == []


def test_a_function_without_a_log_is_told(host):
    write(host, "written")
    done = host.verb("logs", "topp")
    assert (done.returncode, done.stdout) == (0, "")
    assert "there is no log of topp" in done.stderr
    assert host.verb("logs", "top").stderr == ""


def test_the_hosts_own_log_is_shown_where_that_is_asked_for(start_once, programs):
    made = start_once.host({"alice/one.cgi": programs.cgi}, is_started=False)
    made.function_logs = made.dir / "flogs"
    made.configure({"host": {"function_logs": made.function_logs,
                             "log": made.log_dir / "host.log"}})
    made.start()
    write(made, "its-own", "alice/one")
    request_id = host_room.new_id()
    made.fetch("/fn/alice/one?exit=3", REQUEST_ID=request_id)
    made.books.wait_request(request_id)
    [line] = logs(made, "--host", "alice/one")
    assert "fcgi-host: execution" in line and request_id in line


def test_why_a_request_failed_stands_in_its_functions_file_too(host):
    request_id = host_room.new_id()
    host.fetch("/fn/alice/one?exit=3", REQUEST_ID=request_id)
    host.books.wait_request(request_id)
    wait_text(host.function_logs / "alice/one.log", "event=execution")
    [line] = logs(host, "--request", request_id)
    assert "fcgi-host: execution" in line and "status=502" in line
    assert request_id in host.log()


class Follower:
    """`logs -f`: the lines that it has shown."""

    def __init__(self, host, *args):
        self.process = subprocess.Popen(
            [*host.become, str(host.installed.command), "logs", "-c",
             str(host.ini_path), "-f", *args], text=True,
            env=host.installed.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def until(self, mark):
        """All up to this one."""
        found = []
        while not found or mark not in found[-1]:
            found.append(self.lines.get(timeout=30))
        return found

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def follow(host):
    made = []

    def begin(*args):
        made.append(Follower(host, *args))
        return made[-1]

    yield begin
    for follower in made:
        follower.end()


def flood(host, name, laps, request_id=None):
    """Some 150 KB of lines, numbered."""
    for lap in range(laps):
        marks_ = "&".join(f"err=line-{lap:02d}-{i:03d}-{'x' * 80}"
                          for i in range(60))
        host.fetch(f"/fn/{name}?{marks_}&head",
                   REQUEST_ID=request_id or host_room.new_id())


def numbers(lines):
    return re.findall(r"line-(\d\d-\d\d\d)-x", "\n".join(lines))


ALL = [f"{lap:02d}-{i:03d}" for lap in range(13) for i in range(60)]


def test_no_line_is_lost_where_a_file_is_rotated_while_it_is_followed(host, follow):
    write(host, "begun", "alice/one")
    follower = follow("alice/one")
    assert marks(follower.until("begun")) == ["begun"]
    flood(host, "alice/one", 13)
    write(host, "the-end", "alice/one")
    shown = follower.until("the-end")
    assert numbers(shown) == ALL
    assert "one.log.1" in files_of(host.function_logs / "alice")
    assert numbers(logs(host, "alice/one")) == ALL


def test_a_request_is_found_in_rotated_files(host):
    request_id = host_room.new_id()
    flood(host, "alice/one", 13, request_id)
    wait_text(host.function_logs / "alice/one.log", "line-12-059")
    assert "one.log.1" in files_of(host.function_logs / "alice")
    assert numbers(logs(host, "--request", request_id)) == ALL
    assert numbers(logs(host, "--request", request_id, "-n", "3")) == ALL[-3:]


def test_all_functions_are_followed_also_those_that_begin_later(host, follow):
    write(host, "known", "alice/one")
    follower = follow()
    follower.until("known")
    write(host, "new-one", "bob/one")
    follower.until("new-one")
    write(host, "again", "alice/one")
    follower.until("again")


def test_older_files_are_bounded_in_size_and_number(host):
    """Some 400 KB, of which there is room for 256."""
    for _ in range(50):
        answer = host.fetch("/fn/alice/deep/er?" + 8 * ("err=" + 900 * "x" + "&") +
                            "head")
        assert answer.status == 200
    write(host, "done", "alice/deep/er")
    folder = host.function_logs / "alice"
    assert files_of(folder) == ["deep+er.log"] + \
        [f"deep+er.log.{i}" for i in (1, 2, 3)]
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert max(sizes) <= STEP and sum(sizes) > 3 * STEP - 3 * 4096


# ------------------------------------------------------------------- who may read


def ids_of(host, tenant):
    found = re.search(rf"^{tenant} (\d+)$", (host.state / "tenants").read_text(),
                      re.M)
    return int(found[1])


def as_tenant(number):
    return ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]


def test_a_tenant_reads_his_own_and_another_reads_nothing(host):
    write(host, "of-alice", "alice/one")
    write(host, "of-bob", "bob/one")
    alice, bob = ids_of(host, "alice"), ids_of(host, "bob")
    for tenant, number in (("alice", alice), ("bob", bob)):
        folder = (host.function_logs / tenant).stat()
        log = (host.function_logs / tenant / "one.log").stat()
        assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == \
            (0, number, 0o750)
        assert (log.st_uid, log.st_gid, stat.S_IMODE(log.st_mode)) == \
            (0, number, 0o640)
    assert marks(logs(host, "alice/one", wrap=as_tenant(alice))) == ["of-alice"]
    assert marks(logs(host, wrap=as_tenant(alice))) == ["of-alice"]
    done = host.installed.run("logs", "-c", host.ini_path, "bob/one",
                              wrap=as_tenant(alice))
    assert done.returncode == 1 and done.stdout == ""
    assert "root and its tenant's account may read it" in done.stderr
    done = subprocess.run([*as_tenant(alice), "ls", host.function_logs / "bob"],
                          capture_output=True, text=True, check=False)
    assert "Permission denied" in done.stderr


def test_a_tenant_writes_and_removes_nothing_there(host):
    write(host, "of-alice", "alice/one")
    log = host.function_logs / "alice/one.log"
    wait_text(log, "of-alice")
    for command in (f"echo x >> {log}", f"rm -f {log}",
                    f"ln -s /etc/passwd {log.parent}/two.log",
                    f"mv {log} {log}.9", f"chmod 777 {log}"):
        done = subprocess.run(
            [*as_tenant(ids_of(host, "alice")), "sh", "-c", command],
            capture_output=True, text=True, check=False)
        assert done.returncode != 0, command
    assert "of-alice" in log.read_text()


def test_no_function_sees_a_log_in_its_sandbox(host):
    write(host, "of-bob", "bob/one")
    log = wait_text(host.function_logs / "bob/one.log", "of-bob")
    assert log
    host.add("alice/looks.sh", LOOKS % " ".join(
        str(host.function_logs / path) for path in ("", "bob", "bob/one.log",
                                                    "alice/one.log")))
    assert host.wait_served("/fn/alice/looks").text == "looked\n"


@pytest.mark.any_user
def test_who_starts_a_host_of_his_own_has_its_functions_logs(start_once, programs):
    made = start_once.host({"top.cgi": programs.cgi, "alice/one.cgi": programs.cgi},
                           is_started=False, as_user=True)
    made.function_logs = made.dir / "flogs"
    made.configure({"host": {"function_logs": made.function_logs,
                             "function_log_size": "64K"}})
    made.start()
    write(made, "his", "alice/one")
    folder = (made.function_logs / "alice").stat()
    assert folder.st_uid == made.functions.stat().st_uid
    assert stat.S_IMODE(folder.st_mode) == 0o700
    flood(made, "alice/one", 13)
    write(made, "end", "alice/one")
    assert "one.log.1" in files_of(made.function_logs / "alice")
    assert numbers(logs(made, "alice/one")) == ALL
    assert "up to 64K each" in made.verb("check").stdout


# ------------------------------------------------------------- what may go wrong


def settle(host, mark):
    """Until what was asked for so far has been answered: another's log, that has to
    be opened anew, is asked for behind it."""
    assert host.verb("reopen").returncode == 0
    write(host, mark)


def test_what_the_host_did_not_make_is_not_written_to(host):
    victim = host.dir / "victim"
    victim.write_text("as it was\n")
    log = log_of(host, "alice/one")
    write(host, "first", "alice/deep/er")
    log.symlink_to(victim)
    ask(host, "through-a-link", "alice/one")
    host.wait_log(r"event=function_log function=alice/one error=\"Too many levels")
    log.unlink()
    for turn, make in enumerate((lambda: os.link(victim, log),
                                 lambda: os.mkfifo(log))):
        make()
        time.sleep(1)  # it is tried again a second later
        ask(host, "lost", "alice/one")
        settle(host, f"settled-{turn}")
        log.unlink()
    time.sleep(1)
    write(host, "at-last", "alice/one")
    text = log.read_text()
    assert "event=lines_dropped" in text and "lines=3" in text
    assert victim.read_text() == "as it was\n"


def test_a_folder_that_is_another_ones_is_not_used(host):
    write(host, "first")
    folder = host.function_logs / "alice"
    folder.mkdir(mode=0o755)
    os.chown(folder, 1, 1)
    ask(host, "lost", "alice/one")
    host.wait_log("event=function_log function=alice/one error=\"Operation not "
                  "permitted\" dropped=1 .*mend=")
    assert not files_of(folder)
    write(host, "second")


def test_a_tenants_logs_are_bounded_in_all_and_the_oldest_go(start_once, programs):
    names = [f"f{i}" for i in range(8)]
    with function_host(start_once, {f"alice/{name}.cgi": programs.cgi
                                    for name in names},
                       function_log_size="64K", function_log_keep="9",
                       function_log_total="1M") as made:
        folder = made.function_logs / "alice"
        for name in names:
            flood(made, f"alice/{name}", 13)
        write(made, "the-end", "alice/f7")
        wait_text(folder / "f7.log", "the-end")
        sizes = [path.stat().st_size for path in folder.iterdir()]
        assert sum(sizes) <= 1 << 20 and len(sizes) <= 16
        assert "f0.log" in files_of(folder)  # a function that is there keeps its own
        assert "f0.log.1" not in files_of(folder)
        assert numbers(logs(made, "alice/f7"))[-60:] == ALL[-60:]


def test_the_log_of_a_function_that_is_gone_stays_until_its_room_is_needed(
        start_once, programs):
    with function_host(start_once, {"alice/gone.cgi": programs.cgi,
                                    "alice/loud.cgi": programs.cgi},
                       function_log_size="64K", function_log_keep="99",
                       function_log_total="1M") as made:
        folder = made.function_logs / "alice"
        write(made, "remembered", "alice/gone")
        wait_text(folder / "gone.log", "remembered")
        (made.functions / "alice/gone.cgi").unlink()
        made.wait_served("/fn/alice/gone", status=404)
        assert marks(logs(made, "alice/gone")) == ["remembered"]
        until = time.monotonic() + 100
        while "gone.log" in files_of(folder):
            flood(made, "alice/loud", 4)
            assert time.monotonic() < until, files_of(folder)


def test_a_full_disk_costs_lines_and_nothing_else(start_once, programs):
    made = start_once.host({"alice/one.cgi": programs.cgi}, is_started=False)
    made.function_logs = made.dir / "flogs"
    made.function_logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "none",
                    made.function_logs], check=True)
    try:
        made.configure({"host": {"function_logs": made.function_logs}})
        made.start()
        write(made, "before", "alice/one")
        log = made.function_logs / "alice/one.log"
        wait_text(log, "before")
        filler = made.function_logs / "filler"
        out = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(out, b"x" * 4096)
        os.close(out)
        flood(made, "alice/one", 4)  # more than is left of its page
        made.wait_log("event=function_log function=alice/one error=\"No space left "
                      "on device\" dropped=")
        assert made.fetch("/fn/alice/one?head&raw=served").text == "served"
        assert log.read_text().endswith("\n")
        filler.unlink()
        time.sleep(1)
        write(made, "after", "alice/one")
        text = wait_text(log, "after")
        assert "event=lines_dropped" in text
        assert all(line.startswith("time=") for line in text.splitlines())
        made.stop()
    finally:
        subprocess.run(["umount", "-l", made.function_logs], check=True)


def test_little_room_is_left_for_the_books(start_once, programs):
    """What the reserve is for."""
    made = start_once.host({"alice/one.cgi": programs.cgi}, is_started=False)
    made.function_logs = made.dir / "flogs"
    made.function_logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none",
                    made.function_logs], check=True)
    try:
        (made.function_logs / "filler").write_bytes(b"x" * (7900 << 10))
        made.configure({"host": {"function_logs": made.function_logs}})
        made.start()
        ask(made, "lost", "alice/one")
        made.wait_log("event=function_log function=alice/one error=\"No space left")
        assert not (made.function_logs / "alice").exists()
        assert "MiB left" in made.verb("check").stdout
        made.stop()
    finally:
        subprocess.run(["umount", "-l", made.function_logs], check=True)


# ---------------------------------------------------------- lives and reloads


@pytest.mark.parametrize("role", ["gateway", "spawner"])
def test_a_part_that_is_killed_loses_no_line_that_was_answered(host, role):
    write(host, "before", "alice/one")
    write(host, "just-before", "alice/one")
    pid = host.roles()[role]
    os.kill(pid, signal.SIGKILL)
    if role == "spawner":
        host.process.wait(30)
        host.remove_cgroup()
        host.start()
    else:
        host_room.wait_gone([pid])
        host.wait_role("gateway")
    host.wait_served("/fn/alice/one?err=after&head")
    text = wait_text(host.function_logs / "alice/one.log", "after")
    assert re.findall(r'text="(\S+)"', text) == ["before", "just-before", "after"]


def test_a_reload_changes_sizes_and_places_and_loses_nothing(host):
    flood(host, "alice/one", 13)
    wait_text(host.function_logs / "alice/one.log", "line-12-059")
    assert "one.log.2" in files_of(host.function_logs / "alice")
    host.configure({"host": {"function_log_size": "1M", "function_log_keep": "1"}})
    assert host.verb("reload").returncode == 0
    flood(host, "bob/one", 13)
    wait_text(host.function_logs / "bob/one.log", "line-12-059")
    assert files_of(host.function_logs / "bob") == ["one.log"]
    elsewhere = host.dir / "elsewhere"
    host.configure({"host": {"function_logs": elsewhere}})
    assert host.verb("reload").returncode == 0
    host.function_logs = elsewhere
    write(host, "moved", "bob/one")
    host.configure({"host": {"function_logs": "log"}})
    assert host.verb("reload").returncode == 0
    ask(host, "to-the-host", "bob/one")
    host.wait_log("event=stderr .*text=\"to-the-host\"")
    host.configure({"host": {"function_logs": elsewhere}})
    assert host.verb("reload").returncode == 0
    write(host, "and-back", "bob/one")
    text = wait_text(elsewhere / "bob/one.log", "and-back")
    assert re.findall(r'text="(\S+)"', text) == ["moved", "and-back"]


def test_a_directory_that_others_may_write_is_refused(host):
    host.function_logs.chmod(0o777)
    done = host.verb("reload")
    assert done.returncode == 1 and "writable by nobody else" in done.stderr
    done = host.verb("check")
    assert done.returncode == 1 and "chmod go-w" in done.stdout
    host.function_logs.chmod(0o755)
    assert host.verb("reload").returncode == 0


def test_what_was_moved_away_is_made_anew_by_a_reopen(host):
    write(host, "first", "alice/one")
    os.rename(host.function_logs, host.dir / "moved")
    assert host.verb("reopen").returncode == 0
    write(host, "second", "alice/one")
    text = wait_text(host.function_logs / "alice/one.log", "second")
    assert "first" not in text


def test_a_tenant_with_very_many_functions_does_not_silence_another(
        start_once, programs):
    """More of them than there are files open, all at once."""
    crowd = [f"alice/f{i}" for i in range(40)]
    with function_host(start_once, {"bob/one.cgi": programs.cgi,
                                    **{f"{name}.cgi": programs.cgi
                                       for name in crowd}}) as made:
        made.stop()
        made.wrap = ["prlimit", "--nofile=512", *made.wrap]  # 32 files are open
        made.start()
        for lap in range(3):
            for name in crowd:
                ask(made, f"lap-{lap}", name)
            write(made, f"bob-{lap}", "bob/one")
        for name in crowd:
            wait_text(log_of(made, name), "lap-2")
            assert marks(logs(made, name)) == ["lap-0", "lap-1", "lap-2"]
        gateway = made.roles()["gateway"]
        held = [os.readlink(f"/proc/{gateway}/fd/{fd}")
                for fd in os.listdir(f"/proc/{gateway}/fd")]
        assert len([path for path in held if path.endswith(".log") and
                    "/flogs/" in path]) <= 32
        assert "event=function_log" not in made.log()


def test_check_says_where_functions_log(host):
    said = host.verb("check").stdout
    assert f"{host.function_logs}/TENANT/FUNCTION.log: up to 64K each and 3 " \
        "older ones, 256M of a tenant in all" in said
    host.dir.chmod(0o750)
    assert f"only root passes through {host.dir}" in host.verb("check").stdout
    host.dir.chmod(0o755)
    host.configure({"host": {"function_logs": "log"}})
    assert "goes into the host's own log (stderr)" in host.verb("check").stdout
