"""The host as a service of systemd, behind the machine's own nginx."""
import json
import os
import pathlib
import re
import subprocess
import urllib.request

INI = pathlib.Path(os.environ["SYSCONFDIR"]) / "fcgi-host/fcgi-host.ini"


def setting(key):
    """What the installed configuration says."""
    return re.search(rf"^{key} = (.*)$", INI.read_text(), re.M)[1]


def records():
    """The accounting records so far."""
    text = pathlib.Path(setting("accounting")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def shown(unit, *names):
    """Properties of a unit, as systemd tells them."""
    done = subprocess.run(["systemctl", "show", unit, "-p", ",".join(names)],
                          check=True, text=True, stdout=subprocess.PIPE)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_service_is_up_by_its_own_unit():
    facts = shown("fcgi-host", "ActiveState", "SubState", "Type", "NRestarts",
                  "Delegate")
    assert facts == {"ActiveState": "active", "SubState": "running",
                     "Type": "notify", "NRestarts": "0", "Delegate": "yes"}


def test_a_dropped_function_answers_through_nginx_and_leaves_a_record():
    path = pathlib.Path(setting("functions"))
    (path / "first.sh").write_text("printf 'Content-Type: text/plain\\n\\nfirst\\n'\n")
    subprocess.run(["fcgi-host", "invoke", "first"], check=True, timeout=30,
                   stdout=subprocess.DEVNULL)
    with urllib.request.urlopen("http://127.0.0.1:8080/fn/first",
                                timeout=30) as answer:
        assert (answer.status, answer.read()) == (200, b"first\n")
    found = [r for r in records() if r["type"] == "exec"]
    assert [(r["function"], r["trigger"], r["outcome"], r["status"])
            for r in found] == [("first", "invoke", "ok", 200),
                                ("first", "web", "ok", 200)]
