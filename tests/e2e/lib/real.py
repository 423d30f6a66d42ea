"""Real programs as functions: the shipped runtimes, and functions in parts.

A function of tests/e2e/real does one part for each query string, and answers
"PART: ok" with what it found, or 500 with its traceback.
"""
import re

from lib import programs

SOURCES = programs.HERE / "real"
SAMPLE = programs.TREE / "conf/fcgi-host.ini.in"


def runtimes():
    """All [runtime] sections, as the configuration has them that is installed
    below /usr."""
    text = re.sub("^@runtimesbind@\n", "", SAMPLE.read_text(), flags=re.MULTILINE)
    return "\n" + "\n".join(re.findall(
        r"^\[runtime \w+\]\n(?:(?!\[|; A tenant).*\n)*",
        text.replace("@runtimesdir@", "/usr/libexec/fcgi-host/runtimes"),
        re.MULTILINE))


def source(name):
    return (SOURCES / name).read_text()


def parts(name, pattern):
    """The parts that a function of tests/e2e/real has; pattern finds them."""
    found = re.findall(pattern, source(name), re.MULTILINE)
    assert found, f"no parts in {name}"
    return found


def ask(host, url, part, **more):
    """What a part found, and its record."""
    answer, record = host.execute(f"{url}?{part}", **more)
    assert answer.status == 200, (answer.text, record, host.log()[-2000:])
    begin, ok, found = answer.text.partition(": ok ")
    assert (begin, ok) == (part, ": ok "), answer.text
    assert (record["outcome"], record["exit"]) in (("ok", 0), ("ok", None)), \
        record
    return found.strip(), record
