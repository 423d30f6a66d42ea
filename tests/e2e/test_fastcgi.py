"""FastCGI functions: libfcgi programs stay warm, crashes show, PHP pages run."""
import hashlib
import pathlib
import re
import time
import zlib

import pytest

from lib import programs as programs_room
from lib import web

pytestmark = pytest.mark.any_user

SAMPLES = programs_room.TREE / "conf"

UPLOAD = """<?php
header("Content-Type: text/plain");
if ($_SERVER["REQUEST_METHOD"] === "POST") {
    $file = $_FILES["picture"];
    echo $file["name"], " ", $file["size"], " ",
        hash_file("sha256", $file["tmp_name"]), " ", $_POST["title"], "\\n";
} else {
    echo "page ", $_GET["q"] ?? "none", " ", $_SERVER["SCRIPT_NAME"], " ",
        $_SERVER["PATH_INFO"] ?? "", "\\n";
}
"""


def sample_runtime(name):
    """A [runtime NAME] section as the sample configuration has it."""
    found = []
    for path in sorted(pathlib.Path(SAMPLES).rglob("*.ini.in")):
        text = path.read_text()
        found += re.findall(rf"^\[runtime {name}\]\n(?:(?!\[).*\n)*", text,
                            re.MULTILINE)
    assert len(found) == 1, f"{len(found)} [runtime {name}] sections in conf/"
    return found[0]


@pytest.fixture(scope="module")
def host(start, programs):
    return start.host({
        "warm.fcgi": programs.fcgi, "other.fcgi": programs.fcgi,
        "bob/warm.fcgi": programs.fcgi, "page.php": UPLOAD,
        "crash.fcgi": programs.fcgi, "retire.fcgi": programs.fcgi,
        "notlisten.fcgi": programs.cgi,
    }, {"defaults": {"instances": "1"},
        "function retire": {"max_requests": "3"}},
        text=sample_runtime("php"))


def test_a_libfcgi_program_stays_warm(host):
    first, one = host.execute("/fn/warm?head&self")
    second, two = host.execute("/fn/warm?head&self")
    assert (first.status, second.status) == (200, 200)
    pid = first.text.split()[0]
    assert first.text == f"{pid} served=1\n"
    assert second.text == f"{pid} served=2\n"
    assert one["instance"] == two["instance"]
    assert one["cold"] is True and one["start"] in ("fresh", "prepared")
    assert (two["cold"], two["start"]) == (False, "warm")
    assert one["init_us"] > 0
    assert two["init_us"] < one["init_us"]


def test_functions_of_two_names_never_share_an_instance(host):
    _, one = host.execute("/fn/warm?head")
    _, two = host.execute("/fn/bob/warm?head")
    _, three = host.execute("/fn/other?head")
    assert len({r["instance"] for r in (one, two, three)}) == 3


def test_the_params_reach_a_fastcgi_program(host):
    answer, _ = host.execute("/fn/warm/some/info?head&environ",
                             HTTP_PROXY="evil", PHP_VALUE="evil")
    text = answer.text
    assert "SCRIPT_NAME=/fn/warm\n" in text
    assert "PATH_INFO=/some/info\n" in text
    assert "evil" not in text
    assert "FH_TEST_MARKER" not in text


def test_a_body_comes_through_a_fastcgi_program(host):
    body = bytes(range(256)) * 2000
    answer, record = host.execute("/fn/warm?head&sum", body)
    assert answer.text == \
        f"length={len(body)} crc={zlib.crc32(body):08x}\n"
    assert record["bytes_in"] == len(body)


def test_a_crash_in_mid_answer_never_looks_whole(host):
    _, before = host.execute("/fn/crash?head")
    answer, record = host.execute("/fn/crash?head&out=1000&sleep=100&kill=11")
    assert not answer.is_complete, "END_REQUEST came after a crash"
    assert not answer.stdout_ended
    assert (record["outcome"], record["signal"]) == ("crash", 11)
    assert record["instance"] == before["instance"]
    answer, after = host.execute("/fn/crash?head&self")
    assert answer.text.endswith("served=1\n")
    assert after["cold"] is True
    assert after["instance"] != before["instance"]
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == before["instance"])
    assert ended["executions"] == 2
    assert ended["reason"]


# W21
def test_a_crash_before_the_header_is_502(host):
    answer, record = host.execute("/fn/crash?kill=6")
    assert (answer.is_complete, answer.status) == (True, 502)
    assert (record["outcome"], record["signal"]) == ("crash", 6)


def test_an_exit_of_a_fastcgi_program_in_mid_answer_is_an_error(host):
    answer, record = host.execute("/fn/crash?head&out=100&sleep=50&exit=5")
    # libfcgi's atexit may still end the request in good form
    assert record["outcome"] == "error" or answer.is_complete
    answer, _ = host.execute("/fn/crash?head&self")
    assert answer.text.endswith("served=1\n")


def test_a_program_that_does_not_listen_is_502_and_the_next_is_asked_anew(host):
    for _ in range(2):
        started = time.monotonic()
        answer, record = host.execute("/fn/notlisten")
        assert (answer.status, record["status"]) == (502, 502)
        assert record["outcome"] in ("error", "crash")
        assert time.monotonic() - started < 10


def test_an_instance_retires_after_max_requests_between_executions(host):
    records = [host.execute("/fn/retire?head&sleep=20")[1] for _ in range(7)]
    assert [r["status"] for r in records] == [200] * 7
    names = [r["instance"] for r in records]
    assert names[0] == names[1] == names[2] != names[3]
    assert names[3] == names[4] == names[5] != names[6]
    ended = host.books.wait(lambda r: r["type"] == "instance" and
                            r["instance"] == names[0])
    assert ended["executions"] == 3


# W24
def test_stderr_of_a_fastcgi_program_goes_to_the_log_not_the_answer(host):
    answer, record = host.execute("/fn/warm?err=by+the+stream&head&raw=fine")
    assert (answer.text, answer.stderr) == ("fine", b"")
    host.wait_log(r"by(\\x20| )the(\\x20| )stream")
    assert record["outcome"] == "ok"


def test_php_is_only_in_the_sample_configuration(start_once):
    host = start_once.host({"page.php": UPLOAD})
    assert host.fetch("/fn/page").status == 404
    listing = host.verb("list").stdout
    assert "page" in listing, "list does not show what is not served"


def test_a_php_page_answers_and_stays_warm(host):
    answer, one = host.execute("/fn/page/p?q=7")
    assert answer.status == 200, answer
    assert answer.text == "page 7 /fn/page /p\n"
    answer, two = host.execute("/fn/page?q=8")
    assert answer.text == "page 8 /fn/page \n"
    assert (one["instance"], two["cold"]) == (two["instance"], False)


def test_a_php_page_takes_an_upload_through_nginx(host, start):
    nginx = start.nginx(host)
    picture = bytes(range(256)) * 4000
    line = "\r\n"
    body = (f'--XX{line}Content-Disposition: form-data; name="title"{line}'
            f"{line}sunset{line}--XX{line}Content-Disposition: form-data; "
            f'name="picture"; filename="s.png"{line}Content-Type: image/png'
            f"{line}{line}").encode() + picture + b"\r\n--XX--\r\n"
    for port in (nginx.plain, nginx.kept):
        reply = web.get(port, "/fn/page", "POST",
                        [("Content-Type", "multipart/form-data; boundary=XX")],
                        body)
        assert reply.status == 200
        assert reply.text == (f"s.png {len(picture)} "
                              f"{hashlib.sha256(picture).hexdigest()} "
                              "sunset\n")
    uploads = [r for r in host.books.executions("page")
               if r["method"] == "POST"]
    assert [r["bytes_in"] for r in uploads] == [len(body)] * 2
