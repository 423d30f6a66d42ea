"""fcgi-host usage: sums of accounting logs, against sums made here."""
import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import re
import subprocess
import threading
import time

import pytest

from lib import made_books, programs as programs_room

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


@pytest.mark.parametrize("keys", [("tenant",), ("month",)], ids=",".join)
def test_no_sum_goes_round_whatever_records_say(installed, tmp_path, keys):
    """Of the largest numbers that there are; what goes round is a low bill."""
    records = made_books.ledger(300)
    for record in records:
        for name in ("queue_us", "init_us", "run_us", "billed_ms", "cpu_us",
                     "bytes_in", "bytes_out", "mib_ms", "idle_us",
                     "start_cpu_us", "idle_cpu_us", "idle_mib_ms"):
            if name in record:
                record[name] = 2 ** 64 - 1
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records))
    groups, errors = by_json(installed, keys, path)
    assert groups == made_books.sums(records, keys) and not errors
    assert any(group["cpu_us"] > 2 ** 64 for group in groups.values())
    done = installed.run("usage", "--by", ",".join(keys), path)
    bytes_out = sum(group["bytes_out"] for group in groups.values())
    assert f"{bytes_out // 10 ** 15}.{bytes_out // 10 ** 14 % 10} PB" in \
        done.stdout.splitlines()[-1]


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
    assert errors.endswith("fcgi-host: 980 more such faults\n")


@pytest.mark.parametrize("words", [
    (), ("--format", "lambda"), ("--audit",),
    ("--verify", "--chain-key", "KEY")], ids=" ".join)
def test_on_a_terminal_progress_is_shown_and_gives_way_to_faults(
        installed, tmp_path, words):
    (tmp_path / "key").write_text("5" * 64)
    words = [tmp_path / "key" if word == "KEY" else word for word in words]
    path = tmp_path / "a.log.zst"
    text = made_books.text(made_books.ledger(2000))
    # the numbers of a line are read; that they are doubled takes no time.  So much
    # that no machine is through before progress is shown
    path.write_bytes(zstd(text, "-1") + zstd(b"bad\n") +
                     zstd(text * 20, "-1", "--long=23") * 50)
    ours, theirs = os.openpty()
    with subprocess.Popen(["taskset", "1", installed.command, "usage", *words,
                           path], env=installed.environment(), stderr=theirs,
                          stdout=subprocess.DEVNULL) as done:
        os.close(theirs)
        told = b""
        # it need not read it all
        while not (re.search(rb"\r\x1b\[K\d+% of \d+ MB, \d+ MB/s", told) and
                   b"\r\x1b[Kfcgi-host: " in told):
            told += os.read(ours, 4096)  # fails at the end
        done.kill()
    os.close(ours)
    assert told.count(b"fcgi-host: ") == told.count(b"\r\x1b[Kfcgi-host: ")


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


# ---------------------------------------------------- rotated and compressed


def zstd(data, *options):
    program, = programs_room.need("zstd")
    return subprocess.run([program, "-q", *options], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def rotate(directory, records, cuts, names):
    """Writes records as a ledger's generations, cut at the indices."""
    parts = [records[a:b] for a, b in zip([0, *cuts], [*cuts, None])]
    for part, name in zip(parts, names):
        packer = PACKERS[os.path.splitext(name)[1] if
                         name.endswith((".gz", ".zst")) else ""]
        (directory / name).write_bytes(packer(made_books.text(part)))
    return directory / "a.log"


NAMES = [
    ["a.log.3.gz", "a.log.2.zst", "a.log.1", "a.log"],
    ["a.log-20261030.zst", "a.log-20261031.gz", "a.log-20261101", "a.log"],
    ["a.log-1793394000.gz", "a.log-1793397600.gz", "a.log.1.gz", "a.log"],
    ["a.log.9", "a.log.10", "a.log-2026-11-02.gz", "a.log.gz"],
    ["a.log-20261101_10", "a.log-2026-11-02T10:30:00Z.zst",
     "a.log.2026-11-02.gz", "a.log"],
    ["a.log_20261101.gz", "a.log_2", "a.log.1", "a.log"],
]


@pytest.mark.parametrize("names", NAMES, ids="/".join)
def test_rotated_and_compressed_files_are_one_ledger(
        installed, tmp_path, names):
    records = made_books.ledger(2000)
    path = rotate(tmp_path, records, [10, 700, 701], names)
    for name in ("a.log.bak", "a.log-x", "b.log", "a.log.1.gz.tmp", "a.logs",
                 "a.log-T10", "a.log_x", "a.log.1.xz.asc"):
        (tmp_path / name).write_bytes(b"no part of it\n")
    groups, errors = by_json(installed, ("tenant", "day"), path)
    assert groups == made_books.sums(records, ("tenant", "day"))
    assert not errors
    # named one by one, or all by a pattern: the same, once
    paths = [tmp_path / name for name in names]
    groups, errors = by_json(installed, ("tenant", "day"), *paths, path)
    assert groups == made_books.sums(records, ("tenant", "day"))
    assert not errors


def test_a_packed_file_of_several_members_is_read_whole(installed, tmp_path):
    records = made_books.ledger(900)
    parts = [made_books.text(records[i:i + 300]) for i in (0, 300, 600)]
    for name, pack in (("g.log", gzip.compress), ("z.log", zstd)):
        path = tmp_path / name
        path.write_bytes(b"".join(map(pack, parts)))
        groups, errors = by_json(installed, ("tenant",), path)
        assert groups == made_books.sums(records, ("tenant",)) and not errors


OTHERS = {
    "xz": (".xz", lzma.compress), "bzip2": (".bz2", bz2.compress),
    "lzma": (".lzma", lambda data: lzma.compress(data, lzma.FORMAT_ALONE)),
    "lz4": (".lz4", lambda data: b"\x04\x22\x4d\x18" + data),
    "lzip": (".lz", lambda data: b"LZIP\1" + data),
    "compress": (".Z", lambda data: b"\x1f\x9d" + data)}


@pytest.mark.parametrize("program", OTHERS)
def test_a_file_of_another_packer_is_told_and_not_passed_over(
        installed, tmp_path, program):
    """Who has told logrotate to pack by it would have a bill too low."""
    suffix, pack = OTHERS[program]
    records = made_books.ledger(900)
    path = rotate(tmp_path, records, [300], ["a.log.1", "a.log"])
    old = tmp_path / f"a.log.1{suffix}"
    old.write_bytes(pack((tmp_path / "a.log.1").read_bytes()))
    (tmp_path / "a.log.1").unlink()
    for arguments in ([path], [old, path]):
        groups, errors = by_json(installed, ("tenant",), *arguments, code=1)
        assert groups == made_books.sums(records[300:], ("tenant",))
        assert errors.startswith(f"fcgi-host: {old}:") and errors.endswith(
            f": it is packed by {program}, and only gzip and zstd can be "
            "read: unpack it\n")
        assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_packed_file_that_is_cut_is_told_and_counts_what_can_be_read(
        installed, tmp_path, suffix, cut):
    records = made_books.ledger(4000)
    path = tmp_path / ("a.log" + suffix)
    packed = PACKERS[suffix](made_books.text(records))
    path.write_bytes(packed[:int(len(packed) * cut)])
    groups, errors = by_json(installed, ("tenant",), path, code=1)
    assert "cannot be read from about here" in errors
    assert "cut off" in errors
    whole = made_books.sums(records, ("tenant",))
    assert all(group["executions"] <= whole[key]["executions"]
               for key, group in groups.items())


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_any_damage_to_a_packed_file_ends_in_a_sentence(
        installed, tmp_path, suffix):
    rng = random.Random(5)
    path = tmp_path / ("a.log" + suffix)
    packed = PACKERS[suffix](made_books.text(made_books.ledger(300)))
    for _ in range(40):
        data = bytearray(packed)
        for _ in range(rng.randrange(1, 9)):
            data[rng.randrange(4, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        done = installed.run("usage", path)
        assert done.returncode in (0, 1), done
        assert (done.returncode == 0) == (not done.stderr)


def test_a_window_that_would_take_all_memory_is_refused(installed, tmp_path):
    path = tmp_path / "a.log.zst"
    path.write_bytes(zstd(made_books.text(made_books.ledger(50)) +
                          b" " * 40_000_000, "--ultra", "-1", "--long=27"))
    _, errors = by_json(installed, ("tenant",), path, code=1)
    assert "requires too much memory" in errors


def test_a_generation_that_is_there_twice_is_counted_once(
        installed, tmp_path):
    """A rotation died between packing a file and removing it."""
    records = made_books.ledger(1500)
    path = rotate(tmp_path, records, [500, 1000],
                  ["a.log.2.gz", "a.log.1", "a.log"])
    (tmp_path / "a.log.1.gz").write_bytes(
        gzip.compress((tmp_path / "a.log.1").read_bytes()))
    groups, errors = by_json(installed, ("tenant", "outcome"), path, code=1)
    assert groups == made_books.sums(records, ("tenant", "outcome"))
    assert "seq 501 to 1000 of run 64290a7e3b1c5 stand in the books twice" \
        in errors
    assert f"{tmp_path}/a.log.1" in errors


def test_a_record_that_stands_there_twice_is_told_with_its_line(
        installed, tmp_path):
    records = made_books.ledger(300)
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(
        records[:100] + records[50:52] + records[100:] + records[299:]))
    groups, errors = by_json(installed, ("function",), path, code=1)
    assert groups == made_books.sums(records, ("function",))
    assert errors.splitlines() == [
        f"fcgi-host: {path}:101: seq 51 to 52 of run 64290a7e3b1c5 stand in "
        "the books twice, and are counted once",
        f"fcgi-host: {path}:303: seq 300 to 300 of run 64290a7e3b1c5 stand in "
        "the books twice, and are counted once"]


def test_no_number_hides_a_record_that_stands_there_twice(installed, tmp_path):
    """Nor what would come behind the last number that there is."""
    records = made_books.ledger(20)[1:]
    kept = [dict(one, seq=at + 1) for at, one in enumerate(records[:4])]
    wrong = [dict(records[5], seq=2 ** 64 - 1), dict(records[6], seq=0)]
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text([*kept, *wrong, *kept]))
    groups, errors = by_json(installed, ("tenant",), path, code=1)
    assert groups == made_books.sums(kept, ("tenant",))
    assert sorted(errors.splitlines()) == [
        f"fcgi-host: {path}:5: seq is no number of a record",
        f"fcgi-host: {path}:6: seq is no number of a record",
        f"fcgi-host: {path}:7: seq 1 to 4 of run 64290a7e3b1c5 stand in the "
        "books twice, and are counted once"]


def test_no_record_goes_missing_in_a_rotation_while_it_is_read(installed,
                                                              tmp_path):
    """What is read without a fault is all that was there when it began."""
    log, written = tmp_path / "a.log", [0]
    records = made_books.ledger(6000)
    log.touch()

    def write():
        for i in range(0, len(records), 100):
            with log.open("ab") as file:
                file.write(made_books.text(records[i:i + 100]))
            # of an instance that lives on there will be another record
            written[0] += sum(one["type"] != "host" and
                              one.get("reason") != "day"
                              for one in records[i:i + 100])
            if i % 300 == 0:
                log.rename(f"{log}-{20261000 + i}")
                log.touch()
            time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    whole, is_last = 0, False
    while not is_last:
        is_last, least = not writer.is_alive(), written[0]
        done = installed.run("usage", "--json", log)
        if done.returncode != 0:
            assert done.stderr.endswith("the log was rotated while it was "
                                        "read; run this again\n")
            continue
        whole += 1
        sums = [json.loads(line) for line in done.stdout.splitlines()]
        assert sum(one[name] for one in sums for name in (
            "executions", "refused", "lost", "instances")) >= least
    writer.join()
    assert written[0] == sum(one["type"] != "host" and
                             one.get("reason") != "day" for one in records)
    # At the latest when nothing is rotated any more.
    assert whole > 0 and done.returncode == 0, done.stderr


def test_records_that_are_missing_are_told_with_their_place(
        installed, tmp_path):
    records = made_books.ledger(300)
    left = records[:100] + records[101:200] + records[250:]
    path = rotate(tmp_path, left, [120], ["a.log.1.gz", "a.log"])
    groups, errors = by_json(installed, ("tenant",), path, code=1)
    assert groups == made_books.sums(left, ("tenant",))
    assert errors.splitlines() == [
        f"fcgi-host: {tmp_path}/a.log.1.gz:101: seq 102 of run 64290a7e3b1c5 "
        "comes after 100: 1 record is missing",
        f"fcgi-host: {path}:80: seq 251 of run 64290a7e3b1c5 comes after 200: "
        "50 records are missing"]


def test_line_by_line_a_record_is_given_once_and_a_missing_one_told(
        installed, tmp_path):
    records = made_books.ledger(300)
    ghost = dict(next(one for one in records if one["type"] == "exec"),
                 outcome="lost")
    for at in (40, 41):  # of the run before, in this one's numbers
        records[at] = dict(ghost, seq=at + 1, id=f"{made_books.RUN - 1:x}-{at}")
    path = rotate(tmp_path, records, [100], ["a.log.1.gz", "a.log"])
    (tmp_path / "a.log.1").write_bytes(made_books.text(records[30:100]))
    path.write_bytes(made_books.text(records[100:200] + records[150:152] +
                                     records[210:]))
    left = [one for one in records[:200] + records[210:] if
            one["type"] == "exec" and one["outcome"] not in ("refused", "lost")]
    done = installed.run("usage", "--format", "lambda", path)
    assert done.returncode == 1
    assert [line.split()[2] for line in done.stdout.splitlines()] == [
        one["request_id"] for one in left]
    told = "of run 64290a7e3b1c5 stand in the books twice, and are counted once"
    assert done.stderr.splitlines() == [
        f"fcgi-host: {tmp_path}/a.log.1:1: seq 31 to 100 {told}",
        f"fcgi-host: {path}:101: seq 151 to 152 {told}",
        f"fcgi-host: {path}:103: seq 211 of run 64290a7e3b1c5 comes after 200: "
        "10 records are missing"]


@pytest.mark.parametrize("words, is_late", [
    (("--from", "2026-10-31"), True), (("--from", "2026-11-01T20:00:00Z"), True),
    (("--from", "2026-11-02"), False), ((), False)])
def test_a_log_that_begins_behind_the_time_that_is_asked_for_is_warned_of(
        installed, tmp_path, words, is_late):
    records = [one for one in made_books.ledger(3000)
               if one["time"] >= "2026-11-02T03"]
    path = rotate(tmp_path, records, [1000], ["a.log.1.gz", "a.log"])
    done = installed.run("usage", "--csv", *words, path)
    assert done.returncode == 0
    assert done.stderr == (
        f"fcgi-host: warning: the log begins at {records[0]['time']}, in the "
        "midst of a run: what an older file has of the days that are asked for "
        "is not in the sums\n" if is_late else "")


def test_generations_that_were_deleted_are_no_gap(installed, tmp_path):
    records = made_books.ledger(300)[120:] + made_books.ledger(
        200, seed=2, run=0x64290a7e3b1ff)
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records))
    groups, errors = by_json(installed, ("tenant",), path)
    assert groups == made_books.sums(records, ("tenant",)) and not errors


@pytest.mark.parametrize("lost", [1, 40, 3000])
def test_lost_executions_of_the_run_before_are_no_gap(
        installed, tmp_path, lost):
    """They have the old run's id and the new run's numbers; 3000 of them fill
    a block in which nothing says whose they are."""
    old, run = made_books.RUN, made_books.RUN + 0x1000
    before = made_books.ledger(50, run=old)
    after = made_books.ledger(100 + lost, seed=3, run=run)
    ghost = dict(made_books.ledger(40)[5], outcome="lost", cold=True)
    for i in range(1, 1 + lost):
        after[i] = dict(ghost, seq=i + 1, id=f"{old:x}-{1000 + i}",
                        time=after[i]["time"])
    records = before + after
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(records))
    groups, errors = by_json(installed, ("tenant",), path)
    assert groups == made_books.sums(records, ("tenant",)) and not errors
    assert sum(group["lost"] for group in groups.values()) >= lost


def test_several_threads_count_what_one_counts(installed, tmp_path):
    records = made_books.ledger(20_000, step_s=9)
    path = rotate(tmp_path, records, [3000, 9000],
                  ["a.log.2.zst", "a.log.1.gz", "a.log"])
    (tmp_path / "a.log.3").write_bytes(made_books.text(records[2500:9500]))
    keys = ("function", "hour")
    groups, errors = by_json(installed, keys, path, code=1)
    assert groups == made_books.sums(records, keys)
    done = installed.run("usage", "--json", "--by", ",".join(keys), path,
                         wrap=("taskset", "1"))
    assert done.returncode == 1
    assert {tuple(group.pop(key) for key in keys): group for group in
            map(json.loads, done.stdout.splitlines())} == groups
    assert "twice" in errors and "missing" not in errors


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


def test_a_generation_that_cannot_be_looked_at_is_not_passed_over(installed,
                                                                  tmp_path):
    path = tmp_path / "a.log"
    path.write_bytes(made_books.text(made_books.ledger(20)))
    (tmp_path / "a.log.1").symlink_to("a.log.1")
    done = installed.run("usage", path)
    assert done.returncode == 1 and not done.stdout
    assert f"{path}.1: Too many levels of symbolic links" in done.stderr


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
