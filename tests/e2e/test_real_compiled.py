"""Compiled programs in the default sandbox, with 128 MiB."""
import subprocess

import pytest

from lib import programs, real


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
