"""`fcgi-host new`: a starter of each language, served at once."""
import json
import os
import shutil
import stat

import pytest


# language: (extension, mode)
STARTERS = {
    "sh": ("sh", 0o755), "python": ("py", 0o644), "php": ("php", 0o644),
    "perl": ("psgi", 0o644), "ruby": ("ru", 0o644), "node": ("mjs", 0o644),
    "c": ("c", 0o644),
}
FIRST = 1900000000


@pytest.fixture(scope="module")
def host(start, place):
    return start.host(runtimes=place.all())


def new(host, *words, code=0):
    done = host.verb("new", *words)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def listed(host, name):
    found = [one for one in map(json.loads, host.verb(
        "list", "--json").stdout.splitlines()) if one["function"] == name]
    assert len(found) == 1, found
    return found[0]


def test_every_language_of_the_help_is_tried_here(installed):
    text = installed.run("new", "--help").stdout
    languages = {word.strip(",.") for word in
                 text.partition("LANGUAGE is ")[2].partition(".")[0]
                 .replace(" or", ",").split()}
    assert languages - {""} == set(STARTERS)


@pytest.mark.parametrize("language", STARTERS)
@pytest.mark.parametrize("tenant", ["", "alice/"])
def test_a_starter_is_served_as_it_is(host, language, tenant):
    extension, mode = STARTERS[language]
    name = f"{tenant}new-{language}"
    path = host.functions / f"{name}.{extension}"
    sidecar = host.functions / f"{name}.ini"
    assert new(host, language, name) == f"{path}\n{sidecar}\n"
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(sidecar.stat().st_mode) == 0o644
    assert (listed(host, name)["problem"], listed(host, name)["detail"]) == \
        (None, None)
    host.wait_served(f"/fn/{name}")
    answer, record = host.execute(f"/fn/{name}/a/path")
    assert answer.text in (
        f"Hello from /fn/{name}\nYou asked for GET /a/path\n",
        f"Hello from Node\nYou asked for GET /fn/{name}/a/path\n"), answer
    assert record["deadline_ms"] == 10000, "the sidecar's"
    host.wait_log(rf"request={record['request_id']} .*somebody was here")


def test_nothing_is_replaced(host):
    path = host.functions / "mine.lua"
    path.write_text("-- mine\n")
    assert "mine is there already, as mine.lua" in new(host, "sh", "mine", code=1)
    assert {p.name for p in host.functions.glob("*mine*")} == {"mine.lua"}
    path.rename(host.functions / "mine.ini")
    assert "as mine.ini" in new(host, "sh", "mine", code=1)
    (host.functions / "folder").mkdir()
    assert "as folder" in new(host, "sh", "folder", code=1)


def test_a_name_with_a_dot_is_another_function(host):
    new(host, "sh", "tool")
    new(host, "sh", "tool.v2")
    assert host.wait_served("/fn/tool.v2").text.startswith("Hello from")


def test_below_a_function_s_folder_nothing_is_written(host):
    folder = host.functions / "whole"
    folder.mkdir()
    (folder / "main.py").write_text("print('Content-Type: a/b\\n')\n")
    error = new(host, "sh", "whole/part", code=1)
    assert "whole/part is in a folder that is a function itself" in error
    assert [p.name for p in folder.iterdir()] == ["main.py"]
    (folder / "main.py").rename(folder / "main.\x1b]0;title\x07\xe9")
    error = new(host, "sh", "whole/part", code=1)
    assert r"by its main.\x1b]0;title\x07\xc3\xa9;" in error
    shutil.rmtree(folder)


@pytest.mark.parametrize("words,sentence", [
    ((), "name a language and the function"),
    (("sh",), "name a language and the function"),
    (("sh", "a", "b"), "name a language and the function"),
    (("cobol", "a"), 'there is no starter for "cobol"; there is one for: sh'),
    (("sh", "../a"), 'cannot be a function\'s name'),
    (("sh", "A"), 'cannot be a function\'s name'),
    (("sh", "/a"), 'cannot be a function\'s name'),
    (("sh", "a.sh"), "leave it out"),
    (("sh", "alice/main"), "would make a function of its folder"),
    (("sh", "index"), "would make a function of its folder")])
def test_wrong_use_is_told(host, words, sentence):
    assert sentence in new(host, *words, code=2)


def test_a_language_without_a_runtime_is_told(start_once):
    host = start_once.host(is_started=False)
    error = new(host, "ruby", "x", code=1)
    assert "no [runtime] has the extension ru" in error
    assert list(host.functions.iterdir()) == []


def test_a_link_on_the_way_is_not_followed(host, tmp_path):
    (host.functions / "carol").symlink_to(tmp_path)
    assert "it is no folder" in new(host, "sh", "carol/x", code=1)
    assert list(tmp_path.iterdir()) == []
    (host.functions / "carol").unlink()
    os.symlink(tmp_path / "absent", host.functions / "linked.sh")
    assert "as linked.sh" in new(host, "sh", "linked", code=1)
    (host.functions / "linked.sh").unlink()


def test_what_root_writes_into_a_tenant_s_folder_is_the_tenant_s(host):
    folder = host.functions / "bob"
    folder.mkdir(mode=0o755)
    os.chown(folder, FIRST + 7, FIRST + 7)
    new(host, "sh", "bob/own")
    for name in ("own.sh", "own.ini"):
        assert (folder / name).stat().st_uid == FIRST + 7
    assert sorted(p.name for p in folder.iterdir()) == ["own.ini", "own.sh"]


def test_a_directory_needs_no_configuration(installed, tmp_path):
    done = installed.run("new", "-d", tmp_path, "node", "hello")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == \
        ["hello.ini", "hello.mjs"]
    done = installed.run("new", "-d", tmp_path, "perl", "hello")
    assert done.returncode == 1 and "hello is there already" in done.stderr
    done = installed.run("new", "-d", tmp_path / "absent", "sh", "x")
    assert done.returncode == 1 and "No such file" in done.stderr
