"""PHP pages in a host, and opcache's file cache that is one file's alone."""
import json
import os
import signal

import pytest

from lib import alone, programs, runtimes, web

PAGE = programs.HERE / "runtime/page.php"
# As the sample's comment says.
CACHED = """
[runtime php-cached]
extensions = phpc
protocol = fastcgi
command = {place}/php/fcgi-host-php %f /usr/bin/php-cgi
bind = /etc/php {place}

[function a]
max_requests = 1
[function b]
max_requests = 1
[function bob/c]
max_requests = 1
[function bare]
data = no
"""
LONG_AGO = 1600000000


@pytest.fixture(scope="module")
def host(start, place):
    return start.host({"page.php": PAGE},
                      {"defaults": {"instances": "1",
                                    "env.greeting": "good day"}},
                      text=place.section("php") +
                      CACHED.format(place=place.dir))


@pytest.fixture(scope="module")
def nginx(start, host):
    return start.nginx(host)


def facts(host, url, **params):
    answer = host.fetch(url, **params)
    assert answer.status == 200, (answer, host.log()[-2000:])
    return json.loads(answer.text)


def test_a_page_has_its_request_and_stays_warm(host):
    said = facts(host, "/fn/page/facts?q=a", REQUEST_ID="an-id")
    pid = said.pop("pid")
    assert said == {"greeting": "good day", "method": "GET", "q": "a",
                    "id": "an-id", "path": "/facts", "script": "/fn/page"}
    for _ in range(10):
        assert facts(host, "/fn/page/facts")["pid"] == pid


def test_a_megabyte_of_anything_goes_there_and_back(host, nginx):
    data = os.urandom(1 << 20)
    answer = host.fetch("/fn/page/echo", data)
    assert answer.header("Content-Type") == "x/y"
    assert answer.body == data and answer.is_complete
    reply = web.get(nginx.stream, "/fn/page/echo", "POST", body=data)
    assert reply.body == data and reply.is_whole


def test_an_event_reaches_the_client_before_the_page_ends(host, nginx):
    with web.Client(nginx.stream) as client:
        client.ask("/fn/page/events")
        first = b"data: first\n\n"
        while first not in client.pending:
            assert client._more(), "the answer ended"
        (host.state / "data/default/php-goes-on").touch()
        assert client.read().body == first + b"data: more\n\n"


def test_several_cookies_stay_several(host):
    answer = host.fetch("/fn/page/cookies")
    assert answer.status == 204
    assert [value for key, value in answer.head
            if key.lower() == "set-cookie"] == ["a=1", "b=2"]


def test_a_header_with_a_line_break_splits_nothing(host):
    answer, record = host.execute("/fn/page/split")
    assert answer.header("X-Split") is None and answer.header("X-Bad") is None
    host.wait_log(f"{record['request_id']}.*Header may not contain")


@pytest.mark.parametrize("act,words", [
    ("throw", "words for the log alone"),
    ("fatal", "undefined function not_defined_anywhere")])
def test_an_exception_is_500_and_its_trace_in_the_log_alone(host, act, words):
    _, before = host.execute("/fn/page/facts")
    answer, record = host.execute(f"/fn/page/{act}")
    assert (answer.status, answer.body) == (500, b"")
    # php-cgi's application status is always 0
    assert record["instance"] == before["instance"]
    host.wait_log(f"{record['request_id']}.*{words}")


def test_what_is_printed_to_stderr_is_in_the_log_with_the_requests_id(host):
    _, record = host.execute("/fn/page/print")
    for words in ("said to the log", "written to stderr", "through a handle"):
        host.wait_log(f"{record['request_id']}.*{words}")


def test_a_page_that_cannot_be_compiled_says_why_and_a_new_one_is_served(host):
    host.put("broken.php", "<?php\n\necho 1 +;\n")
    answer = host.wait_served("/fn/broken", status=500)
    assert answer.body == b""
    host.wait_log(r"PHP Parse error: .*/fn/broken\.php on line 3")
    host.put("broken.php", "<?php echo 'mended';")
    assert host.wait_served("/fn/broken").text == "mended"


def ask_alone(connection, act):
    connection.send(alone.request(f"/{act}", SCRIPT_FILENAME=str(PAGE),
                                  REDIRECT_STATUS="200"))


def test_sigterm_ends_one_that_waits():
    with alone.Alone(runtimes.command("php")) as program:
        with program.connect() as connection:
            ask_alone(connection, "cookies")
            assert connection.read_answer().is_complete
        program.wait_asleep()
        assert program.end() == 0


def test_sigterm_lets_a_page_finish(tmp_path):
    with alone.Alone(runtimes.command("php"),
                     GOES_ON=str(tmp_path / "goes-on")) as program:
        with program.connect() as connection:
            ask_alone(connection, "events")
            answer = connection.read_answer(stop=lambda answer: answer.body)
            os.kill(program.process.pid, signal.SIGTERM)
            (tmp_path / "goes-on").touch()
            answer = connection.read_answer(answer=answer)
            assert answer.is_complete and answer.text.endswith("more\n\n")
        assert program.wait() == 0


# ------------------------------------------------------------- the file cache

def cached_page(word):
    return ("<?php header('Content-Type: text/plain'); echo json_encode(["
            f"'word' => '{word}', 'pid' => getmypid(), "
            "'cache' => ini_get('opcache.file_cache'), 'is_cached' => "
            "opcache_is_script_cached(__FILE__)]);")


def put_old(host, name, text):
    """A page of the same time as every other."""
    host.put(name, text)
    os.utime(host.functions / name, (LONG_AGO, LONG_AGO))


def compiled(host, tenant, said):
    """The one file of a page that opcache has compiled."""
    folder = said["cache"]
    assert folder.startswith("/data/.php-opcache/"), said
    found = list((host.state / "data" / tenant / folder[len("/data/"):])
                 .rglob("main.phpc.bin"))
    assert len(found) == 1, found
    return found[0]


def test_a_later_start_takes_the_compiled_page_from_the_file(host):
    put_old(host, "a/main.phpc", cached_page("one"))
    put_old(host, "b/main.phpc", cached_page("two"))
    host.wait_served("/fn/a")
    host.wait_served("/fn/b")
    ours = compiled(host, "default", facts(host, "/fn/a"))
    # what stands in the file is run, and not the page: here another's
    other = compiled(host, "default", facts(host, "/fn/b"))
    kept = ours.read_bytes()
    ours.write_bytes(other.read_bytes())
    assert facts(host, "/fn/a")["word"] == "two"
    ours.write_bytes(kept)
    assert facts(host, "/fn/a")["word"] == "one"


def test_pages_of_one_path_and_time_have_caches_of_their_own(host):
    """Of one tenant, and of two; in a cache that they share opcache would take
    one for the other."""
    for name, word in (("a", "one"), ("b", "two"), ("bob/c", "three")):
        put_old(host, f"{name}/main.phpc", cached_page(word))
        host.wait_served(f"/fn/{name}")
    seen = {}
    for _ in range(2):
        for name in ("a", "b", "bob/c"):
            said = facts(host, f"/fn/{name}")
            assert seen.setdefault(name, said["cache"]) == said["cache"]
            assert said["word"] == {"a": "one", "b": "two",
                                    "bob/c": "three"}[name]
    assert len(set(seen.values())) == 3
    assert compiled(host, "bob", facts(host, "/fn/bob/c"))
    bob = host.state / "data/bob/.php-opcache"
    assert bob.stat().st_mode & 0o777 == 0o700


def test_a_new_version_of_the_same_time_is_served_at_once(host):
    for word in ("first", "second", "third"):
        put_old(host, "a/main.phpc", cached_page(word))
        for _ in range(300):
            answer = host.fetch("/fn/a")
            if answer.status == 200 and word in answer.text:
                break
        assert facts(host, "/fn/a")["word"] == word


def test_without_data_there_is_no_cache_and_the_page_is_served(host):
    put_old(host, "bare/main.phpc", cached_page("bare"))
    host.wait_served("/fn/bare")
    said = facts(host, "/fn/bare")
    assert (said["word"], said["cache"]) == ("bare", "")


def test_a_cache_that_nobody_used_for_a_day_is_removed(host):
    put_old(host, "a/main.phpc", cached_page("one"))
    host.wait_served("/fn/a")
    page = compiled(host, "default", facts(host, "/fn/a"))
    root = host.state / "data/default/.php-opcache"
    old = next(folder for folder in root.iterdir() if folder in page.parents)
    os.utime(old / ".used", (LONG_AGO, LONG_AGO))
    put_old(host, "b/main.phpc", cached_page("new"))
    for _ in range(300):
        answer = host.fetch("/fn/b")
        if answer.status == 200 and "new" in answer.text:
            break
    assert not old.exists()
    assert facts(host, "/fn/a")["word"] == "one"
