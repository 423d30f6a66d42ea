"""A host that an ordinary user has started: in a user namespace, without root."""
import json
import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys
import time

import pytest

from lib import books, delegate, fcgi, host as host_room, image, proc

pytestmark = pytest.mark.any_user

SLEEPER = """sleep 71077 &
setsid sleep 71077 &
sleep 71077
"""
STATUS = """printf 'Content-Type: text/plain\\n\\n'
id -u; id -g; cat /proc/self/status
"""
# What a function sees of an image, and can do to it.
LOOK = """printf 'Content-Type: text/plain\\n\\n'
cat /usr/share/mark
echo $(ls /usr/bin)
count=0
for path in /usr/new /new /usr/bin/sh; do
    touch $path 2> /dev/null || count=$((count + 1))
done
echo $count refused
ls -d /usr/../../../home /proc/1/root 2> /dev/null || echo nothing above
"""


@pytest.fixture(scope="module")
def host(start, reachable, programs):
    start.installed = reachable
    return start.host({"swiss.cgi": programs.cgi, "warm.fcgi": programs.fcgi,
                       "alice/status.sh": STATUS, "bob/status.sh": STATUS,
                       "alice/keep.sh": "printf 'Content-Type: text/plain\\n\\n'"
                       "; cat /data/x; echo kept > /data/x\n"}, as_user=True)


@pytest.fixture
def own_host(start_once, reachable, programs):
    start_once.installed = reachable
    return start_once.host({"swiss.cgi": programs.cgi,
                            "warm.fcgi": programs.fcgi}, as_user=True,
                           is_started=False)


def user():
    return pwd.getpwnam(host_room.ACCOUNT).pw_uid if os.geteuid() == 0 \
        else os.geteuid()


def inner(host, name):
    answer, record = host.execute(f"/fn/{name}")
    assert (answer.status, record["outcome"]) == (200, "ok"), answer.text
    lines = answer.text.splitlines()
    return int(lines[0]), int(lines[1]), dict(
        line.split(":\t", 1) for line in lines[2:] if ":\t" in line)


def test_nothing_of_the_host_has_another_uid_than_the_users(host):
    for pid in [host.pid, *proc.descendants(host.pid)]:
        ids = proc.status(pid)["Uid"].split()
        assert set(ids) == {str(user())}, (pid, proc.program(pid), ids)


def test_a_cgi_function_answers_and_is_warm_the_next_time(host):
    answer, first = host.execute("/fn/swiss?head&raw=x")
    assert (answer.status, answer.text) == (200, "x")
    _, second = host.execute("/fn/swiss?head&raw=x")
    assert (first["cold"], second["cold"]) == (True, False)
    assert first["instance"] == second["instance"]


def test_a_fastcgi_function_answers_and_is_warm_the_next_time(host):
    answer, first = host.execute("/fn/warm?head&raw=x")
    assert (answer.status, answer.text) == (200, "x")
    _, second = host.execute("/fn/warm?head&raw=x")
    assert (first["cold"], second["cold"]) == (True, False)


def test_the_record_says_by_what_time_and_memory_were_measured(host):
    _, record = host.execute("/fn/swiss?head&cpu=50")
    assert record["mem_source"] == "process"
    assert record["cpu_source"] in ("process", "cgroup")
    assert record["mem_peak_kib"] > 0


def test_a_program_has_no_right_and_a_number_of_its_tenants(host):
    uid, gid, status = inner(host, "alice/status")
    assert uid == gid and uid not in (0, user())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert inner(host, "bob/status")[0] != uid


def test_what_a_tenant_keeps_in_data_outlives_an_instance(host):
    host.execute("/fn/alice/keep")
    assert host.execute("/fn/alice/keep")[0].text == "kept\n"
    kept = host.state / "data/alice/x"
    assert (kept.stat().st_uid, kept.read_text()) == (user(), "kept\n")


def test_a_timeout_kills_the_whole_tree(host):
    host.add("stuck.sh", SLEEPER)
    host.sidecar("stuck", timeout="300ms")
    host.wait_served("/fn/stuck", status=504)
    answer, record = host.execute("/fn/stuck")
    assert (answer.status, record["outcome"]) == (504, "timeout")
    left = host_room.wait_gone([pid for pid in proc.descendants(host.pid)
                                if "71077" in proc.command_line(pid)])
    assert left == []


def test_processes_are_bounded_in_each_instance(host):
    host.sidecar("bomb", processes="8")
    host.add("bomb.sh", "printf 'Content-Type: text/plain\\n\\n'\n"
             "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done 2>&1\n"
             "ps -e 2>/dev/null | wc -l; echo end\n")
    text = host.wait_served("/fn/bomb").text
    assert "Cannot fork" in text and "end" not in text, text


def test_a_reload_puts_new_settings_into_service(own_host):
    host = own_host.start()
    host.execute("/fn/warm?head")
    host.configure({"host": {"url_prefix": "/run"}})
    done = host.verb("reload")
    assert done.returncode == 0, done.stderr
    assert host.fetch("/run/warm?head&raw=x").text == "x"
    assert host.fetch("/fn/warm").status == 404


def test_a_rotation_loses_no_line(own_host):
    host = own_host.start()
    _, first = host.execute("/fn/swiss?head")
    old = host.accounting.with_suffix(".1")
    host.accounting.rename(old)
    done = host.verb("reopen")
    assert done.returncode == 0, done.stderr
    _, second = host.execute("/fn/swiss?head")
    books.check_seq(books.Books(old).all() + host.books.all(), True)
    assert second["seq"] > first["seq"]


@pytest.mark.parametrize("role", ["gateway", "scanner"])
def test_a_killed_role_is_replaced(own_host, role):
    host = own_host.start()
    host.execute("/fn/warm?head")
    before = host.wait_role(role)
    os.kill(before, signal.SIGKILL)
    until = time.monotonic() + 30
    while host.roles().get(role, before) == before:
        assert time.monotonic() < until, host.log()[-2000:]
        time.sleep(0.05)
    assert host.execute("/fn/warm?head&raw=x")[0].text == "x"


def test_with_the_spawner_everything_dies_and_the_next_run_settles(own_host):
    host = own_host.start()
    request_id = host_room.new_id()
    with host.connect() as connection:
        connection.send(fcgi.request_bytes("/fn/swiss?head&sleep=20000",
                                           REQUEST_ID=request_id))
        host.wait_instances(2)
        below = proc.descendants(host.pid)
        os.kill(host.pid, signal.SIGKILL)
        host.process.wait(30)
        assert host_room.wait_gone(below) == []
    host.start()
    assert host.books.wait_request(request_id)["outcome"] == "lost"
    assert host.fetch("/fn/swiss?head&raw=back").text == "back"


def test_a_successor_takes_over(own_host):
    host = own_host.start()
    host.execute("/fn/warm?head")
    host.take_over()
    assert host.execute("/fn/warm?head&raw=x")[0].text == "x"


def test_a_start_says_what_is_weaker(host):
    host.wait_log(r"event=ordinary_user why=\"not started by root")
    host.wait_log(r"event=layer_off layer=identity why=\"an ordinary user's")


@pytest.mark.parametrize("section,key,value,words", [
    ("host", "require", "mount identity", r"event=layer_missing why=\"identity "
     r"is required: an ordinary user's host"),
    ("tenant alice", "user", "nobody", r"\[tenant alice\]: functions cannot run "
     r"as \"nobody\": an ordinary user's host has no id but his own"),
    ("host", "listen_group", "www-data", r"listen_group = www-data: an ordinary "
     r"user's host can give its socket to no group; take the line out")])
def test_what_an_ordinary_user_cannot_have_is_refused_in_words(
        own_host, section, key, value, words):
    host = own_host
    host.configure({section: {key: value}})
    host.launch()
    assert host.process.wait(30) != 0
    host.wait_log(words)
    host.process = None


def test_a_kernel_without_user_namespaces_is_named_with_the_mend(own_host):
    """In a namespace of namespaces that allows none further."""
    host = own_host
    host.wrap += ["unshare", "--user", "--map-current-user", "--keep-caps",
                  "sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces; "
                  "exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"",
                  "sh"]
    host.launch()
    assert host.process.wait(30) != 0
    host.wait_log(r"user.max_user_namespaces is 0 on this machine: as root "
                  r"sysctl -w user.max_user_namespaces=10000; or start as root")
    host.process = None


def test_the_verbs_of_the_user_reach_it(host):
    status = json.loads(host.verb("status", "--json").stdout)
    assert status["functions"]
    assert host.verb("list").returncode == 0
    done = host.verb("shell", "swiss", "--", "id", "-u")
    assert done.returncode == 0, done.stderr


def layers(report):
    return {layer["layer"]: layer for layer in report["layers"]}


def test_check_lists_the_layers_as_the_users_host_has_them(host):
    done = host.verb("check", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["errors"]) == (0, []), report
    found = layers(report)
    said = re.findall(r"event=layer_off layer=(\w+)", host.log())
    assert [name for name in found if not found[name]["on"]] == said
    assert not found["identity"]["on"]
    assert "an ordinary user's host" in found["identity"]["fact"]
    assert found["mount"]["on"] and found["seccomp"]["on"]
    assert any("in a user namespace" in note for note in report["notes"])
    assert report["served"] >= 5


def test_check_says_what_an_ordinary_user_cannot_have(own_host):
    host = own_host
    host.configure({"host": {"require": "identity", "listen_group": "adm"},
                    "tenant alice": {"user": "nobody"},
                    "tenant bob": {"max_processes": "64"}})
    host.run_dir.chmod(0o775)
    done = host.verb("check")
    assert done.returncode == 1
    for words in ("require: the layer identity is missing: an ordinary",
                  "listen_group: an ordinary user's host can give its socket "
                  "to no group", "[tenant alice] user: an ordinary user's",
                  "[tenant bob] max_processes bounds each instance",
                  f"chmod go-w {host.run_dir}, or name another"):
        assert words in done.stdout, done.stdout


def test_check_of_roots_host_by_another_says_what_he_cannot_see(own_host):
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: root's host is made by root")
    host = own_host
    for path in (host.run_dir, host.state, host.log_dir):
        os.chown(path, 0, 0)
    done = host.verb("check")
    assert "warning: not checked as root" in done.stdout, done.stdout


@pytest.mark.parametrize("directory", ["run", "log"])
def test_a_directory_that_others_may_write_is_refused(own_host, directory):
    host = own_host
    (host.dir / directory).chmod(0o775)
    host.launch()
    assert host.process.wait(30) != 0
    host.wait_log("must belong to you and be writable by")
    host.process = None


def test_a_function_may_have_a_loopback(start_once, reachable):
    start_once.installed = reachable
    net = (pathlib.Path(__file__).parent / "programs/net.py").read_text()
    host = start_once.host(
        {"lo.py": net, "none.py": net}, {"function lo": {"network": "loopback"}},
        as_user=True)
    six = ("tcp", "udp") if os.path.exists("/proc/net/if_inet6") else \
        ("EAFNOSUPPORT",) * 2
    assert host.wait_served("/fn/lo?own").text.split() == \
        ["tcp", six[0], "udp", six[1]]
    assert host.fetch("/fn/none?own").text.split() == ["EAFNOSUPPORT"] * 4


def with_image(start_once, reachable, is_users):
    """A host with a runtime of an image that belongs to its user, or to root."""
    start_once.installed = reachable
    host = start_once.host({"alice/in.box": LOOK}, as_user=True,
                           is_started=False)
    host.image = image.build(host.dir / "image", "sh", "cat", "touch", "ls")
    (host.image / "usr/share/mark").write_text("of the image\n")
    for path in (host.image, *host.image.rglob("*")) if is_users else ():
        os.chown(path, user(), -1, follow_symlinks=False)
    host.configure({}, text="[runtime box]\nextensions = box\n"
                   "protocol = cgi\ncommand = /bin/sh\n"
                   f"rootfs = {host.image}\n")
    return host


def test_a_runtime_may_have_an_image_of_the_users(start_once, reachable):
    host = with_image(start_once, reachable, True)
    told = json.loads(host.verb("check", "--json").stdout)
    assert not [one for one in told["errors"] if "box" in one], told
    host.start()
    for _ in range(2):
        answer, record = host.execute("/fn/alice/in")
        assert (answer.status, record["outcome"]) == (200, "ok"), answer.text
        # to the machine it is its user's, and all the same he cannot write it
        assert answer.text.split("\n")[:4] == [
            "of the image", "cat ls sh touch", "3 refused", "nothing above"]
    assert host.verb("shell", "alice/in", "--", "/bin/cat",
                     "/usr/share/mark").stdout == "of the image\n"


def test_an_image_of_another_is_refused_in_words(start_once, reachable):
    """Whose it is a user namespace does not show, but that it is another's."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: root makes what belongs to another")
    host = with_image(start_once, reachable, False).start()
    host.wait_log(f'event=rootfs runtime=box why="{host.image}: must belong to')
    answer, record = host.execute("/fn/alice/in")
    assert (answer.status, record["outcome"]) == (502, "error")
    told = json.loads(host.verb("check", "--json").stdout)
    assert [one for one in told["errors"]
            if "in a host of your own: to you" in one], told


def test_a_cgroup_that_was_delegated_is_used_and_left_empty(
        start_once, reachable, programs):
    """As `systemd-run --user --scope -p Delegate=yes` has it."""
    if os.geteuid() != 0 or proc.cgroup_v2_mount() is None:
        pytest.skip("NOT RUN: a cgroup v2 is delegated by root")
    start_once.installed = reachable
    name, account = f"fh-user-{os.getpid()}", pwd.getpwnam(host_room.ACCOUNT)
    host = start_once.host({"warm.fcgi": programs.fcgi}, as_user=True, wrap=(
        sys.executable, str(pathlib.Path(delegate.__file__)), name,
        str(account.pw_uid), str(account.pw_gid)))
    _, record = host.execute("/fn/warm?head&cpu=50")
    assert record["cpu_source"] == "cgroup"
    assert record["cpu_us"] > 0
    group = host.find_cgroup()
    assert group.stat().st_uid == user()
    host.stop()
    assert not group.exists()
    made = pathlib.Path(proc.cgroup_v2_mount()) / name
    if made.exists():
        made.rmdir()


def test_a_host_of_ones_own_is_made_by_one_command(start_once, reachable):
    start_once.installed = reachable
    host = start_once.host(as_user=True, is_started=False)
    command = [*host.become, "env", "-i", f"HOME={host.dir}/home",
               "PATH=/usr/bin:/bin", "sh", str(reachable.user_host),
               str(reachable.sample)]
    (host.dir / "home").mkdir()
    host.own(host.dir / "home")
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    host.ini_path = host.dir / "home/.config/fcgi-host/fcgi-host.ini"
    state = host.dir / "home/.local/state/fcgi-host"
    assert f"fcgi-host run -c {host.ini_path}" in said
    host.functions = host.dir / "home/functions"
    host.socket = str(state / "run/fcgi-host.sock")
    host.accounting = state / "log/accounting.log"
    host.books = books.Books(host.accounting)
    host.add("hello.sh", "printf 'Content-Type: text/plain\\n\\nhello'\n")
    done = host.verb("check")
    assert done.returncode == 0, done.stdout
    host.start()
    assert host.execute("/fn/hello")[0].text == "hello"
    before = host.ini_path.read_bytes()
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    assert "stays as it is" in again
    assert host.ini_path.read_bytes() == before
