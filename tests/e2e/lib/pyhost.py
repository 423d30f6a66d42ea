"""fcgi-host-python by itself."""
from lib import alone, programs, runtimes
from lib.alone import (  # noqa: F401
    begin_body as begin, end_body, request, send_body)

SOURCES = programs.HERE / "runtime/python"


class Alone(alone.Alone):
    def __init__(self, installed, file, **env):
        super().__init__([runtimes.python(installed), file], **env)
