"""`rootfs`: a runtime whose programs come from an image and not from the host."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from lib import image, programs

# What a function sees of where it is.
LOOK = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
cat /usr/share/mark 2>&1
ls /usr/bin
"""
RUNTIME = "[runtime box]\nextensions = box\nprotocol = cgi\ncommand = /bin/sh\n"


def build(path, mark):
    made = image.build(path, "sh", "ls", "cat")
    (made / "usr/share/mark").write_text(f"{mark}\n")
    return made


def replace(path, mark):
    """Another image at the path, by two renames as an administrator does it."""
    build(f"{path}.new", mark)
    path.rename(f"{path}.old")
    os.rename(f"{path}.new", path)


def with_image(start, path=None, **more):
    """A host with the runtime box, its image, and functions of both kinds."""
    host = start.host({"in.box": LOOK, "out.sh": LOOK}, is_started=False,
                      **more)
    host.image = path or build(host.dir / "image", "one")
    host.text = f"{RUNTIME}rootfs = {host.image}\n"
    host.configure({})
    return host


@pytest.fixture(scope="module")
def host(start):
    return with_image(start).start()


def verb(host, *words, code=0):
    done = host.verb(*words)
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done


def mark(host, name="in"):
    return host.fetch(f"/fn/{name}").text.split("\n")[0]


def test_a_function_sees_the_programs_and_files_of_its_image_alone(host):
    answer, record = host.execute("/fn/in")
    assert (answer.status, record["outcome"]) == (200, "ok")
    assert answer.text.split() == ["one", "cat", "ls", "sh"]


def test_functions_of_other_runtimes_see_the_host(host):
    seen = host.fetch("/fn/out").text.split("\n")
    assert "No such file" in seen[0] and "python3" in seen


def test_a_shell_in_it_sees_the_same(host):
    done = host.verb("shell", "in", "--", "/bin/cat", "/usr/share/mark")
    assert done.stdout == "one\n", done.stderr


def test_check_and_list_are_content_with_it(host):
    told = json.loads(host.verb("check", "--json").stdout)
    assert not [said for said in told["errors"] + told["warnings"]
                if "box" in said or "image" in said], told
    told = {entry["function"]: entry for entry in map(
        json.loads, host.verb("list", "--json").stdout.splitlines())}
    assert told["in"]["detail"] is None and told["in"]["runtime"] == "box"


def test_an_interpreter_that_the_image_lacks_is_said_and_is_502(start_once):
    host = with_image(start_once)
    host.text = host.text.replace("/bin/sh", "/usr/bin/python3")
    host.configure({})
    told = json.loads(host.verb("check", "--json").stdout)
    said = "\n".join(told["warnings"])
    assert f"[runtime box] command: /usr/bin/python3 is not in the image " \
        f"{host.image}; install it there" in said, told
    assert f"/usr/bin/python3 of its runtime is not in the image {host.image}" \
        in host.verb("list").stdout
    host.start()
    answer, record = host.execute("/fn/in")
    assert (answer.status, record["outcome"]) == (502, "error")
    assert host.execute("/fn/out")[0].status == 200


def test_an_image_that_is_replaced_counts_from_the_next_reload_on(start_once):
    host = with_image(start_once).start()
    assert (mark(host), host.fetch("/fn/out").status) == ("one", 200)
    before = {r["instance"] for r in map(
        lambda url: host.execute(url)[1], ("/fn/in", "/fn/out"))}
    replace(host.image, "two")
    assert mark(host) == "one", "nobody has said reload"
    verb(host, "reload")
    assert mark(host) == "two"
    after = {r["instance"] for r in map(
        lambda url: host.execute(url)[1], ("/fn/in", "/fn/out"))}
    assert len(before & after) == 1, "the other runtime's instance stays"
    shutil.rmtree(f"{host.image}.old")
    verb(host, "reload")
    assert host.execute("/fn/in")[1]["instance"] in after


def test_so_does_that_of_a_runtime_that_a_check_has_found(start_once):
    host = with_image(start_once)
    host.text = host.text.replace("extensions = box\n", "") + """
[runtime asked]
extensions = box
protocol = cgi
command = /bin/false
check = /bin/sh -c "exit 2" %f
otherwise = box
"""
    host.configure({})
    host.start()
    assert mark(host) == "one"
    replace(host.image, "two")
    verb(host, "reload")
    assert mark(host) == "two"


def test_another_image_in_the_file_retires_its_instances(start_once):
    host = with_image(start_once).start()
    assert mark(host) == "one"
    other = build(host.dir / "other", "two")
    host.configure({}, text=host.text.replace(str(host.image), str(other)))
    verb(host, "reload")
    assert mark(host) == "two"
    host.configure({}, text=RUNTIME)
    verb(host, "reload")
    assert "No such file" in mark(host)


def test_a_reload_refuses_an_image_that_cannot_be_used(start_once):
    host = with_image(start_once).start()
    assert mark(host) == "one"
    host.image.rename(f"{host.image}.old")
    done = verb(host, "reload", code=2)
    assert f"[runtime box] rootfs: {host.image}: there is no such directory" \
        in done.stderr
    assert mark(host) == "one"
    build(host.image, "two")
    (host.image / "usr").chmod(0o777)
    assert f"{host.image}/usr: must belong to root" in \
        verb(host, "reload", code=2).stderr
    (host.image / "usr").chmod(0o755)
    verb(host, "reload")
    assert mark(host) == "two"


def test_an_image_that_is_missing_at_the_start_harms_no_other_runtime(
        start_once):
    host = with_image(start_once)
    host.image.rename(f"{host.image}.old")
    host.start()
    assert host.execute("/fn/out")[0].status == 200
    answer, record = host.execute("/fn/in")
    assert (answer.status, record["status"]) == (502, 502)
    said = f"{host.image}: there is no such directory"
    assert f'rootfs runtime=box why="{said}' in host.log()
    assert f'step="{said}' in host.log()
    told = json.loads(verb(host, "check", "--json", code=1).stdout)
    assert [error for error in told["errors"] if said in error]
    # it is looked for at each start
    os.rename(f"{host.image}.old", host.image)
    until = time.monotonic() + 20
    while mark(host) != "one":
        assert time.monotonic() < until
        time.sleep(0.1)


# ---------------------------------------------------------- a genuine Debian


@pytest.fixture(scope="module")
def debian():
    """The image of the manual page, made once and kept beside the build."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("NOT RUN: mmdebstrap is not installed, so there is no "
                    "image of a whole Debian")
    kept = pathlib.Path(os.environ.get("VM_CACHE") or
                        os.environ.get("BUILDDIR") or
                        programs.TREE / "build").resolve() / "rootfs"
    subprocess.run([programs.HERE / "make-image", kept], check=True,
                   timeout=1200)
    return kept / "image"


PYTHON = """import hashlib, os, sys
print("Content-Type: text/plain\\n")
print(" ".join(sorted(os.listdir("/usr/bin"))))
with open("/etc/ld.so.cache", "rb") as cache:
    print(hashlib.sha256(cache.read()).hexdigest())
print(sys.executable, os.path.realpath(sys.executable))
print(*(path for path in ("/etc/shadow", "/etc/apt", "/var", "/root", "/home")
        if os.path.exists(path)))
"""


def test_python_of_a_genuine_debian_runs_in_its_image(start_once, debian):
    host = start_once.host({"look.py": PYTHON, "out.sh": LOOK},
                           is_started=False)
    host.runtimes = host.runtimes.replace(
        "command = /usr/bin/python3\n",
        f"command = /usr/bin/python3 %f\nrootfs = {debian}\n")
    host.configure({})
    told = json.loads(host.verb("check", "--json").stdout)
    assert not [said for said in told["errors"] + told["warnings"]
                if "python" in said], told
    host.start()
    answer, record = host.execute("/fn/look")
    assert (answer.status, record["outcome"]) == (200, "ok"), host.log()
    listed, cache, executable, seen = answer.text.split("\n")[:4]
    assert listed.split() == sorted(os.listdir(debian / "usr/bin"))
    assert cache == hashlib.sha256(
        (debian / "etc/ld.so.cache").read_bytes()).hexdigest()
    assert executable.split()[0] == "/usr/bin/python3" and seen == ""
    assert record["exit"] == 0
    # what is installed on the host alone is not there
    mine = set(os.listdir("/usr/bin")) - set(os.listdir(debian / "usr/bin"))
    assert mine and not mine & set(listed.split())


# ------------------------------------------------------------- hostile images


HOSTILE = {
    "usr to the root": ("usr", "/", "usr: a link stands there"),
    "usr to the host's": ("usr", "/usr", "usr: a link stands there"),
    "etc to the host's": ("etc", "/etc", "etc: a link stands there"),
    "lib upwards": ("lib", "../../../../../etc", "lib: a link to"),
    "bin by way of proc": ("bin", "/proc/1/root/bin", "bin: a link to"),
    "ssl to the home of root": ("etc/ssl", "/root", "etc/ssl/certs: a link"),
    "fonts upwards": ("etc/fonts", "../../../../../etc/fonts",
                      "etc/fonts: a link"),
    "a fifo for a file": ("etc/mime.types", None, "etc/mime.types: it is "),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_nothing_of_the_host_is_seen_by_way_of_a_hostile_image(
        start_once, how):
    name, target, said = HOSTILE[how]
    host = with_image(start_once)
    place = host.image / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if target is None:
        os.mkfifo(place)
    else:
        place.symlink_to(target)
    assert f"{host.image}/{said}" in \
        verb(host, "check", code=1).stdout
    host.start()
    answer = host.fetch("/fn/in")
    assert answer.status == 502 and b"python3" not in answer.body
    assert f"{host.image}/{said}" in host.log()
    assert host.fetch("/fn/out").status == 200
