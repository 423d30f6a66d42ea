"""Node, PHP, Perl, Ruby and Lua in the default sandbox, with 128 MiB."""
import re

import pytest

from lib import real

# As docs/PROGRAMS.md tells administrators to write them.
MORE = r"""
[runtime node-script]
extensions = script
protocol = cgi
command = /usr/bin/node %f

[runtime ruby]
extensions = rb
protocol = cgi
command = /usr/bin/ruby --yjit --yjit-exec-mem-size=16 %f

[runtime php-jit]
extensions = phpjit
protocol = fastcgi
command = /usr/bin/php-cgi -d opcache.jit=tracing -d opcache.jit_buffer_size=16M
bind = /etc/php

[function mjs/work]
runtime = node-script

[function php/jit]
runtime = php-jit
"""
PATTERN = {
    "mjs": r"^\tasync (\w+)\(\)", "php": r"^function part_(\w+)",
    "pl": r"^sub part_(\w+)", "rb": r"^def part_(\w+)",
    "lua": r"^function parts[.](\w+)",
}
# What each part answers.
FOUND = {
    "mjs": {"workers": "2", "wasm": "700000", "jit": "100000",
            "files": "seen", "crypto": "e3b0c442", "children": "42",
            "http": "/x 200000", "network": "no network", "facts": "true"},
    "php": {"sqlite": "ä", "strings": "09 3", "image": "80 x 60",
            "processes": "42", "files": r"\d+ /tmp", "session": "/data 1",
            "network": "no network"},
    "pl": {"xs": "5050", "fork": "42", "sockets": "line", "dbi": "row",
           "files": r"\d 100000", "threads": "30", "facts": "09:00",
           "network": "no network"},
    "rb": {"threads": "50285", "processes": "42", "files": r"\[1, 2\]",
           "openssl": "HELLO TLSv1.3", "fiddle": "ehllo 4",
           "facts": '{"hour":9}', "network": "Errno::EAFNOSUPPORT"},
    "lua": {"files": "100000", "processes": "42", "memory": "200002",
            "facts": "00:00 3"},
}
CASES = [(language, part) for language, parts in FOUND.items()
         for part in parts]


@pytest.fixture(scope="module")
def host(start):
    functions = {f"{language}/work.{language}":
                 real.SOURCES / f"work.{language}" for language in FOUND}
    page = real.SOURCES / "work.php"
    return start.host({**functions, "php/jit.php": page,
                       "php/fresh.php": page},
                      {"function php/fresh": {"idle": "0"}},
                      text=MORE, runtimes=real.runtimes())


@pytest.mark.parametrize("language", FOUND)
def test_each_part_of_the_program_is_asked_for(language):
    asked = set(FOUND[language])
    if language == "php":
        asked |= {"opcache", "limit"}
    assert asked == set(real.parts(f"work.{language}", PATTERN[language]))


@pytest.mark.parametrize("language,part", CASES)
def test_a_language_s_library_works(host, language, part):
    found, _ = real.ask(host, f"/fn/{language}/work", part)
    assert re.fullmatch(FOUND[language][part], found), found


def test_php_s_opcache_compiles_to_machine_code(host):
    found, first = real.ask(host, "/fn/php/jit", "opcache")
    assert found == "315"
    found, again = real.ask(host, "/fn/php/jit", "opcache")
    assert (found, again["instance"]) == ("315", first["instance"])


def test_a_php_page_that_computes_too_long_is_told_so_and_the_next_runs(host):
    answer, first = host.execute("/fn/php/work?limit")
    assert answer.status == 500
    host.wait_log("Maximum execution time of 1 second exceeded")
    _, next_one = real.ask(host, "/fn/php/work", "processes")
    assert first["instance"] == next_one["instance"]


def test_a_php_session_is_seen_by_other_instances(host):
    seen = []
    for hits in ("1", "2", "3"):
        found, record = real.ask(host, "/fn/php/fresh", "session",
                                 HTTP_COOKIE="PHPSESSID=a0123456789")
        assert found == f"/data {hits}"
        seen.append(record["instance"])
    assert len(set(seen)) == 3, "it was one instance"
