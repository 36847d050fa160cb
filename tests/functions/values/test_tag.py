"""The description codec, on whatever a person or a machine may write into a description."""

import doctest
import itertools
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_lockout.values import tag
from device_lockout.values.tag import HOLD, Broken, Foreign, HandWritten, Tag

WHOLE = "[lockout/1 by=prod why=lost until=2026-12-22T07:30:00Z at=2026-11-22T07:30:00Z id=9f3c2a1b was=none]"
LONGEST = Tag(
    owner="a" * 20,
    why="b" * 16,
    until=datetime(2026, 12, 22, 7, 30, tzinfo=UTC),
    at=datetime(2026, 11, 22, 7, 30, tzinfo=UTC),
    id="0123abcd",
    was="allow",
)

EPOCH = datetime(1, 1, 1, tzinfo=UTC)
LETTERS, DIGITS = string.ascii_lowercase, string.digits


def tag_of(drawn):
    """The tag that 64 random bytes spell. One draw for a whole tag is what makes ten thousand of them fast."""
    number = int.from_bytes(drawn)

    def choose(count):
        nonlocal number
        number, chosen = divmod(number, count)
        return chosen

    def word(first, rest, longest):
        return first[choose(len(first))] + "".join(rest[choose(len(rest))] for _ in range(choose(longest)))

    def time():
        return EPOCH + timedelta(seconds=choose(int((HOLD - EPOCH).total_seconds())))

    return Tag(
        owner=word(LETTERS + DIGITS, LETTERS + DIGITS + "-", 20),
        why=word(LETTERS, LETTERS + DIGITS + "-", 16),
        until=time() if choose(5) else HOLD,
        at=time(),
        id=f"{choose(2**32):08x}",
        was=("none", "allow")[choose(2)],
    )


tags = st.binary(min_size=64, max_size=64).map(tag_of)


tens_of_tags = st.binary(min_size=640, max_size=640).map(
    lambda drawn: [tag_of(bytes(part)) for part in itertools.batched(drawn, 64, strict=True)]
)


@pytest.mark.slow
@settings(max_examples=1_000)
@given(tens_of_tags)
def test_ten_thousand_tags_read_back_as_they_were_written(ten):
    for written in ten:
        description = tag.write(written)
        assert tag.read(description, written.owner) == written
        assert len(description) <= 129


@given(tags, st.text(max_size=300))
@example(LONGEST, "x" * 500)
@example(LONGEST, "")
def test_with_any_note_it_reads_back_within_256_printable_characters(written, note):
    description = tag.write(written, note)
    assert tag.read(description, written.owner) == written
    assert len(description) <= 256
    assert all(" " <= character <= "~" for character in description)
    assert description == description.strip()


@given(tags, st.text(alphabet=string.printable, max_size=300))
def test_the_note_is_shortened_and_never_the_tag(written, note):
    head = tag.write(written)
    description = tag.write(written, note)
    assert description.startswith(head)
    words = " ".join(note.split())
    assert description == f"{head} {words}"[:256].rstrip()


def test_a_note_in_other_alphabets_keeps_its_length_in_question_marks():
    assert tag.write(LONGEST, "vergessen\tim  Zug → Köln\n").endswith("] vergessen im Zug ? K?ln")


@given(tags)
def test_another_deployment_reads_it_as_foreign(written):
    assert tag.read(tag.write(written), f"not{written.owner}"[:20]) == Foreign()


CHARACTERS = [*string.printable, "\x00", "\x7f", "é", "٣", "\uff13", "\u2028", "\U0001f512", "\ud800"]


def mutations(text):
    for place in range(len(text) + 1):
        for character in CHARACTERS:
            yield text[:place] + character + text[place:]
            yield text[:place] + character + text[place + 1 :]
        yield text[:place] + text[place + 1 :]


@pytest.mark.parametrize(
    "description",
    [
        WHOLE,
        f"{WHOLE} INC-1234 left in a taxi",
        WHOLE.replace("2026-12-22T07:30:00Z", "hold").replace("none", "allow"),
        tag.write(LONGEST),
        WHOLE.replace("2026-12-22T", "9999-12-31T"),
        "[until=2026-12-01] travel phone",
        "[until=2026-12-01T12:00:00Z]",
        "[until=9999-12-30]",
    ],
)
def test_any_change_of_one_character_is_broken_or_foreign_or_another_valid_tag_and_never_an_exception(description):
    owner = "a" * 20 if description == tag.write(LONGEST) else "prod"
    for text in mutations(description):
        reading = tag.read(text, owner)
        assert isinstance(reading, Tag | HandWritten | Broken | Foreign), text
        if isinstance(reading, Tag):
            head = text[: text.index("]") + 1]
            assert tag.write(reading) == head, "the parser is strict: it takes only what the writer writes"
            assert tag.read(tag.write(reading), owner) == reading


@given(st.text(max_size=300), st.sampled_from(["", "[lockout/", "[lockout/1 by=prod ", WHOLE, WHOLE[:-1], "[until="]))
def test_any_text_at_all_reads_without_an_exception(text, head):
    assert isinstance(tag.read(head + text, "prod"), Tag | HandWritten | Broken | Foreign)


DAY = datetime(2026, 12, 1, tzinfo=UTC)

READINGS = [
    # what                                      the description                                   what it says
    ("nothing at all", None, Foreign),
    ("an empty text", "", Foreign),
    ("a person's words", "CEO's travel phone", Foreign),
    ("our tag not at the beginning", f" {WHOLE}", Broken),
    ("our tag after a person's words", f"see {WHOLE}", Broken),
    ("another owner's tag after a person's words", f"see {WHOLE.replace('by=prod', 'by=test')}", Foreign),
    ("another owner", WHOLE.replace("by=prod", "by=test"), Foreign),
    ("an owner of which ours is a part", WHOLE.replace("by=prod", "by=prod2"), Foreign),
    ("another owner, the rest unreadable", "[lockout/1 by=test ???", Foreign),
    ("a newer version", WHOLE.replace("lockout/1", "lockout/2"), Foreign),
    ("a newer version of another shape", "[lockout/27]", Foreign),
    ("the marker in capitals", WHOLE.replace("lockout", "Lockout"), Broken),
    ("the marker without its bracket", WHOLE[1:], Broken),
    ("the marker in other brackets", WHOLE.replace("[", "("), Broken),
    ("the marker in wide letters", WHOLE.replace("[lockout", "［ｌockout"), Broken),
    ("the marker with no version at all", WHOLE.replace("/1", ""), Broken),
    ("another owner's marker in capitals", WHOLE.replace("lockout", "Lockout").replace("=prod", "=test"), Foreign),
    ("a person's word that is the marker's", "lockout by the help desk", Foreign),
    ("ours", WHOLE, Tag),
    ("ours with a note", f"{WHOLE} INC-1", Tag),
    ("ours with a note of several lines", f"{WHOLE} one\ntwo", Tag),
    ("ours with a note in another alphabet", f"{WHOLE} 失くした", Tag),
    ("ours until released", WHOLE.replace("2026-12-22T07:30:00Z", "hold"), Tag),
    ("ours on a leap day", WHOLE.replace("2026-12-22", "2028-02-29"), Tag),
    ("ours, the note glued to the tag", f"{WHOLE}INC-1", Broken),
    ("ours, followed by a line feed", f"{WHOLE}\n", Broken),
    ("ours, a tab for a space", WHOLE.replace(" why", "\twhy"), Broken),
    ("ours, two spaces", WHOLE.replace(" why", "  why"), Broken),
    ("ours, fields in another order", WHOLE.replace("id=9f3c2a1b was=none", "was=none id=9f3c2a1b"), Broken),
    ("ours, a field missing", WHOLE.replace(" id=9f3c2a1b", ""), Broken),
    ("ours, a field twice", WHOLE.replace(" was=", " id=9f3c2a1b was="), Broken),
    ("ours, a field too many", WHOLE.replace(" was=", " x=1 was="), Broken),
    ("ours, cut off", WHOLE[:-1], Broken),
    ("ours, without an owner", "[lockout/1 why=lost]", Broken),
    ("the marker alone", "[lockout/", Broken),
    ("the marker without a version", "[lockout/x by=prod]", Broken),
    ("a version with a leading zero", WHOLE.replace("lockout/1", "lockout/01"), Broken),
    ("an owner in capitals", WHOLE.replace("by=prod", "by=PROD"), Broken),
    ("an owner that is too long", WHOLE.replace("by=prod", f"by={'a' * 21}"), Broken),
    ("a reason in capitals", WHOLE.replace("why=lost", "why=Lost"), Broken),
    ("a reason that is too long", WHOLE.replace("why=lost", f"why={'a' * 17}"), Broken),
    ("an ID in capitals", WHOLE.replace("9f3c2a1b", "9F3C2A1B"), Broken),
    ("an ID of seven digits", WHOLE.replace("9f3c2a1b", "9f3c2a1"), Broken),
    ("a fate that there is not", WHOLE.replace("was=none", "was=deny"), Broken),
    ("the 30th of February", WHOLE.replace("2026-12-22", "2026-02-30"), Broken),
    ("a leap day in a common year", WHOLE.replace("2026-12-22", "2026-02-29"), Broken),
    ("month 13", WHOLE.replace("2026-12-22", "2026-13-22"), Broken),
    ("year 0", WHOLE.replace("2026-12-22", "0000-12-22"), Broken),
    ("24 o'clock", WHOLE.replace("12-22T07", "12-22T24"), Broken),
    ("a leap second", WHOLE.replace("07:30:00Z at", "23:59:60Z at"), Broken),
    ("fractions of a second", WHOLE.replace("07:30:00Z at", "07:30:00.5Z at"), Broken),
    ("an offset in place of Z", WHOLE.replace("07:30:00Z at", "07:30:00+00:00 at"), Broken),
    ("a lower-case z", WHOLE.replace("07:30:00Z at", "07:30:00z at"), Broken),
    ("a day without a time", WHOLE.replace("2026-12-22T07:30:00Z", "2026-12-22"), Tag),
    ("a day that there is not", WHOLE.replace("2026-12-22T07:30:00Z", "2026-02-30"), Broken),
    ("the last day there is", WHOLE.replace("2026-12-22T07:30:00Z", "9999-12-31"), Broken),
    ("a day for the event", WHOLE.replace("at=2026-11-22T07:30:00Z", "at=2026-11-22"), Broken),
    ("digits of another script", WHOLE.replace("2026-12", "\uff12\uff10\uff12\uff16-12"), Broken),
    ("Arabic digits", WHOLE.replace("2026-12", "٢٠٢٦-12"), Broken),
    ("hold in capitals", WHOLE.replace("2026-12-22T07:30:00Z", "HOLD"), Broken),
    ("hold as the time of the event", WHOLE.replace("at=2026-11-22T07:30:00Z", "at=hold"), Broken),
    ("hold spelled as an instant", WHOLE.replace("2026-12-22T07:30:00Z", "9999-12-31T23:59:59Z"), Broken),
    ("the end of time as the event's", WHOLE.replace("at=2026-11-22T07:30:00Z", "at=9999-12-31T23:59:59Z"), Broken),
    ("hand-written, a day", "[until=2026-12-01]", DAY + timedelta(days=1)),
    ("hand-written, a day and words", "[until=2026-12-01] travel", DAY + timedelta(days=1)),
    ("hand-written, words without a space", "[until=2026-12-01]travel", DAY + timedelta(days=1)),
    ("hand-written, an instant", "[until=2026-12-01T12:00:00Z]", DAY + timedelta(hours=12)),
    ("hand-written, the last second of a day", "[until=2026-12-01T23:59:59Z]", DAY + timedelta(days=1, seconds=-1)),
    ("hand-written, not at the beginning", "travel [until=2026-12-01]", Broken),
    ("hand-written, an apostrophe before it", "'[until=2026-12-01]", Broken),
    ("hand-written, an unseen character before it", "\u200b[until=2026-12-01]", Broken),
    ("hand-written, a mark of order before it", "\ufeff[until=2026-12-01]", Broken),
    ("hand-written, without a bracket", "until=2026-12-01", Broken),
    ("hand-written, without bracket and sign", "until: 2026-12-01", Broken),
    ("hand-written, without a sign", "[until2026-12-01]", Broken),
    ("hand-written, misspelt", "[untill=2026-12-01]", Broken),
    ("hand-written, mistyped", "[unitl=2026-12-01]", Broken),
    ("hand-written, without a letter", "[util=2026-12-01]", Broken),
    ("hand-written, cut", "[unti: 2026-12-01]", Broken),
    ("hand-written, without a letter in its middle", "[untl=2026-12-01]", Broken),
    ("hand-written, a letter twice", "[unntil=2026-12-01]", Broken),
    ("hand-written, two letters in each other's place", "[nutil: 1.12.2026]", Broken),
    ("hand-written, the short word", "[till 2026-12-01]", Broken),
    ("hand-written, a digit that looks like its letter", "[unti1=2026/12/01]", Broken),
    ("a person's word of such letters", "[unit=12-34]", Foreign),
    ("a person's date", "[2026-12-01] checked", Foreign),
    ("a person's word before a date", "[since=2026-12-01]", Foreign),
    ("hand-written, two brackets", "[[until=2026-12-01]]", Broken),
    ("hand-written, angles", "<until=2026-12-01>", Broken),
    ("hand-written, wide letters", "［ｕｎｔｉｌ＝2026-12-01］", Broken),
    ("hand-written, more words within", "[valid until=2026-12-01]", Broken),
    ("a person's own sentence", "quarantine until the audit is over", Foreign),
    ("hand-written, in capitals", "[UNTIL=2026-12-01]", Broken),
    ("hand-written, with a capital", "[Until=2026-12-01]", Broken),
    ("hand-written, a blank before it", " [until=2026-12-01]", Broken),
    ("hand-written, a blank within it", "[ until=2026-12-01]", Broken),
    ("hand-written, a colon", "[until: 2026-12-01]", Broken),
    ("hand-written, a blank in place of the sign", "[until 2026-12-01]", Broken),
    ("hand-written, another bracket", "(until=2026-12-01)", Broken),
    ("a person's word that begins so", "[untilted screen]", Foreign),
    ("hand-written, no such day", "[until=2026-02-30]", Broken),
    ("hand-written, the last day there is", "[until=9999-12-31]", Broken),
    ("hand-written, words for a day", "[until=tomorrow]", Broken),
    ("hand-written, another order", "[until=01.12.2026]", Broken),
    ("hand-written, without a zone", "[until=2026-12-01T12:00:00]", Broken),
    ("hand-written, an offset", "[until=2026-12-01T12:00:00+01:00]", Broken),
    ("hand-written, no closing bracket", "[until=2026-12-01", Broken),
    ("hand-written, a space inside", "[until= 2026-12-01]", Broken),
    ("hand-written, a line feed inside", "[until=2026-12-01\n]", Broken),
    ("hand-written, digits of another script", "[until=\uff12\uff10\uff12\uff16-12-01]", Broken),
    ("hand-written, hold", "[until=hold]", Broken),
    ("hand-written, nothing", "[until=]", Broken),
]


@pytest.mark.parametrize(("description", "says"), [row[1:] for row in READINGS], ids=[row[0] for row in READINGS])
def test_a_description_says(description, says):
    reading = tag.read(description, "prod")
    if isinstance(says, datetime):
        assert reading == HandWritten(says)
    else:
        assert type(reading) is says, reading


def test_what_is_broken_says_why():
    assert tag.read("[until=2026-02-30]", "prod").fault.startswith("until=2026-02-30: ")
    assert tag.read(WHOLE.replace("2026-12-22", "2026-02-30"), "prod").fault.startswith(
        "until=2026-02-30T07:30:00Z at="
    )
    assert "2026-12-01T12:00:00Z" in tag.read("[until=tomorrow]", "prod").fault
    assert "in that order" in tag.read(WHOLE[:-1], "prod").fault


def test_the_longest_tag_leaves_room_for_a_note():
    assert len(tag.write(LONGEST)) == 129


def test_the_examples_in_the_documentation_are_true():
    tried = doctest.testmod(tag)
    assert tried.attempted >= 4
    assert tried.failed == 0
