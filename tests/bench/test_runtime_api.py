"""The bench's Runtime API: each connection is of one process, which may outlive its invocation for a moment."""

from contextlib import closing
from http.client import HTTPConnection

from bench import runtime_api


def test_what_an_ended_process_still_says_is_not_taken_for_the_next_ones():
    with runtime_api.RuntimeApi() as api, closing(HTTPConnection(*api._server.server_address, timeout=10)) as old:
        first, second = runtime_api._Invocation(b"1"), runtime_api._Invocation(b"2")
        api._server.invocation = first
        old.request("GET", "/next")
        assert old.getresponse().read() == b"1"
        api._server.invocation = second
        old.request("POST", "/response", b"late")
        assert first.answered.wait(10)
        assert (first.answer, second.answer, second.event) == (b"late", None, b"2")
