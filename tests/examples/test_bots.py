"""The bots in ``examples/`` run as they stand, without a token, do what they say, and stop when told to."""

import itertools
import json
import re
import signal
import sys
from http.client import HTTPConnection

import pytest

from cli.processes import SECONDS, Start

from .programs import EXAMPLES, Said, stopped

pytest.importorskip("aiohttp", reason="needs aiohttp")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def test_the_moderation_bot_deletes_what_is_forbidden_and_gives_a_break(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "moderation_bot.py")))
    said.until("strike 3", "PATCH /guilds/1/members/", "has a break")
    text = stopped(said, signal.SIGTERM)
    deleted = [int(number) for number in re.findall(r"DELETE /channels/2/messages/(\d+)", text)]
    # Every fourth message holds the word, and nothing else was touched.
    assert sorted(deleted) == list(range(4, 4 * len(deleted) + 1, 4))
    assert "communication_disabled_until" in text
    assert "Traceback" not in text


def test_conversations_go_on_until_their_answers_are_there(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "conversations.py")))
    said.until("A big tea for user7.", "<@8> is here: good morning")
    # One person votes again and again.
    said.until("votes of 1 people.")
    text = stopped(said, signal.SIGINT)
    assert text.index("What would you like?") < text.index("How large a tea?") < text.index("A big tea for user7.")
    assert int(re.findall(r"(\d+) votes of", text)[0]) > 0
    assert "Traceback" not in text


def test_all_members_of_all_guilds_come_in_chunks(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "member_chunks.py")))
    said.until("2500 members, Discord says 2500", count=3)
    text = stopped(said, signal.SIGTERM)
    assert [text.count(f"chunk {number} of 3") for number in (1, 2, 3)] == [3, 3, 3]
    assert "Traceback" not in text


def test_interactions_are_answered(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "interactions.py")))
    said.until("2 commands are registered", "You rolled", '"custom_id": "clicks:42"', '{"content": "All is well."}')
    text = stopped(said, signal.SIGINT)
    assert re.search(r"PUT /applications/\d+/commands \[\{", text)
    # The one that takes long said so first, by the same token.
    thinking = re.search(r'POST /interactions/2/(\w+)/callback \{"type": 5', text)
    assert thinking
    assert re.search(rf"PATCH /webhooks/\d+/{thinking[1]}/messages/@original", text)
    assert "Traceback" not in text


def test_three_processes_take_over_from_each_other_and_no_message_is_missing(start: Start) -> None:
    process = start(str(EXAMPLES / "deploy_bot.py"))
    output, text = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (0, ""), text
    assert len(re.findall(r"process \d+ was replaced by \d+ and ended with 0", text)) == 2
    (told,) = re.findall(r"sent (\d+), handled (\d+), of these twice (\d+); IDENTIFYs: (\d+)", text)
    sent, handled, twice, identifies = map(int, told)
    assert sent == handled >= 600
    assert twice < sent
    assert identifies == 1
    assert "Traceback" not in text


def test_a_bot_goes_through_the_proxy(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "behind_a_proxy.py")))
    said.until("CONNECT 127.0.0.1:", "ready as propylon", "behind_a_proxy INFO #")
    assert "Traceback" not in stopped(said, signal.SIGTERM)


def test_a_proxy_that_is_down_is_named_and_tried_again(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "behind_a_proxy.py"), BOT_PROXY="http://127.0.0.1:9"))
    said.until("the proxy 127.0.0.1:9 cannot be reached", "trying again in")
    assert "Traceback" not in stopped(said, signal.SIGTERM)


def test_a_url_that_is_no_proxy_ends_the_bot_with_one_line(start: Start) -> None:
    process = start(str(EXAMPLES / "behind_a_proxy.py"), BOT_PROXY="ftp://127.0.0.1:9")
    output, text = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert "socks5" in text.splitlines()[-1]
    assert "Traceback" not in text


def test_a_bot_is_observed(start: Start) -> None:
    said = Said(start(str(EXAMPLES / "observed_bot.py"), BOT_ADMIN="127.0.0.1:0", BOT_REPORT="0.5"))
    said.until("admin server: http://", "READY: a new session")
    for count in itertools.count(1):
        # The first ones may be of the time before it was connected.
        said.until("figures of 0.5 s", count=count)
        figures = json.loads(said.text.splitlines()[-1])
        if figures["received"] >= 20 and min(figures["received"], figures["delivered"], figures["dropped_in_rust"]) > 0:
            break
    (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)", said.text)
    answers: dict[str, str] = {}
    for path in ("/livez", "/readyz", "/metrics", "/"):
        connection = HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
        connection.request("GET", path)
        answer = connection.getresponse()
        answers[path] = answer.read().decode()
        assert answer.status == 200, path
        connection.close()
    assert 'propylon_events_total{event="TYPING_START",outcome="unheard"}' in answers["/metrics"]
    assert 'listener="__main__.make_bot.<locals>.on_message"' in answers["/metrics"]
    text = stopped(said, signal.SIGTERM)
    assert all(json.loads(line)["logger"] for line in text.splitlines())


def test_the_tests_of_a_bot_pass(start: Start) -> None:
    process = start("-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_moderation_bot.py"))
    output, text = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output + text
    assert "5 passed" in output
