"""Fixtures of the tests inside the virtual machine, beside those of tests/e2e."""
import pytest

import service


@pytest.fixture(scope="session")
def functions(programs):
    """c by CGI and f by FastCGI, r by the shell; all the service's."""
    service.add("c.cgi", programs.cgi)
    service.add("f.fcgi", programs.fcgi)
    service.add("r.sh", "printf 'Content-Type: text/plain\\n\\n%s' "
                "\"$QUERY_STRING\"\n")
    return ("c", "f", "r")


@pytest.fixture(autouse=True)
def the_service_runs_on():
    """Before and after each test, with the sample configuration."""
    before = service.INI.read_text()
    yield
    assert service.INI.read_text() == before, "a test has left its settings"
    assert service.shown("ActiveState")["ActiveState"] == "active", \
        service.journal()
