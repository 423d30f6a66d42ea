"""`bind` and `data`: what else of the host a function sees, and may write."""
import json
import os
import pathlib
import shutil
import tempfile
import time

import pytest

# Runs the query as a script.
RUN = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
eval "$(echo "$QUERY_STRING" | sed 's/+/ /g')" 2>&1
"""
FIRST = 1900000000


@pytest.fixture
def apart():
    """A folder that is not below one of the sandbox's own."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="fh-", dir="/var/lib"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def folder(path, text=None, owner=0):
    path.mkdir(parents=True)
    path.chmod(0o755)
    if text is not None:
        (path / "mark").write_text(f"{text}\n")
    os.chown(path, owner, owner)
    return path


def with_binds(start, sections, **more):
    """Two tenants with fixed ids, as far as they have one: root's files."""
    return start.host({"alice/run.cgi": RUN, "bob/run.cgi": RUN}, sections,
                      **more)


def run(host, script, tenant="alice"):
    return host.fetch(f"/fn/{tenant}/run?" + script.replace(" ", "+")).text


def verb(host, *words, code=0):
    done = host.verb(*words)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done


def uid_of(host, tenant):
    """Its number, which its first start gives it."""
    assert run(host, "id -u", tenant).strip().isdigit()
    lines = (host.state / "tenants").read_text().splitlines()
    return int(next(line.split()[1] for line in lines
                    if line.startswith(f"{tenant} ")))


# ----------------------------------------------------------------- what is seen


def test_a_path_is_read_only_and_one_with_rw_is_the_owners_to_write(
        start_once, apart):
    shut, wide = folder(apart / "shut", "shut"), folder(apart / "open", "open")
    host = with_binds(start_once,
                      {"tenant alice": {"bind": f"{shut} {wide}:rw"}})
    uid = uid_of(host, "alice")
    os.chown(wide, uid, uid)
    os.chown(shut, uid, uid)
    assert run(host, f"cat {shut}/mark {wide}/mark") == "shut\nopen\n"
    assert "Read-only file system" in run(host, f"echo x > {shut}/new")
    assert run(host, f"echo x > {wide}/new; cat {wide}/new") == "x\n"
    assert (wide / "new").read_text() == "x\n"
    assert os.stat(wide / "new").st_uid == uid
    # and bob has neither
    assert run(host, f"ls -d {apart}", "bob").count("No such file") == 1


def test_what_is_writable_is_never_executed_nor_anybodys_setuid(
        start_once, apart):
    shut, wide = folder(apart / "shut"), folder(apart / "open")
    for place in (shut, wide):
        shutil.copy("/usr/bin/id", place / "id")
        (place / "id").chmod(0o4755)
    os.mknod(wide / "zero", 0o20666, os.makedev(1, 5))
    host = with_binds(start_once,
                      {"tenant alice": {"bind": f"{shut} {wide}:rw"}})
    uid = uid_of(host, "alice")
    assert run(host, f"{shut}/id -u") == f"{uid}\n"
    assert "Permission denied" in run(host, f"{wide}/id -u")
    assert "denied" in run(host, f"head -c 1 {wide}/zero")


def test_who_may_not_write_on_the_host_may_not_here_and_check_says_so(
        start_once, apart):
    wide = folder(apart / "open")
    host = with_binds(start_once, {"tenant alice": {"bind": f"{wide}:rw"}})
    uid = uid_of(host, "alice")
    assert "Permission denied" in run(host, f"echo x > {wide}/new")
    told = json.loads(host.verb("check", "--json").stdout)["warnings"]
    said = (f"[tenant alice] bind: {wide}:rw cannot be written by the tenant "
            f"alice, whose id is {uid}: chown {uid} {wide}")
    assert said in told
    os.chown(wide, uid, uid)
    told = json.loads(host.verb("check", "--json").stdout)["warnings"]
    assert not [warning for warning in told if "bind" in warning]


def test_sections_add_up_and_of_one_path_the_last_counts(start_once, apart):
    names = ("all", "runtime", "tenant", "function")
    at = {name: folder(apart / name, name) for name in names}
    (apart / "tenant").chmod(0o777)
    host = start_once.host(
        {"alice/run.box": RUN, "alice/other.cgi": RUN, "bob/run.box": RUN},
        {"defaults": {"bind": f"{at['all']} {at['tenant']}"},
         "runtime box": {"extensions": "box", "protocol": "cgi",
                         "command": "/bin/sh", "bind": at["runtime"]},
         "tenant alice": {"bind": f"{at['tenant']}:rw"},
         "function alice/run": {"bind": at["function"]}})

    def seen(function):
        script = "; ".join(f"cat {at[name]}/mark" for name in names)
        return [word for word in host.fetch(
            f"/fn/{function}?" + script.replace(" ", "+")).text.split()
                if word in names]
    assert seen("alice/run") == list(names)
    assert seen("alice/other") == ["all", "tenant"]
    assert seen("bob/run") == ["all", "runtime", "tenant"]
    for tenant, is_open in (("alice", True), ("bob", False)):
        text = run(host, f"echo x > {at['tenant']}/{tenant} && echo did",
                   tenant)
        assert ("did" in text) is is_open, text


def test_one_that_lies_in_another_is_seen_whoever_names_it_first(
        start_once, apart):
    outer = folder(apart / "outer", "outer")
    inner = folder(outer / "in/ner", "inner")
    os.chmod(inner, 0o777)
    host = with_binds(start_once, {"defaults": {"bind": f"{inner}:rw"},
                                   "tenant alice": {"bind": outer}})
    assert run(host, f"cat {outer}/mark {inner}/mark") == "outer\ninner\n"
    assert run(host, f"echo x > {inner}/new && echo did") == "did\n"
    assert "Read-only" in run(host, f"echo x > {outer}/new")


def test_a_single_file_and_a_socket_can_be_named(start_once, apart):
    (apart / "file").write_text("of the host\n")
    host = with_binds(start_once,
                      {"tenant alice": {"bind": f"{apart}/file"}})
    assert run(host, f"cat {apart}/file; ls -A {apart}") == \
        "of the host\nfile\n"


# ----------------------------------------------------------------- what is wrong


def test_one_that_is_missing_is_502_and_said_in_words(start_once, apart):
    gone = apart / "gone"
    host = with_binds(start_once, {"tenant alice": {"bind": gone}})
    assert host.fetch("/fn/alice/run?true").status == 502
    assert host.fetch("/fn/bob/run?true").status == 200
    assert f'step="bind {gone}: what it names on the host" ' \
        'error="No such file or directory"' in host.log()
    assert f"[tenant alice] bind: {gone}: No such file or directory; " \
        "functions that it is for do not start" in \
        host.verb("check").stdout


def test_a_link_on_the_way_is_refused_and_check_says_what_to_write(
        start_once, apart):
    real = folder(apart / "real", "real")
    (apart / "link").symlink_to(real)
    host = with_binds(start_once,
                      {"tenant alice": {"bind": apart / "link"}})
    assert host.fetch("/fn/alice/run?true").status == 502
    assert f'step="bind {apart}/link: a link is on the way to it"' in \
        host.log()
    assert "write the path that it leads to, " + str(real) in \
        host.verb("check").stdout


def test_one_that_becomes_a_link_later_is_refused_too(start_once, apart):
    host = with_binds(start_once, {
        "tenant alice": {"bind": folder(apart / "real", "real")},
        "defaults": {"idle": "0"}})
    assert run(host, f"cat {apart}/real/mark") == "real\n"
    (apart / "real").rename(apart / "was")
    (apart / "real").symlink_to("/etc")
    statuses = {host.fetch("/fn/alice/run?true").status for _ in range(4)}
    assert 502 in statuses
    assert "a link is on the way to it" in host.log()


def test_one_without_a_place_in_the_sandbox_is_said_in_words(
        start_once, apart):
    host = with_binds(start_once, {})
    # a folder of the host's /usr that is there, but not in an image
    image = apart / "image"
    for name in ("usr/bin", "usr/lib"):
        (image / name).mkdir(parents=True, mode=0o755)
    host.add("alice/boxed.box", RUN)
    host.configure({"runtime box": {
        "extensions": "box", "protocol": "cgi", "command": "/bin/sh",
        "rootfs": image, "bind": "/usr/share"}})
    verb(host, "reload")
    assert host.fetch("/fn/alice/boxed").status == 502
    assert 'step="bind /usr/share: its place in the sandbox' in host.log()


@pytest.mark.parametrize("words, sentence", [
    ("/", "bind: / is the whole machine"),
    ("/:rw", "bind: / is the whole machine"),
    ("/proc", "the sandbox has a /proc of its own"),
    ("/sys/fs/cgroup", "the sandbox has a /sys of its own"),
    ("/dev/sda", "the sandbox has a /dev of its own"),
    ("relative", "no absolute path"),
    ("/a/../etc", "no absolute path"),
    ("/opt:ro", "no absolute path"),
])
def test_what_is_not_to_be_shared_is_refused_with_its_line(
        start_once, words, sentence):
    host = start_once.host(sections={"tenant alice": {"bind": words}},
                           is_started=False)
    done = host.verb("check")
    assert done.returncode == 2 and sentence in done.stderr
    assert f"{host.ini_path}:" in done.stderr


@pytest.mark.parametrize("key", ["run", "state", "accounting", "log",
                                 "functions"])
def test_the_hosts_own_places_are_shared_with_nobody(start_once, apart, key):
    host = start_once.host(is_started=False)
    place = folder(apart / "own")
    host.configure({"host": {key: place / "it"}})
    for words in (f"{place}/it:rw", f"{place}:rw", f"{place}/it/below:rw",
                  "/var/lib:rw", str(place)):
        host.configure({"tenant alice": {"bind": words}})
        done = host.verb("check")
        if key == "functions" and ":rw" not in words:
            # to be read only: one tenant may share a folder of his
            assert "the host's alone" not in done.stderr
            continue
        assert done.returncode == 2
        assert f"would show [host] {key} = {place}/it" in done.stderr


def test_a_sidecar_cannot_ask_for_one(start_once):
    host = with_binds(start_once, {})
    host.sidecar("alice/run", bind="/opt")
    host.wait_served("/fn/alice/run?true", status=404)
    told = {entry["function"]: entry for entry in map(
        json.loads, host.verb("list", "--json").stdout.splitlines())}
    assert "bind" in told["alice/run"]["detail"]


def test_what_a_runtime_names_is_every_tenants_and_what_a_tenant_names_his(
        start_once, apart):
    folder(apart / "of-runtime", "everybody's")
    folder(apart / "of-alice", "alice's")
    host = with_binds(start_once, {
        "runtime special": {"extensions": "special", "command": "/bin/sh",
                            "bind": apart / "of-runtime", "env.TOKEN": "t"},
        "tenant alice": {"bind": apart / "of-alice"}})
    look = f"cat {apart}/of-*/mark; echo $TOKEN"
    assert run(host, look) == "alice's\n\n"
    for tenant in ("alice", "bob"):
        host.sidecar(f"{tenant}/run", runtime="special")
        until = time.monotonic() + 30
        while run(host, "echo $TOKEN", tenant) != "t\n":
            assert time.monotonic() < until, host.log()[-2000:]
            time.sleep(0.05)
    assert run(host, look) == "alice's\neverybody's\nt\n"
    assert run(host, look, "bob") == "everybody's\nt\n"


# ------------------------------------------------------------------------ data


def test_data_is_the_tenants_and_data_no_takes_it_away(start_once):
    host = with_binds(start_once, {"function bob/run": {"data": "no"}})
    assert run(host, "echo kept > /data/a; cat /data/a") == "kept\n"
    assert "No such file" in run(host, "ls -d /data", "bob")
    host.sidecar("alice/run", data="no")
    host.wait_served("/fn/alice/run?test+!+-d+/data+%26%26+echo+1")
    assert (host.state / "data/alice/a").read_text() == "kept\n"


def test_a_sidecar_cannot_bring_data_back(start_once):
    host = with_binds(start_once, {"tenant alice": {"data": "no"}})
    host.sidecar("alice/run", data="yes")
    assert "No such file" in run(host, "ls -d /data")
    assert "No such file" not in run(host, "ls -d /data", "bob")
