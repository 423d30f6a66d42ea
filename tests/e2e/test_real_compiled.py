"""Compiled programs in the default sandbox, with 128 MiB: C and Go."""
import subprocess

import pytest

from lib import programs, real

GO = "/usr/lib/go-1.19/bin/go"
# What each part of the Go program answers.
FOUND = {"routines": "50005000", "garbage": "20", "https": "200000",
         "files": "400000", "children": "42", "facts": "fn 9",
         "network": "no network"}


def compile_c(out, source, *flags, compiler="gcc"):
    programs.need(compiler)
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([compiler, "-std=gnu11", "-O1", "-Wall", "-Werror", "-o",
                    out, real.SOURCES / source, *flags], check=True)


@pytest.fixture(scope="module")
def host(start):
    host = start.host(is_started=False)
    folder = host.functions / "c/dynamic"
    compile_c(folder / "main.cgi", "work.c", "-DWITH_DLOPEN", "-pthread")
    compile_c(folder / "libplug.so", "plug.c", "-shared", "-fPIC")
    compile_c(host.functions / "c/static.cgi", "work.c", "-static",
              compiler="musl-gcc")
    return host.start()


@pytest.mark.parametrize("name", ("dynamic", "static"))
@pytest.mark.parametrize("part,expected", (
    ("threads", "80000"), ("timer", "1"), ("mapped", "42")))
def test_a_c_program_works(host, name, part, expected):
    found, _ = real.ask(host, f"/fn/c/{name}", part)
    assert found == expected


def test_libraries_load_from_the_function_s_folder_and_from_no_other(host):
    found, _ = real.ask(host, "/fn/c/dynamic", "library")
    assert found == "42"


@pytest.fixture(scope="module")
def go_host(start, tmp_path_factory):
    """A static program: the collector is told of less than `memory`."""
    folder = tmp_path_factory.mktemp("go")
    out = folder / "work.fcgi"
    subprocess.run([GO, "build", "-o", out, real.SOURCES / "work.go"],
                   check=True, cwd=folder, env={
                       "CGO_ENABLED": "0", "GO111MODULE": "off",
                       "GOCACHE": str(folder), "HOME": str(folder),
                       "PATH": "/usr/bin:/bin"})
    host = start.host({"go/work.fcgi": out}, is_started=False)
    host.sidecar("go/work", **{"env.gomemlimit": "48MiB"})
    return host.start()


@pytest.mark.parametrize("part", FOUND)
def test_a_go_program_works(go_host, part):
    found, _ = real.ask(go_host, "/fn/go/work", part)
    assert found == FOUND[part]


def test_a_go_program_takes_bodies_and_stays_warm(go_host):
    seen = set()
    for size in (0, 1, 1000000):
        found, record = real.ask(go_host, "/fn/go/work", "body",
                                 body=b"x" * size)
        assert found == str(size)
        seen.add(record["instance"])
    assert len(seen) == 1


def test_each_part_of_the_go_program_is_asked_for():
    assert {*FOUND, "body"} == set(real.parts("work.go", r'^\t"(\w+)": '))
