"""fcgi-host-cc: a function in C becomes a program, or its errors stand at its lines."""
import os
import stat

import pytest

from lib import chost

pytestmark = pytest.mark.any_user


@pytest.fixture(scope="module")
def kit(installed):
    with chost.Kit(installed) as made:
        yield made


@pytest.fixture
def folder(tmp_path):
    """One in which nothing but sources and programs may be left."""
    yield tmp_path
    assert [path.name for path in tmp_path.rglob(".*")] == []


def refuse(kit, folder, *words, code=1):
    done = kit.run(*words, cwd=folder)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert not list(folder.glob("*.fcgi"))
    return done.stderr


def answer(program):
    with chost.Alone(program) as made:
        return made.fetch().text


def test_a_handler_becomes_a_program_beside_where_one_stands(kit, folder):
    (folder / "hello.c").write_text(
        chost.HANDLER % '\treturn fcgi_puts(request, "hi");')
    done = kit.run("hello.c", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert answer(folder / "hello.fcgi") == "hi"
    mode = stat.S_IMODE((folder / "hello.fcgi").stat().st_mode)
    assert mode & 0o111 and not mode & 0o022


def test_a_program_takes_the_place_of_one_that_runs(kit, folder):
    source = folder / "a b.c"
    source.write_text(chost.HANDLER % '\treturn fcgi_puts(request, "one");')
    assert kit.run("-o", folder / "it.fcgi", source).returncode == 0
    with chost.Alone(folder / "it.fcgi") as old:
        source.write_text(chost.HANDLER % '\treturn fcgi_puts(request, "two");')
        assert kit.run("-o", folder / "it.fcgi", source).returncode == 0
        assert answer(folder / "it.fcgi") == "two"
        assert old.fetch().text == "one"


def test_a_main_of_its_own_is_linked_with_libfcgi(kit, folder):
    (folder / "own.c").write_text(
        "#include <fcgi_stdio.h>\n"
        "int\nmain(void)\n{\n\twhile (FCGI_Accept() >= 0)\n"
        '\t\tprintf("Content-Type: text/plain\\r\\n\\r\\nby libfcgi");\n'
        "\treturn 0;\n}\n")
    assert kit.run("own.c", cwd=folder).stderr == ""
    assert answer(folder / "own.fcgi") == "by libfcgi"


def test_the_other_files_beside_a_main_c_are_parts_of_it(kit, folder):
    place = folder / "sum"
    place.mkdir()
    (place / "main.c").write_text(
        '#include "sum.h"\n' + chost.HANDLER %
        '\treturn fcgi_printf(request, "%d", sum(40, 2));')
    (place / "sum.h").write_text("int sum(int a, int b);\n")
    (place / "-odd name.c").write_text(
        '#include "sum.h"\nint\nsum(int a, int b)\n{\n\treturn a + b;\n}\n')
    assert kit.run("-o", folder / "sum.fcgi", place / "main.c").stderr == ""
    assert answer(folder / "sum.fcgi") == "42"
    (folder / "sum.fcgi").unlink()
    assert kit.run("-o", "../sum.fcgi", "main.c", cwd=place).stderr == ""
    assert answer(folder / "sum.fcgi") == "42"


@pytest.mark.parametrize("name", ["-v.c", "--help.c", "a;b.c", "$(id).c",
                                  "*.c", "a\nb.c"])
def test_no_name_of_a_file_is_an_option(kit, folder, name):
    (folder / "main.c").write_text("int part(void);\n" + chost.HANDLER %
                                   '\treturn fcgi_printf(request, "%d", part());')
    (folder / name).write_text("int\npart(void)\n{\n\treturn 42;\n}\n")
    done = kit.run("main.c", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert answer(folder / "main.fcgi") == "42"
    (folder / "main.fcgi").unlink()
    lone = folder / f"{name[:-2]}lone.c"
    lone.write_text(chost.HANDLER % '\treturn fcgi_puts(request, "lone");')
    done = kit.run("-o", "it.fcgi", "--", lone.name, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert answer(folder / "it.fcgi") == "lone"


@pytest.mark.parametrize("name", ["@part.c", "main.c"])
def test_a_file_of_options_for_gcc_is_refused(kit, folder, name):
    (folder / "main.c").write_text(chost.HANDLER % "\t(void)request;\n\treturn 0;")
    (folder / "@part.c").write_text(f"-wrapper {folder}/wrapper")
    wrapper = folder / "wrapper"
    wrapper.write_text(f"#!/bin/sh\ntouch {folder}/run\n")
    wrapper.chmod(0o755)
    assert "@part.c: gcc takes" in refuse(kit, folder, name)
    assert not (folder / "run").exists()


def test_the_other_files_beside_another_file_are_none_of_it(kit, folder):
    (folder / "broken.c").write_text("int x\n")
    (folder / "whole.c").write_text(chost.HANDLER % "\t(void)request;\n\treturn 0;")
    assert kit.run("whole.c", cwd=folder).stderr == ""


@pytest.mark.parametrize("text, line, words", [
    ("int x;\nint y z;\n", 2, "error: expected"),
    ("#include <no-such.h>\n", 1, "no-such.h: No such file or directory"),
    ('#include <fcgi-host/function.h>\nint handler(void) { return 0; }\n', 2,
     "conflicting types for 'handler'"),
    (chost.HANDLER % "\treturn no_such(request);", 6, "implicit declaration"),
    (chost.HANDLER % "\treturn request;", 6, "makes integer from pointer"),
    (chost.HANDLER % "\t(void)request;", 7, "control reaches end"),
    (chost.HANDLER % "\treturn fcgi_puts(7, request);", 6, "error: "),
    (chost.HANDLER % '\t(void)request;\n\tasm("nonsense");\n\treturn 0;', 7,
     "no such instruction")])
def test_an_error_stands_at_its_line(kit, folder, text, line, words):
    (folder / "wrong.c").write_text(text)
    said = refuse(kit, folder, "wrong.c")
    found = [row for row in said.splitlines() if words in row]
    assert found and found[0].startswith(f"wrong.c:{line}:"), said


def test_a_warning_is_shown_and_holds_nothing_up(kit, folder):
    (folder / "warn.c").write_text(
        chost.HANDLER % '\treturn fcgi_printf(request, "%s", 1);')
    done = kit.run("warn.c", cwd=folder)
    assert done.returncode == 0 and (folder / "warn.fcgi").exists()
    assert "warn.c:6:" in done.stderr and "-Wformat" in done.stderr


def test_who_has_neither_handler_nor_main_is_told_so(kit, folder):
    (folder / "none.c").write_text("int x;\n")
    said = refuse(kit, folder, "none.c")
    assert "none.c: it has neither int handler(struct fcgi_request *)" in said


def test_errors_have_an_end(kit, folder):
    (folder / "many.c").write_text("".join(f"x{i} y;\n" for i in range(10000)))
    assert len(refuse(kit, folder, "many.c").splitlines()) < 100


def test_libraries_are_those_that_the_source_names(kit, folder):
    text = chost.HANDLER % (
        '\treturn fcgi_printf(request, "%.1f", '
        "sqrt((double)fcgi_path(request)[0]) > 0 ? 2.0 : 0.0);")
    (folder / "root.c").write_text("// libs: dl, m\n#include <math.h>\n" + text)
    assert kit.run("root.c", cwd=folder).stderr == ""
    assert answer(folder / "root.fcgi") == "2.0"
    (folder / "root.fcgi").unlink()
    (folder / "root.c").write_text("// libs: no_such\n" +
                                  chost.HANDLER % "\t(void)request;\n\treturn 0;")
    assert "no_such" in refuse(kit, folder, "root.c")


@pytest.mark.parametrize("name", ["-Wl,--plugin=x", "../x", "/x", "m;id", "$(id)",
                                  "@x", ":x.a", "*"])
def test_what_is_no_library_s_name_reaches_no_compiler(kit, folder, name):
    (folder / "libs.c").write_text(
        f"/* first */\n// libs: m {name}\n" + chost.HANDLER % "\treturn 0;")
    said = refuse(kit, folder, "libs.c")
    assert said.startswith("libs.c:2: error: ") and "is no library's name" in said


@pytest.mark.parametrize("words", [[], ["a.c", "b.c"], ["a.cc"], ["-x", "a.c"],
                                   ["-o"], ["-o", "b.c", "a.c"], ["--out", "a.c"]])
def test_wrong_use_is_told_and_changes_nothing(kit, folder, words):
    (folder / "a.c").write_text("int x;\n")
    (folder / "b.c").write_text("int x;\n")
    assert "usage: fcgi-host-cc" in refuse(kit, folder, *words, code=2)
    assert (folder / "b.c").read_text() == "int x;\n"


def test_help_is_asked_for(kit):
    for word in ("-h", "--help"):
        done = kit.run(word)
        assert done.returncode == 0 and done.stdout.startswith("usage: ")


def test_what_is_not_there_is_told(kit, folder):
    assert "no.c: there is no such file" in refuse(kit, folder, "no.c")
    (folder / "a.c").write_text(chost.HANDLER % "\t(void)request;\n\treturn 0;")
    said = refuse(kit, folder, "-o", "missing/a.fcgi", "a.c")
    assert "missing" in said
    done = kit.run(folder / "a.c", cwd=folder, PATH=os.fspath(folder))
    assert done.returncode != 0
