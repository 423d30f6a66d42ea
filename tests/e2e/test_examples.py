"""The functions of functions/examples, as they are: each is asked what the first
lines of its file say."""
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess

import pytest

from lib import fcgi, programs, web

EXAMPLES = programs.TREE / "functions/examples"
TEXT = "text/plain; charset=utf-8"
# Lists in lists, deeper than a parser of JSON likes to go.
DEEP = b"[" * 5000


def form(**fields):
    """multipart/form-data: (type, body); a value is a text or (name, bytes)."""
    parts = []
    for name, value in fields.items():
        file = "" if isinstance(value, str) else f'; filename="{value[0]}"'
        data = value.encode() if isinstance(value, str) else value[1]
        parts += [f'--x\r\nContent-Disposition: form-data; name="{name}"{file}'
                  "\r\n\r\n".encode() + data + b"\r\n"]
    return "multipart/form-data; boundary=x", b"".join(parts) + b"--x--\r\n"


@pytest.fixture(scope="module")
def host(start, place):
    host = start.host({}, {f"function {name}": {"tmp_size": "1M"}
                           for name in ("thumbnail", "page")},
                      is_started=False, runtimes=place.all())
    shutil.copytree(EXAMPLES, host.functions, dirs_exist_ok=True)
    # its program is compiled, and tests/e2e/test_fastcgi.py has such
    (host.functions / "counter.ini").unlink()
    subprocess.run(["chmod", "-R", "go-w", host.functions], check=True)
    return host.start()


def ask(host, url, body=b"", **more):
    answer, record = host.execute(f"/fn/{url}", body, **more)
    assert record["outcome"] == "ok", (record, answer, host.log()[-2000:])
    return answer


def ask_json(host, url, body=b"", status=200, **more):
    answer = ask(host, url, body, **more)
    assert answer.status == status, answer
    return json.loads(answer.text)


def test_list_has_nothing_to_say_about_any_example(host):
    found = {one["function"]: one for one in map(
        json.loads, host.verb("list", "--json").stdout.splitlines())}
    names = {path.name.split(".")[0] for path in EXAMPLES.iterdir()
             if not path.name.endswith((".ini", ".dirstamp"))}
    assert set(found) == names
    assert [one for one in found.values()
            if one["problem"] or one["detail"]] == []


def test_each_example_says_how_it_is_asked():
    for path in sorted(EXAMPLES.glob("*")):
        if path.suffix == ".ini" or path.name.startswith("."):
            continue
        main = next(path.glob("main.*")) if path.is_dir() else path
        if main.name in ("hello.sh", "whoami.pl"):
            continue
        head = main.read_text("utf-8")[:1200]
        assert re.search(r"\bcurl .*http://127\.0\.0\.1:8080/fn/|/fn/\w+", head), \
            main


# ----------------------------------------------------------------------- webhook


def signed(body, secret=b"change me"):
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("body,status,answer", [
    (b'{"a": 1}', 200, {"accepted": True, "event": {"a": 1}}),
    (b"{", 400, {"error": "the body is no JSON"}),
    pytest.param(DEEP, 400, {"error": "the body is no JSON"}, id="deep")])
def test_javascript_believes_a_signature_too(host, body, status, answer):
    assert ask_json(host, "signed", body, status,
                    HTTP_X_HUB_SIGNATURE_256=signed(body)) == answer


def test_a_signed_event_is_accepted_and_kept(host):
    body = b'{"action": "push"}'
    answer = ask_json(host, "webhook", body,
                      HTTP_X_HUB_SIGNATURE_256=signed(body))
    assert answer == {"accepted": True}
    kept = host.state / "data/default/webhook.jsonl"
    assert json.loads(kept.read_text().splitlines()[-1]) == {"action": "push"}


@pytest.mark.parametrize("body", [
    b"{", pytest.param(DEEP, id="deep"), b"\xff"])
def test_a_signed_event_that_is_no_json_is_told_so(host, body):
    assert ask_json(host, "webhook", body, 400,
                    HTTP_X_HUB_SIGNATURE_256=signed(body)) == \
        {"error": "the body is no JSON"}


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=ä",
                                       signed(b"another body"),
                                       signed(b"{}", b"a guess")])
@pytest.mark.parametrize("name", ["webhook", "signed"])
def test_an_event_of_who_does_not_know_the_secret_is_refused(host, name,
                                                             signature):
    answer = ask_json(host, name, b"{}", 403,
                      HTTP_X_HUB_SIGNATURE_256=signature)
    assert answer == {"error": "the signature is wrong"}


# --------------------------------------------------------------------- thumbnail


def picture(kind):
    convert, = programs.need("convert")
    return subprocess.run([convert, "-size", "640x480", "gradient:red-blue",
                           f"{kind}:-"], check=True,
                          stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_becomes_small(host, kind):
    answer = ask(host, "thumbnail?size=64", picture(kind))
    assert (answer.status, answer.header("Content-Type")) == (200, "image/png")
    identify, = programs.need("identify")
    size = subprocess.run([identify, "-format", "%wx%h %m", "png:-"],
                          input=answer.body, check=True,
                          stdout=subprocess.PIPE).stdout
    assert size == b"64x48 PNG"


def test_what_is_no_picture_is_refused(host):
    assert ask(host, "thumbnail", b"<svg/>").status == 415
    assert ask(host, "thumbnail", picture("png")[:500]).status in (200, 422)
    assert ask(host, "thumbnail?size=9999", picture("png")).status == 400
    assert ask(host, "thumbnail?size=1%3B", picture("png")).status == 400


def test_half_a_picture_is_none(host):
    convert, = programs.need("convert")
    noise = subprocess.run([convert, "-size", "900x700", "plasma:", "png:-"],
                           check=True, stdout=subprocess.PIPE).stdout
    assert len(noise) > 1 << 20
    answer = ask(host, "thumbnail?size=64", noise)
    assert (answer.status, answer.text) == \
        (507, "there is no room for the picture\n")


# -------------------------------------------------------------------------- form


def test_a_form_with_an_upload_is_answered(host):
    kind, body = form(name="Ada <b>", file=("a.txt", b"some bytes"))
    answer = ask(host, "page", body, CONTENT_TYPE=kind)
    assert "Good day, Ada &lt;b&gt;." in answer.text
    digest = hashlib.sha256(b"some bytes").hexdigest()
    assert f"a.txt has 10 bytes,\nSHA-256 {digest}" in answer.text
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_name_that_is_a_list_is_none(host):
    kind, body = form(**{"name[]": "Ada"})
    answer = ask(host, "page", body, CONTENT_TYPE=kind)
    assert answer.status == 200 and "Good day" not in answer.text


def test_a_file_that_there_is_no_room_for_is_told(host):
    kind, body = form(name="Ada", file=("a.txt", bytes(1500000)))
    answer = ask(host, "page", body, CONTENT_TYPE=kind)
    assert "Good day, Ada" in answer.text
    assert "A file could not be taken." in answer.text
    assert "SHA-256" not in answer.text


# ------------------------------------------------------------------------- tasks


def test_tasks_are_added_changed_listed_and_removed(host):
    task = ask_json(host, "tasks", '{"text": "Milch & Brötchen"}'.encode(), 201)
    number = task["id"]
    assert task == {"id": number, "text": "Milch & Brötchen", "done": False}
    changed = ask_json(host, f"tasks/{number}", b'{"done": true}',
                       method="PATCH")
    assert changed == {**task, "done": True}
    assert changed in ask_json(host, "tasks")
    assert ask_json(host, f"tasks/{number}", method="DELETE") == changed
    assert ask_json(host, f"tasks/{number}", status=404)
    assert changed not in ask_json(host, "tasks")


@pytest.mark.parametrize("url,body,status", [
    ("tasks", b"{", 400), ("tasks", b"[]", 400), ("tasks", b'{"text": 1}', 422),
    pytest.param("tasks", DEEP, 400, id="deep"),
    ("tasks", b'{"text": "\\ud800"}', 422),
    ("tasks/x", b"", 404), ("tasks/99999999999999999999", b"", 404),
    ("tasks/1%27", b"", 404)])
def test_what_is_no_task_is_refused_in_words(host, url, body, status):
    assert set(ask_json(host, url, body, status)) == {"error"}


# ----------------------------------------------------------------------- streams


@pytest.mark.parametrize("url,line", [("clock", rb"data: \d\d:\d\d:\d\d\n\n"),
                                      ("ticker?2", rb"id: 0\ndata: [\d:]{8}\n\n")])
def test_the_first_event_comes_before_the_stream_ends(host, url, line):
    with host.connect() as connection:
        connection.send(fcgi.request_bytes(f"/fn/{url}"))
        answer = connection.read_answer(
            stop=lambda a: re.search(line, a.body))
        assert re.match(line, answer.body) and not answer.is_complete
        if url == "ticker?2":
            answer = connection.read_answer(answer=answer)
            assert answer.is_complete
            assert re.fullmatch(line + rb"id: 1\ndata: [\d:]{8}\n\n",
                                answer.body)


# ---------------------------------------------------------------- the other ones


def test_markdown_becomes_a_page(host):
    page = ask(host, "manual/markdown").text
    for part in ("<h1>What is understood</h1>", "<em>emphasis</em>",
                 "<strong>more</strong>", "<code>code &lt;as it is&gt;</code>",
                 '<a href="https://www.example.org/">link</a>',
                 "<ol>\n<li>one</li>\n<li>two</li>\n</ol>",
                 "<pre>printf(&quot;%d &lt; %d\\n&quot;, 1, 2);</pre>"):
        assert part in page, page
    assert "<blockquote>A page that is not there is a 404." in \
        ask(host, "manual").text


@pytest.mark.parametrize("path", ["none", "../main", "%2e%2e/main", "a/b",
                                  "markdown.md"])
def test_a_page_that_is_not_there_is_a_404(host, path):
    assert ask(host, f"manual/{path}").status == 404


@pytest.mark.parametrize("text,mood", [
    ("What a lovely day, and such good soup", "good"),
    ("slow and broken, I hate it", "bad"), ("", "neither"),
    ("the train leaves at nine", "neither")])
def test_the_mood_of_a_text_is_told(host, text, mood):
    assert ask_json(host, "mood", text.encode())["mood"] == mood


def test_the_table_of_moods_is_that_of_the_sentences(tmp_path):
    for name in ("train.py", "sentences.txt"):
        shutil.copy(EXAMPLES / "mood" / name, tmp_path)
    subprocess.run(["/usr/bin/python3", tmp_path / "train.py"], check=True,
                   stdout=subprocess.DEVNULL)
    made = (tmp_path / "table.json").read_bytes()
    assert made == (EXAMPLES / "mood/table.json").read_bytes()
    assert len(made) < 8192


def test_a_picture_is_computed(host, tmp_path):
    answer = ask(host, "julia?size=101&re=-0.4&im=0.6")
    assert answer.header("Content-Type") == "image/bmp"
    identify, = programs.need("identify")
    (tmp_path / "x.bmp").write_bytes(answer.body)
    assert subprocess.run([identify, "-format", "%wx%h %m %k", tmp_path / "x.bmp"],
                          check=True, stdout=subprocess.PIPE
                          ).stdout.startswith(b"101x101 BMP")
    assert ask(host, "julia?size=101&re=-0.4&im=0.6").body == answer.body
    assert len(set(answer.body[54:])) > 20


@pytest.mark.parametrize("query", ["size=1", "size=1001", "size=x", "size=", "re=nan",
                                   "im=3", "re=1e999", "size=0x"])
def test_a_picture_of_nothing_is_refused(host, query):
    assert ask(host, f"julia?{query}").status == 400


def test_words_are_counted_and_notes_are_kept(host):
    assert ask_json(host, "words", b"one two two")["distinct"] == 2
    assert "milk and bread" in ask(host, "notes", b"milk and bread").text
    assert "Hello from /fn/hello!" in ask(host, "hello").text
    assert "/etc/shadow: absent" in ask(host, "whoami").text


def test_notes_that_there_is_no_memory_for_are_no_empty_ones(host):
    ask(host, "notes", b"one")
    notes = host.state / "data/default/notes.txt"
    text = notes.read_bytes()
    os.truncate(notes, 1 << 30)
    answer, record = host.execute("/fn/notes")
    os.truncate(notes, len(text))
    assert record["outcome"] != "ok"
    assert not answer.is_complete or answer.status >= 500, answer
    assert ask(host, "notes").body == text


def test_nginx_serves_them_too(host, start):
    nginx = start.nginx(host)
    reply = web.get(nginx.plain, "/fn/mood", "POST", body=b"lovely")
    assert json.loads(reply.text)["mood"] == "good"
