"""Permissions that name what they are for: how they are read, what they cover, who gives them."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import Forbidden, RequestInvalid
from bridge.scopes import EVERYTHING, NOTHING, Scope
from bridge.subscription import Selection, Subscription
from bridge.tokens import KeyConfig, Principal, TokenAuthority
from bridge.tokens.minting import granted_permissions

SECRET = "0123456789abcdef0123456789abcdef"
FAST = settings(max_examples=300, deadline=None)

# Few and alike, so that patterns and names often meet.
NAMES = ("a", "ab", "abc", "b", "a.b", "a.b.c", "testing", "test")
TOPICS = tuple(name.replace(".", "%2E") for name in NAMES)
parts = st.sampled_from(("*", *(name + end for name in TOPICS for end in ("", "*"))))
texts = st.tuples(parts, parts.map(lambda part: part.replace("%2E", "."))).map(".".join) | parts
scopes = st.lists(texts, max_size=4).map(Scope.read)
names = st.sampled_from(NAMES)
some_names = st.none() | st.sets(names, min_size=1, max_size=3).map(lambda s: tuple(sorted(s)))
permissions = st.lists(
    texts.map("publish:{}".format)
    | texts.map("wait:{}".format)
    | st.sampled_from(("publish_events", "spawn_agents", "deploy", "publish:", "wait:*x")),
    max_size=5,
).map(frozenset)


def principal(*permissions: str) -> Principal:
    return Principal("a", None, "p", frozenset(permissions), time.time() + 60, None)


@pytest.mark.parametrize(
    ("text", "taken", "left"),
    [
        ("testing", ["testing/x", "testing/a.b"], ["testing2/x", "test/x"]),
        ("testing.*", ["testing/x"], ["ops/x"]),
        ("testing.tests_passing", ["testing/tests_passing"], ["testing/tests_passing2"]),
        ("testing.tests_*", ["testing/tests_", "testing/tests_x"], ["testing/test", "ops/tests_x"]),
        ("test*.*", ["test/x", "testing/x"], ["tes/x"]),
        ("*", ["a/b", "a.b/c d"], []),
        ("*.deployed", ["ops/deployed", "a.b/deployed"], ["ops/deployed2"]),
        ("build.finished", ["build/finished"], ["build.finished/x", "x/build.finished"]),
        ("ci.build.finished", ["ci/build.finished"], ["ci.build/finished"]),
        ("ci%2Ebuild.finished", ["ci.build/finished"], ["ci/build.finished"]),
        ("a:b.c:d", ["a:b/c:d"], ["a/b"]),
    ],
)
def test_what_a_scope_takes(text: str, taken: list[str], left: list[str]) -> None:
    scope = Scope.read([text])
    assert [each for each in taken if not scope.takes(*each.split("/"))] == []
    assert [each for each in left if scope.takes(*each.split("/"))] == []


@pytest.mark.parametrize(
    "text", ["", ".", "testing.", ".x", "*testing", "te*st", "testing.*x", "a b", "_a", "a%2A", "ä"]
)
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ValueError, match="a dot in a topic's name is `%2E`"):
        Scope.read([text])


@FAST
@given(scopes)
def test_a_scope_is_read_as_it_is_written(scope: Scope) -> None:
    assert Scope.read(scope.written()) == scope
    assert Scope.read(str(scope).split()) == scope


@FAST
@given(scopes.filter(bool), st.none() | names)
def test_a_narrowed_subscription_is_read_as_it_is_written(
    scope: Scope, consumer: str | None
) -> None:
    whole = Subscription(Selection("p", ("a",), within=None), "agent", consumer=consumer)
    narrowed = replace(whole, selection=replace(whole.selection, within=scope))
    read = Subscription.from_metadata(narrowed.metadata())
    assert read == narrowed
    assert read.name == narrowed.name != whole.name


@FAST
@given(scopes, scopes, names, names)
def test_what_includes_another_takes_all_that_it_takes(
    wide: Scope, narrow: Scope, topic: str, event_type: str
) -> None:
    if wide.includes(narrow) and narrow.takes(topic, event_type):
        assert wide.takes(topic, event_type)


@FAST
@given(scopes, some_names, some_names, names, names)
def test_what_is_covered_and_what_is_among_it(
    scope: Scope,
    types: tuple[str, ...] | None,
    topics: tuple[str, ...] | None,
    topic: str,
    event_type: str,
) -> None:
    asked = (types is None or event_type in types) and (topics is None or topic in topics)
    taken = scope.takes(topic, event_type)
    if asked and scope.covers(types, topics):
        assert taken
    if asked and taken:
        left_types, left_topics = scope.among(types, topics)
        assert left_types is None or event_type in left_types
        assert left_topics is None or topic in left_topics


@pytest.mark.parametrize(
    ("given_ones", "publishes", "reads"),
    [
        (None, EVERYTHING, EVERYTHING),
        ([], NOTHING, EVERYTHING),
        (["publish_events"], EVERYTHING, EVERYTHING),
        (["spawn_agents", "read:testing", "publish"], NOTHING, EVERYTHING),
        (["publish:*"], EVERYTHING, EVERYTHING),
        (["publish:testing"], Scope.read(["testing.*"]), EVERYTHING),
        (["publish_events", "publish:testing"], Scope.read(["testing"]), EVERYTHING),
        (["publish:a", "publish:b.c*"], Scope.read(["a", "b.c*"]), EVERYTHING),
        (["wait:a"], NOTHING, Scope.read(["a"])),
        (["publish_events", "wait:*"], EVERYTHING, EVERYTHING),
        (["publish_events", "publish:"], NOTHING, EVERYTHING),
        (["publish_events", "wait:"], EVERYTHING, NOTHING),
        (["wait:*x", "wait:a"], NOTHING, Scope.read(["a"])),
    ],
    ids=str,
)
def test_what_permissions_allow(
    given_ones: list[str] | None, publishes: Scope, reads: Scope
) -> None:
    allowed = None if given_ones is None else frozenset(given_ones)
    one = Principal("a", None, "p", allowed, 0, None)
    assert (one.publishes, one.reads) == (publishes, reads)


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (["publish_events"], ["publish:testing.*"]),
        (["publish:testing.*"], ["publish:testing.unit", "publish:testing"]),
        (["publish:*"], ["publish_events"]),
        (["publish:testing", "publish_events"], ["publish:testing", "publish_events"]),
        (["publish:test*"], ["publish:testing.a*"]),
        ([], ["wait:testing"]),
        (["wait:testing", "publish_events"], ["wait:testing.unit", "publish:ops"]),
        (["deploy"], ["deploy"]),
    ],
    ids=str,
)
def test_what_one_may_do_one_may_give(own: list[str], wanted: list[str]) -> None:
    given_ones = granted_permissions(principal("spawn_agents", *own), wanted)
    assert given_ones == frozenset(wanted)


@pytest.mark.parametrize(
    ("own", "wanted", "extra"),
    [
        (["publish:testing.*"], ["publish:*"], ["publish:*"]),
        (["publish:testing.*"], ["publish:ops.a", "publish:testing.a"], ["publish:ops.a"]),
        (["publish:testing.*"], ["publish_events"], ["publish_events"]),
        (["publish_events", "publish:testing"], ["publish_events"], ["publish_events"]),
        ([], ["publish:testing"], ["publish:testing"]),
        (["publish:testing.a"], ["publish:testing"], ["publish:testing"]),
        (["wait:testing.*"], ["wait:testing", "wait:test*"], ["wait:test*"]),
        (["publish_events"], ["deploy"], ["deploy"]),
    ],
    ids=str,
)
def test_what_one_may_not_do_one_may_not_give(
    own: list[str], wanted: list[str], extra: list[str]
) -> None:
    with pytest.raises(Forbidden, match="that you do not have") as error:
        granted_permissions(principal("spawn_agents", *own), wanted)
    assert error.value.details["extra"] == extra


def test_to_leave_a_limit_out_would_give_more() -> None:
    boss = principal("spawn_agents", "publish_events", "wait:testing")
    with pytest.raises(Forbidden, match=r"could read everything, .*: wait:testing\.\*"):
        granted_permissions(boss, ["publish_events"])
    assert granted_permissions(boss, None) == {"publish_events", "wait:testing"}


@FAST
@given(permissions, permissions, names, names)
def test_nobody_minted_may_do_more_than_its_maker(
    own: frozenset[str], wanted: frozenset[str], topic: str, event_type: str
) -> None:
    maker = principal("spawn_agents", *own)
    try:
        made = principal(*granted_permissions(maker, wanted))
    except (Forbidden, RequestInvalid):
        return
    event = topic, event_type
    assert maker.publishes.takes(*event) or not made.publishes.takes(*event)
    assert maker.reads.takes(*event) or not made.reads.takes(*event)


@pytest.mark.parametrize("wrong", ["publish:", "wait:", "wait:*x", "publish:a.b*c", "publish:a b"])
def test_one_that_names_no_scope_is_not_given(wrong: str) -> None:
    with pytest.raises(RequestInvalid, match="names no topic; behind") as error:
        granted_permissions(principal("spawn_agents", "publish_events"), [wrong])
    assert error.value.details == {"field": "permissions"}


def test_a_renewed_token_keeps_them() -> None:
    authority = TokenAuthority(KeyConfig(secret=SECRET))
    own = ("publish:testing.*", "wait:testing", "wait:*wrong")
    assert authority.refresh(principal(*own)).permissions == sorted(own)
