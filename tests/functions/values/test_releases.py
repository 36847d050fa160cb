"""Which locks a release ends, against the plain list of all releases."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from device_lockout.values.outcome import Outcome
from device_lockout.values.override import Override
from device_lockout.values.record import Claim, DeviceRecord, Ending, Last, Released, UserRecord, tag_of
from device_lockout.values.tag import HOLD, write
from local.in_memory import SETTINGS, at

RULES = SETTINGS.rules
SCOPES, REASONS, SOURCES = ("device", "user"), ("lost", "stolen"), ("helpdesk", "mdm")

endings = st.builds(
    Ending, st.sampled_from(SCOPES), st.frozensets(st.sampled_from(REASONS)), st.sampled_from(("", *SOURCES))
)
claims = st.builds(
    lambda scope, why, happened, source: Claim("aaaaaaaa", scope, why, at(happened), HOLD, source=source),
    st.sampled_from(SCOPES),
    st.sampled_from(REASONS),
    st.integers(0, 5),
    st.sampled_from(("", *SOURCES)),
)


def shown(tag):
    """A DENY with the tag, and the tag."""
    return Override("DENY", write(tag)), tag


def ends(ending, happened, claim):
    """The rule in plain words."""
    return (
        ending.scope == claim.scope
        and (ending.reasons == frozenset() or claim.why in ending.reasons)
        and ending.source in ("", claim.source)
        and claim.at < at(happened)
    )


@given(st.lists(st.tuples(endings, st.integers(0, 5)), max_size=6), claims)
def test_a_claim_is_released_by_any_newer_release_that_covers_it(releases, claim):
    known = Released()
    for ending, happened in releases:
        known = known.with_release(ending, at(happened))
    right = not any(ends(ending, happened, claim) for ending, happened in releases)
    assert DeviceRecord(released=known).unreleased(claim) == right
    if claim.scope == "user":
        assert DeviceRecord(user=UserRecord(released=known)).unreleased(claim) == right


@given(st.lists(st.tuples(endings, st.integers(0, 5)), max_size=6), st.randoms())
def test_releases_are_the_same_in_any_order(releases, chance):
    def all_of(them):
        known = Released()
        for ending, happened in them:
            known = known.with_release(ending, at(happened))
        return known

    assert all_of(releases) == all_of(chance.sample(releases, len(releases)))


@given(st.lists(endings, max_size=60))
def test_an_item_keeps_one_release_of_each_kind_at_most(several):
    known = Released()
    for happened, ending in enumerate(several):
        known = known.with_release(ending, at(happened))
    kinds = [ending for ending, _ in known.newest]
    assert len(kinds) == len(set(kinds))


def test_a_limit_is_said_in_words():
    assert str(Ending("user")) == ""
    assert str(Ending("device", frozenset({"lost"}), "webhook.jamf")) == "only locks (lost) from events of webhook.jamf"
    assert str(Ending("device", source="siem")) == "only locks from events of siem"


def test_after_a_loss_a_users_lock_that_was_known_from_its_tag_is_a_copy_of_the_users_again():
    """A person had cut it to second 12 on this device. Else the user's own would hold there, and no release end it."""
    lost = Claim("aaaaaaaa", "device", "compromised", at(4), at(12))
    users = Claim("aaaaaaaa", "user", "compromised", at(4.5), HOLD, source="idp")
    record = DeviceRecord(claims=(lost,)).of_user(UserRecord((users,)))
    assert record.claims == (replace(lost, scope="user", source="idp"),)
    assert record.all_claims() == record.claims, "the device's own copy wins"
    assert record.wanted(at(13)) is None
    told = replace(lost, source="idp")
    assert DeviceRecord(claims=(told,)).of_user(UserRecord((users,))).claims == (told,), "a report asked for this one"


def test_a_dropped_lock_of_a_user_that_its_own_source_released_is_released_on_a_device_that_still_shows_it():
    released = Released().with_release(Ending("user", source="idp"), at(20))
    claim = Claim("aaaaaaaa", "user", "compromised", at(4), HOLD, source="idp")
    observed, tag = shown(tag_of(claim, "local", "none"))
    last = Last("command", "event", Outcome("locked", after=observed), at(5))
    record = DeviceRecord(last=last, user=UserRecord((), released)).adopt(observed, tag, at(30), RULES)
    assert record.claims == (claim,)
    assert record.wanted(at(30)) is None


def test_a_lock_that_a_restored_ledger_does_not_know_is_not_ended_by_a_release_of_its_user():
    released = Released().with_release(Ending("user"), at(20))
    claim = Claim("aaaaaaaa", "device", "stolen", at(4), HOLD)
    before = DeviceRecord(user=UserRecord((), released))
    assert before.adopt(*shown(tag_of(claim, "local", "none")), at(30), RULES).wanted(at(30)) == claim


def test_a_tag_that_fits_one_of_two_claims_is_no_edit_of_the_other():
    device = Claim("aaaaaaaa", "device", "compromised", at(4), at(12), source="mdm")
    users = Claim("aaaaaaaa", "user", "compromised", at(4), at(30), source="idp")
    record = DeviceRecord(claims=(device,), user=UserRecord((users,)))
    assert record.adopt(*shown(tag_of(users, "local", "none")), at(10), RULES) == record
    edited = replace(tag_of(users, "local", "none"), until=at(20))
    assert {claim.until for claim in record.adopt(*shown(edited), at(10), RULES).all_claims()} == {at(20)}
