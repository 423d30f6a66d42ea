"""fcgi-host usage: sums of accounting logs, against sums made here."""
import csv
import io
import json

import pytest

from lib import made_books

pytestmark = pytest.mark.any_user

ALL_KEYS = ("tenant", "function", "runtime", "day", "month", "hour", "outcome",
            "start", "trigger", "method", "status")


def by_json(installed, keys, *paths, code=0):
    """{values of the keys: sums} of what the command prints; and stderr."""
    done = installed.run("usage", "--json", "--by", ",".join(keys), *paths)
    assert done.returncode == code, done.stderr
    groups = {}
    for line in done.stdout.splitlines():
        group = json.loads(line)
        groups[tuple(group.pop(key) for key in keys)] = group
    return groups, done.stderr


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A made log of three days, and its records."""
    records = made_books.ledger(2000)
    path = tmp_path_factory.mktemp("books") / "accounting.log"
    path.write_bytes(made_books.text(records))
    return path, records


@pytest.mark.parametrize("keys", [("tenant",), ("function", "day"),
    ("month", "tenant", "start"), ("status", "outcome"), ("hour",), ALL_KEYS],
    ids=",".join)
def test_every_group_has_the_sums_of_its_records(installed, books, keys):
    path, records = books
    groups, errors = by_json(installed, keys, path)
    assert groups == made_books.sums(records, keys) and not errors
    assert list(groups) == sorted(groups)


def test_csv_has_the_numbers_of_json(installed, books):
    path, _ = books
    keys = ("tenant", "day")
    groups, _ = by_json(installed, keys, path)
    done = installed.run("usage", "--csv", "--by", ",".join(keys), path)
    assert done.returncode == 0 and not done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {tuple(row.pop(key) for key in keys):
            {name: int(cell) for name, cell in row.items()}
            for row in rows} == groups


def test_the_table_is_aligned_and_ends_with_the_sum_of_all(installed, books):
    path, records = books
    done = installed.run("usage", "--by", "tenant,day", path)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["TENANT", "DAY", "EXECUTIONS", "ERRORS"]
    total = sum(group["executions"] for group in
                made_books.sums(records, ("tenant",)).values())
    assert lines[-1].split()[:2] == ["(all)", str(total)]
    ends = {line.index(word) + len(word) for line, word in
            ((lines[0], "EXECUTIONS"), (lines[-1], str(total)))}
    assert len(ends) == 1
    assert len({len(line) for line in lines}) == 1


def test_times_bound_what_is_counted(installed, books):
    path, records = books
    done = installed.run("usage", "--json", "--by", "day", "--from",
                         "2026-10-31", "--to", "2026-11-01T12:00:00Z", path)
    chosen = [one for one in records
              if "2026-10-31" <= one["time"] < "2026-11-01T12:00:00."]
    assert [json.loads(line)["executions"] for line in
            done.stdout.splitlines()] == [
        group["executions"] for group in
        made_books.sums(chosen, ("day",)).values()]


BAD_LINES = [
    (b"\n", "no JSON"),
    (b"\0" * 300 + b"\n", "no JSON"),
    (b"\xff\xfe{}\n", "no JSON"),
    (b'{"v":1,"seq":9\n', "no JSON"),
    (b"[" * 5000 + b"\n", "no JSON"),
    (b"[1]\n", "no JSON object"),
    (b"{}\n", "v is missing"),
    (b'{"v":2}\n', "v is not 1"),
    (b'{"v":1,"seq":1,"type":"none"}\n', "type is not exec"),
    (b"x" * 70000 + b"\n", "more than 65536 bytes"),
    (b"x" * 3_000_000 + b"\n", "more than 65536 bytes"),
]


@pytest.mark.parametrize("line, why", BAD_LINES,
                         ids=[str(i) for i in range(len(BAD_LINES))])
def test_a_line_that_is_no_record_is_told_and_the_rest_counted(
        installed, tmp_path, line, why):
    records = made_books.ledger(50)
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records[:20]) + line +
                     made_books.text(records[20:]))
    groups, errors = by_json(installed, ("tenant",), path, code=1)
    assert groups == made_books.sums(records, ("tenant",))
    assert errors.startswith(f"fcgi-host: {path}:21: ") and why in errors
    assert len(errors.splitlines()) == 1 and errors.isascii()


def test_of_many_bad_lines_the_first_are_shown_and_all_counted(
        installed, tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(b"bad\n" * 1000)
    _, errors = by_json(installed, ("tenant",), path, code=1)
    assert len(errors.splitlines()) == 21
    assert errors.endswith("fcgi-host: 980 more lines are wrong\n")


@pytest.mark.parametrize("cut", [1, 2, 200])
def test_a_last_line_without_its_end_is_warned_of_and_not_counted(
        installed, tmp_path, cut):
    records = made_books.ledger(50)
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records)[:-cut])
    groups, errors = by_json(installed, ("tenant",), path)
    assert groups == made_books.sums(records[:-1], ("tenant",))
    assert errors == (f"fcgi-host: warning: {path}:50: the last line is not "
                      "finished, and not counted\n")


def test_bytes_of_a_client_reach_no_terminal_as_they_are(installed, tmp_path):
    record = made_books.ledger(3)[2]
    record["method"] = "\x1b[2J,\"\n\u202e"
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text([record]))
    done = installed.run("usage", "--by", "method", path)
    assert done.returncode == 0
    assert done.stdout.isascii() and "\x1b" not in done.stdout
    done = installed.run("usage", "--by", "method", "--csv", path)
    assert list(csv.reader(io.StringIO(done.stdout)))[1][0] == record["method"]
    groups, _ = by_json(installed, ("method",), path)
    assert list(groups) == [(record["method"],)]


@pytest.mark.parametrize("words, sentence", [
    (("--by", "tenant,week"), '"week" is no key'),
    (("--by", "day,day"), '"day" is no key, or stands there twice'),
    (("--from", "yesterday"), "--from yesterday is no time"),
    (("--from", "2026-11-02", "--to", "2026-11-01"), "is not before"),
    (("--json", "--csv"), "two formats"),
    (("-c", "/nowhere.ini"), "/nowhere.ini"),
])
def test_wrong_use_is_told_in_a_sentence(installed, words, sentence):
    done = installed.run("usage", *words)
    assert done.returncode == 2 and sentence in done.stderr
    assert not done.stdout


def test_a_file_that_cannot_be_read_fails_by_name(installed, tmp_path):
    done = installed.run("usage", tmp_path / "none.log")
    assert done.returncode == 1 and not done.stdout
    assert f"{tmp_path}/none.log: No such file" in done.stderr


def test_without_an_operand_the_configured_log_is_read(installed, tmp_path):
    records = made_books.ledger(100)
    log = tmp_path / "configured.log"
    log.write_bytes(made_books.text(records))
    ini = tmp_path / "h.ini"
    ini.write_text(f"[host]\naccounting = {log}\n", "utf-8")
    done = installed.run("usage", "-c", ini, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["tenant"] for line in
            done.stdout.splitlines()] == ["alice", "bob", "default"]
