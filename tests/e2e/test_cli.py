"""The command: wrong use, wrong configurations, and the verbs on a host."""
import ctypes
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

from lib import host as host_room, proc, servers, threads

ECHO = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$REQUEST_METHOD|$SCRIPT_NAME|$PATH_INFO|$QUERY_STRING|$HTTP_X_FOO"
cat
"""
BAD = "#!/bin/sh\nprintf 'Status: 418\\r\\n\\r\\nteapot'; echo why >&2\n"
DIES = ("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhalf'\n"
        "sleep 0.3; kill -9 $$\n")
NOISE = "#!/bin/sh\necho no header\n"

VERBS = ("run", "check", "list", "status", "invoke", "reload", "reopen",
         "drain", "usage", "invoice", "new")


@pytest.fixture(scope="module")
def host(start):
    return start.host({"echo.cgi": ECHO, "bad.cgi": BAD, "dies.cgi": DIES,
                       "noise.cgi": NOISE, "alice/echo.cgi": ECHO},
                      {"host": {"listen_group": "www-data"}})


# ------------------------------------------------------------- wrong use


def test_help_goes_to_stdout_and_names_every_verb(installed):
    done = installed.run("--help")
    assert done.returncode == 0 and not done.stderr
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_and_refuses_unknown_options(installed, verb):
    done = installed.run(verb, "--help")
    assert done.returncode == 0 and "--config" in done.stdout
    done = installed.run(verb, "--no-such-option")
    assert done.returncode == 2
    assert "unknown option --no-such-option" in done.stderr
    assert f"fcgi-host {verb} --help" in done.stderr


@pytest.mark.parametrize("words, sentence", [
    ([], "say what to do"),
    (["relaod"], "do you mean reload"),
    (["status", "x"], "status takes no x"),
    (["invoke"], "name the function"),
    (["invoke", "a", "b"], "name one function"),
    (["run", "-c"], "-c wants an argument"),
])
def test_wrong_use_is_exit_2_and_a_sentence(installed, words, sentence):
    done = installed.run(*words)
    assert done.returncode == 2 and not done.stdout
    assert sentence in done.stderr


def test_the_version_is_one_line(installed):
    done = installed.run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("fcgi-host ")
    assert done.stdout.count("\n") == 1


# --------------------------------------------------- wrong configurations


@pytest.mark.parametrize("verb", ["run", "check", "list", "status"])
def test_every_error_of_a_file_is_told_with_its_line(installed, tmp_path,
                                                     verb):
    ini = tmp_path / "x.ini"
    ini.write_text("[host]\nlisen = /a\n[defaults]\nmemory = 12X\n"
                   "idle = 5\nidle = 6s\nenv_file = /x\n")
    done = installed.run(verb, "-c", ini)
    assert done.returncode == 2 and not done.stdout
    for line, part in ((2, "do you mean listen"), (4, "128M"),
                       (5, "with its unit"), (6, "already at line 5"),
                       (7, "stands in [tenant NAME]")):
        assert any(text.startswith(f"{ini}:{line}: ") and part in text
                   for text in done.stderr.splitlines()), done.stderr
    assert f"{ini} is not right: 5 errors" in done.stderr


def test_a_missing_file_is_told_with_the_mend(installed, tmp_path):
    done = installed.run("check", "-c", tmp_path / "none.ini")
    assert done.returncode == 2
    assert "No such file" in done.stderr and "-c FILE" in done.stderr


def test_no_host_is_exit_1_and_says_how_to_start_one(start_once):
    host = start_once.host(is_started=False)
    for verb in ("status", "reload", "reopen", "drain"):
        done = host.verb(verb)
        assert done.returncode == 1
        assert "no host runs at" in done.stderr
        assert ("change of run needs a restart" in done.stderr) == \
            (verb == "reload")
    assert host.verb("invoke", "x").returncode == 1


def test_a_refused_start_is_told_on_the_terminal_though_the_log_is_a_file(
        start_once):
    host = start_once.host(is_started=False)
    log, accounting = host.log_dir / "own.log", host.log_dir / "none"
    accounting.mkdir()
    host.configure({"host": {"log": log, "accounting": accounting}})
    done = host.installed.run("run", "-c", host.ini_path, timeout=20)
    assert done.returncode == 1
    assert "event=accounting" in done.stderr
    assert str(accounting) in done.stderr
    assert done.stderr.splitlines()[-1] in log.read_text()


# ------------------------------------------------------------------ check


def check(host, code):
    done = host.verb("check", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_check_finds_nothing_wrong_with_a_good_host(host):
    report = check(host, 0)
    assert report["ok"] and not report["errors"]
    assert report["served"] == 5 and report["not_served"] == 0
    layers = {layer["layer"]: layer for layer in report["layers"]}
    for name in ("mount", "pid", "net", "seccomp", "landlock", "identity"):
        assert layers[name]["on"], layers[name]
    text = host.verb("check")
    assert text.returncode == 0
    assert "5 functions served, 0 not" in text.stdout


def facts_of_the_kernel():
    """What some layers' facts must say here, asked of the kernel otherwise."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    abi = call(444, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    facts = {"memfd_noexec": f"Linux {os.uname().release}: "}
    if abi > 0:
        facts["landlock"] = f"ABI {abi}: "
    for layer, kind in (("mount", "mnt"), ("pid", "pid"), ("net", "net"),
                        ("ipc", "ipc"), ("uts", "uts"),
                        ("cgroup_ns", "cgroup")):
        with open(f"/proc/sys/user/max_{kind}_namespaces",
                  encoding="ascii") as file:
            facts[layer] = f"user.max_{kind}_namespaces is " + \
                file.read().strip()
    last = int(open("/proc/sys/kernel/cap_last_cap", encoding="ascii").read())
    facts["capabilities"] = f"(0 to {last})"
    mount = proc.cgroup_v2_mount()
    if mount:
        facts["cgroup"] = f"cgroup v2 at {mount}"
    return facts


def test_check_tells_the_fact_of_the_kernel_behind_each_layer(host):
    report = check(host, 0)
    name = os.uname()
    assert report["kernel"] == f"{name.sysname} {name.release} {name.machine}"
    layers = {layer["layer"]: layer for layer in report["layers"]}
    assert all(layer["fact"] for layer in layers.values())
    for layer, fact in facts_of_the_kernel().items():
        assert fact in layers[layer]["fact"], layers[layer]
    v1 = [line.split()[4] for line in open("/proc/self/mountinfo",
                                           encoding="ascii")
          if " - cgroup " in line and
          {"memory", "pids", "cpu"} & set(line.split()[-1].split(","))]
    if v1:
        assert not layers["cgroup"]["on"]
        assert "on cgroup v1: " in layers["cgroup"]["fact"]
        assert os.path.dirname(v1[0]) in layers["cgroup"]["fact"]
    text = host.verb("check").stdout
    assert f"kernel {report['kernel']}\n" in text
    for layer in layers.values():
        assert layer["fact"] in text


def test_check_says_of_each_layer_whether_it_is_required(start_once):
    host = start_once.host(is_started=False)
    report = check(host, 0)
    assert not any(layer["required"] for layer in report["layers"])
    text = host.verb("check").stdout
    assert re.search(r"^layer seccomp +on +-  ", text, re.M), text
    host.configure({"host": {"require": "seccomp mount"}})
    report = check(host, 0)
    assert [layer["layer"] for layer in report["layers"]
            if layer["required"]] == ["mount", "seccomp"]
    text = host.verb("check").stdout
    assert re.search(r"^layer seccomp +on +required  ", text, re.M), text
    assert re.search(r"^layer mount +on +required  ", text, re.M), text
    assert re.search(r"^layer net +on +-  ", text, re.M), text


def test_check_says_why_a_function_is_not_served(start_once):
    host = start_once.host({"good.cgi": ECHO, "Bad Name.cgi": ECHO,
                            "open.cgi": ECHO}, is_started=False)
    os.chmod(host.functions / "open.cgi", 0o777)
    report = check(host, 0)
    assert report["served"] == 1 and report["not_served"] == 2
    assert any(w.startswith("open is not served: ") for w in
               report["warnings"])


def one_error(host, part):
    report = check(host, 1)
    assert not report["ok"] and report["served"] is None
    found = [e for e in report["errors"] if part in e]
    assert found, report["errors"]
    return found[0]


def test_check_names_the_mend_of_accounts_and_directories(start_once):
    host = start_once.host(is_started=False)
    host.configure({"host": {"user": "nobody-of-that-name"}})
    assert "adduser --system" in one_error(host, "there is no account")
    host.configure({"host": {"user": host_room.ACCOUNT,
                             "listen_group": "no-such-group"}})
    assert "www-data" in one_error(host, "there is no group")
    host.configure({"host": {"listen_group": "www-data",
                             "uid_range": "60000-70000"}})
    assert "choose a range" in one_error(host, "nobody")
    host.configure({"host": {"uid_range": "1900000000-1900000009"},
                    "tenant alice": {"user": host_room.ACCOUNT}})
    assert "gateway and scanner" in one_error(host, "[tenant alice] user")
    host.configure({"tenant alice": {"user": "nobody"}})
    assert not any("too" in one for one in check(host, 0)["warnings"])
    host.configure({"tenant bob": {"user": "nobody"}})
    said, = [one for one in check(host, 0)["warnings"] if " too" in one]
    assert said.startswith("[tenant bob] user: nobody is tenant alice's too")
    assert said.endswith("give each an account of its own")
    host.state.chmod(0o777)
    assert "chmod go-w" in one_error(host, "[host] state")
    host.state.chmod(0o755)
    host.functions.chmod(0o700)
    assert "chmod o+rx" in one_error(host, "cannot be read by")
    host.functions.rmdir()
    assert "install -d" in one_error(host, "[host] functions")


def test_a_range_without_a_tenants_number_is_refused_and_told(start_once):
    host = start_once.host({"alice/echo.cgi": ECHO}, {
        "host": {"uid_range": "1900000100-1900000199"}})
    assert host.fetch("/fn/alice/echo").status == 200
    words = (" uid_range has not the number 1900000100 that the tenant alice "
             f"has for good, by {host.state}/tenants; make the range wider, "
             "or name an account: user in [tenant alice]")
    host.configure({"host": {"uid_range": "1900000200-1900000299"}})
    assert words in one_error(host, "uid_range")
    done = host.verb("reload")
    assert done.returncode == 2
    assert f"{host.ini_path}: [host]{words}" in done.stderr
    assert host.fetch("/fn/alice/echo").status == 200
    host.stop()
    host.start()  # the others' functions are served
    assert words in host.log()
    assert host.fetch("/fn/alice/echo").status == 502
    host.configure({"host": {"uid_range": "1900000150-1900000299"},
                    "tenant alice": {"user": "nobody"}})
    check(host, 0)
    assert host.verb("reload").returncode == 0
    del host.sections["tenant alice"]
    host.configure({"host": {"uid_range": "1900000000-1900000299"}})
    check(host, 0)
    assert host.verb("reload").returncode == 0
    assert host.fetch("/fn/alice/echo").status == 200


@pytest.mark.parametrize("text,mode,words", [
    ("alice\n", 0o644, 'not "NAME UID"'), ("a 7x\n", 0o644, 'not "NAME UID"'),
    ("# x\na 7", 0o644, 'not "NAME UID"'),
    ("# x\n", 0o664, "only root can write")])
def test_numbers_with_which_the_host_does_not_start_are_an_error_of_check(
        start_once, text, mode, words):
    host = start_once.host(is_started=False)
    numbers = host.state / "tenants"
    numbers.write_text(text)
    numbers.chmod(mode)
    assert words in one_error(host, str(numbers))
    done = host.verb("run", timeout=20)
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    numbers.write_text("# x\n")
    numbers.chmod(0o644)
    check(host, 0)


def test_sections_of_nobody_are_told_with_their_line(start_once):
    host = start_once.host({"top.cgi": ECHO, "alice/echo.cgi": ECHO,
                            "bob/Broken.cgi": ECHO}, {
        "tenant alice": {"memory": "64M"}, "tenant default": {"idle": "9s"},
        "tenant bob": {"memory": "64M"}, "tenant bo": {"memory": "64M"},
        "function top": {"idle": "9s"}, "function alice/echo": {"idle": "9s"},
        "function alice/ecco": {"idle": "9s"},
        "function echo": {"idle": "9s"}}, is_started=False)
    lines = host.ini_path.read_text().splitlines()
    words = [f"{host.ini_path}:{lines.index(f'[{name}]') + 1}: [{name}]: "
             "there is no function of that " for name in
             ("tenant bo", "function alice/ecco", "function echo")]
    warnings = [w for w in check(host, 0)["warnings"] if "misspelt" in w]
    assert len(warnings) == 3
    assert all(any(w.startswith(part) for w in warnings) for part in words)
    for options in ((), ("--json",)):
        done = host.verb("list", *options)
        assert done.returncode == 0
        assert done.stderr.count("fcgi-host: warning: ") == 3
        assert all(part in done.stderr for part in words)
        assert "misspelt" not in done.stdout
    host.start()
    assert host.log().count("event=section_unused") == 3
    assert all(part in host.log() for part in words)
    host.add("echo.cgi", ECHO)
    host.wait_served("/fn/echo")
    assert host.log().count("event=section_unused") == 3
    assert host.verb("reload").returncode == 0
    assert host.log().count("event=section_unused") == 5


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_functions_directory_of_everybodys_is_refused_in_the_same_words(
        start_once, mode):
    host = start_once.host({"echo.cgi": ECHO}, is_started=False)
    host.functions.chmod(mode)
    said = one_error(host, "can drop functions into")
    assert f"chmod o-w {host.functions}" in said
    done = host.verb("run", timeout=20)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    host.functions.chmod(0o775)
    host.start()
    assert host.fetch("/fn/echo").status == 200


def test_check_fails_when_a_required_layer_is_missing(start_once):
    host = start_once.host(is_started=False)
    layers = {layer["layer"]: layer["on"] for layer in
              check(host, 0)["layers"]}
    host.configure({"host": {"require": " ".join(
        name for name, is_on in layers.items() if is_on)}})
    check(host, 0)
    off = [name for name, is_on in layers.items() if not is_on]
    if not off:
        pytest.skip("NOT RUN: this machine has every layer")
    host.configure({"host": {"require": off[0]}})
    one_error(host, f"the layer {off[0]} is missing")
    one_error(host, "; or take it out of require")


def test_check_names_an_index_that_is_no_function(start_once):
    host = start_once.host({"home.cgi": ECHO}, {"host": {"index": "hoem"}},
                           is_started=False)
    said = [w for w in check(host, 0)["warnings"] if "[host] index" in w]
    assert len(said) == 1 and "no function hoem is served" in said[0]
    host.configure({"host": {"index": "home"}})
    assert not [w for w in check(host, 0)["warnings"] if "index" in w]


@pytest.mark.parametrize("address, other", [
    ("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"),
    ("0.0.0.0", "127.0.0.1"), ("[::1]", "::1"), ("[::1]", "::")])
def test_check_names_who_has_the_port(start_once, address, other):
    family = socket.AF_INET6 if ":" in other else socket.AF_INET
    if family == socket.AF_INET6 and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("NOT RUN: this machine has no IPv6")
    host = start_once.host(is_started=False)
    with socket.socket(family) as taken:
        taken.bind((other, 0))
        port = taken.getsockname()[1]
        host.configure({"host": {"allow_tcp": "yes",
                                 "listen": f"{address}:{port}"}})
        check(host, 0)  # nobody listens there
        taken.listen()
        said = one_error(host, "[host] listen")
        assert f"(process {os.getpid()}) listens on {address}:{port}" in said


def test_check_is_content_with_the_host_on_its_own_port(start_once):
    port, = servers.free_ports(1)
    host = start_once.host({"echo.cgi": ECHO}, {"host": {
        "allow_tcp": "yes", "listen": f"127.0.0.1:{port}"}})
    assert not check(host, 0)["errors"]


def test_check_names_the_compiler_that_is_not_installed(start_once):
    host = start_once.host(
        {"good.cgi": ECHO}, is_started=False,
        text="[runtime tc]\nextensions = tc\nprotocol = fastcgi\n"
             "build = /usr/bin/no-such-cc -o /build/program %f\n"
             "command = /build/program\n")
    assert ("[runtime tc] build: /usr/bin/no-such-cc is not installed; install "
            "it, or take the section out") in check(host, 0)["warnings"]


def test_list_says_whose_interpreter_is_not_installed(start_once):
    host = start_once.host(
        {"page.tcl": "puts x\n", "good.cgi": ECHO}, is_started=False,
        text="[runtime tcl]\nextensions = tcl\nprotocol = cgi\n"
             "command = /usr/bin/no-such-tclsh\n")
    lines = {line.split()[0]: line for line in
             host.verb("list").stdout.splitlines()}
    assert "note: /usr/bin/no-such-tclsh of its runtime is not installed" in \
        lines["page"]
    assert "/fn/page " in lines["page"] and "not inst" not in lines["good"]
    told = {entry["function"]: entry for entry in map(
        json.loads, host.verb("list", "--json").stdout.splitlines())}
    assert told["page"]["problem"] is None and "502" in told["page"]["detail"]
    assert told["good"]["detail"] is None
    host.start()
    answer, record = host.execute("/fn/page")
    assert (answer.status, record["status"]) == (502, 502)


# ----------------------------------------------------- verbs on a host


def test_every_field_of_the_status_is_in_its_manual_page(host):
    page = (pathlib.Path(__file__).parents[2] /
            "docs/man/fcgi-host-status.8.in").read_text()
    kinds = ("host", "tenants", "functions", "instances")
    parts = dict(zip((*kinds, "budgets"), re.split(
        rf"\nIn(?: each of)?\n\.Li (?:{'|'.join(kinds)}|budgets) [:,]",
        page)[1:]))
    assert host.fetch("/fn/echo").status == 200
    report = json.loads(host.verb("status", "--json").stdout)
    rows = {"host": report["host"],
            **{kind: report[kind][0] for kind in kinds[1:]}}
    for name, row in rows.items():
        told = {word for line in re.findall(r"^\.It Li (.*)$", parts[name],
                                            re.M)
                for word in line.split(" , ")}
        assert told == set(row), name


def test_status_shows_functions_and_instances(host):
    assert host.fetch("/fn/echo").status == 200
    report = json.loads(host.verb("status", "--json").stdout)
    functions = {f["function"]: f for f in report["functions"]}
    assert functions["echo"]["executions"] >= 1
    assert report["host"]["functions"] == 5
    assert any(i["function"] == "echo" and i["state"] == "idle"
               for i in report["instances"])
    text = host.verb("status")
    assert text.returncode == 0 and "FUNCTION" in text.stdout


def test_invoke_sends_what_its_options_say(host):
    data = host.dir / "data"
    data.write_bytes(b"body\n")
    done = host.verb("invoke", "-p", "/a b", "-q", "x=1", "-H", "X-Foo: bar",
                     "-d", data, "-i", "alice/echo")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "POST|/fn/alice/echo|/a b|x=1|bar\nbody\n"
    assert "Status: 200 OK" in done.stderr
    record = host.books.wait(lambda r: r.get("function") == "alice/echo")
    assert record["trigger"] == "invoke" and record["method"] == "POST"
    assert record["bytes_in"] == 5


def test_invoke_reads_a_long_body_from_stdin(host):
    body = os.urandom(3 << 20)
    done = subprocess.run(
        [str(host.installed.command), "invoke", "-c", str(host.ini_path),
         "-d", "-", "echo"], env=host.installed.environment(), input=body,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition(b"\n")[2] == body


@pytest.mark.parametrize("name, sentence", [
    ("bad", "status 418"), ("dies", "cut"), ("noise", "502"),
    ("nobody", "404"),
])
def test_invoke_fails_when_the_function_does(host, name, sentence):
    done = host.verb("invoke", name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert sentence in done.stderr


def test_invoke_shows_a_refusal_that_comes_before_the_body_is_sent(host):
    data = host.dir / "long"
    data.write_bytes(bytes(20 << 20))
    done = host.verb("invoke", "-d", data, "echo")
    assert done.returncode == 1
    assert "413" in done.stderr, done.stderr


def test_invoke_shows_a_stream_as_it_comes(host):
    host.add("drip.cgi", "#!/bin/sh\nprintf 'Content-Type: a/b\\r\\n\\r\\n'\n"
             "echo one\n[ -z \"$QUERY_STRING\" ] || sleep 5\necho two\n")
    host.wait_served("/fn/drip", timeout=10)
    started = time.monotonic()
    with subprocess.Popen(
            [str(host.installed.command), "invoke", "-c", str(host.ini_path),
             "-q", "slowly", "drip"], env=host.installed.environment(),
            stdout=subprocess.PIPE) as client:
        assert client.stdout.readline() == b"one\n"
        assert time.monotonic() - started < 4.5
        assert client.stdout.readline() == b"two\n"
        assert client.wait(10) == 0


@pytest.mark.parametrize("words", [
    ["../x"], ["-X", "G T", "echo"], ["-p", "x", "echo"],
    ["-H", "no colon", "echo"], ["-H", "a: b\nc: d", "echo"],
])
def test_invoke_refuses_what_cannot_be_a_request(host, words):
    before = len(host.books.all())
    done = host.verb("invoke", *words)
    assert done.returncode == 2 and not done.stdout
    assert len(host.books.all()) == before


def test_reopen_and_status_find_a_host_whose_file_has_got_an_error(host):
    """Logs turn, too, while somebody is half done with the file."""
    good = host.ini_path.read_bytes()
    host_room.write_atomically(host.ini_path, good + b"[defaults]\nx = 1\n")
    for verb in "reopen", "status":
        done = host.verb(verb)
        assert done.returncode == 0, done.stderr
        assert 'unknown key "x"' in done.stderr
    # The built-in place may be another host's.
    host_room.write_atomically(host.ini_path, b"?\n" + b"".join(
        line for line in good.splitlines(keepends=True)
        if not line.startswith(b"run ")))
    assert host.verb("reopen").returncode == 2
    host_room.write_atomically(host.ini_path, good)


def test_check_tells_an_error_of_the_file_in_json_too(host):
    good = host.ini_path.read_bytes()
    host_room.write_atomically(host.ini_path, good + b"[defaults]\nx = 1\n")
    done = host.verb("check", "--json")
    host_room.write_atomically(host.ini_path, good)
    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert not told["ok"] and told["served"] is None
    assert 'unknown key "x"' in told["errors"][-1]


def test_reload_with_an_error_changes_nothing_and_says_why(host):
    good = host.ini_path.read_bytes()
    host_room.write_atomically(host.ini_path, good + b"[defaults]\nx = 1\n")
    done = host.verb("reload")
    assert done.returncode == 2
    assert 'unknown key "x"' in done.stderr
    assert host.fetch("/fn/echo").status == 200
    host_room.write_atomically(host.ini_path, good)
    assert host.verb("reload").returncode == 0


def test_reopen_returns_when_the_log_has_been_switched(host):
    old = host.accounting.with_suffix(".1")
    os.rename(host.accounting, old)
    done = host.verb("reopen")
    assert done.returncode == 0, done.stderr
    size = old.stat().st_size
    assert host.fetch("/fn/echo").status == 200
    assert host.accounting.exists() and old.stat().st_size == size


def test_strangers_get_no_answer_but_a_sentence(host):
    """Neither others nor the service's own account may command the host."""
    for account in ("nobody", host_room.ACCOUNT):
        done = subprocess.run(
            ["setpriv", f"--reuid={account}", f"--regid={account}"
             if account != "nobody" else "--regid=nogroup",
             "--clear-groups", str(host.installed.command), "status", "-c",
             str(host.ini_path)], env=host.installed.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=30)
        assert done.returncode == 1, (account, done.stdout, done.stderr)
        assert not done.stdout
        assert "be root or in" in done.stderr


def test_drain_waits_for_what_runs_and_ends_the_host(start_once):
    host = start_once.host({"slow.cgi": "#!/bin/sh\nsleep 1\n"
                            "printf 'Content-Type: a/b\\r\\n\\r\\ndone'\n"})
    asked = threads.begin(host.fetch, "/fn/slow")
    deadline = time.monotonic() + 30
    while json.loads(host.verb("status", "--json").stdout)["host"][
            "active"] == 0:
        assert time.monotonic() < deadline
    assert host.verb("drain").returncode == 0
    assert asked.result(20).text == "done"
    assert host.process.wait(20) == 0
    assert host.verb("status").returncode == 1
