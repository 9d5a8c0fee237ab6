"""Filters: what they match, how they are written canonically, and what a wrong one is told."""

import time
from contextlib import suppress
from typing import Any

import pytest

from bridge.errors import FilterInvalid
from bridge.events import Event
from bridge.filters import (
    MAX_CHARACTERS,
    MAX_TERMS,
    Filter,
    canonical,
    indexable_correlation,
    parse,
    pinned_correlation,
    predicate,
)
from bridge.filters.tree import Clause, Compare, Equals, Glob, Present, Term


def event(data: dict[str, Any] | None = None, **envelope: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": "evt-1",
        "event_type": "tests_complete",
        "publisher": "agent-7",
        "agent_id": "agent-7",
        "agent_type": "qa",
        "project": "default",
        "topic": "testing",
        "data": data or {},
        "correlation_id": None,
        "priority": "normal",
        "timestamp": "2025-01-01T00:00:00.000000Z",
        "ttl_seconds": 3600,
        "sequence": 1,
        "cursor": "c1",
    }
    return Event(**(fields | envelope))


def matches(text: str, data: dict[str, Any] | None = None, **envelope: Any) -> bool:
    return predicate(parse(text))(event(data, **envelope))


def refusal(text: str) -> FilterInvalid:
    with pytest.raises(FilterInvalid) as caught:
        parse(text)
    return caught.value


class TestTree:
    def test_comma_binds_loosest_and_a_bang_negates_one_term(self) -> None:
        assert parse("a:1|!b:x*y,c:>=2.5,d:*") == Filter(
            (
                Clause(
                    (
                        Term("a", Equals("1")),
                        Term("b", Glob(("x", "y")), negated=True),
                    )
                ),
                Clause((Term("c", Compare(">=", 2.5)),)),
                Clause((Term("d", Present()),)),
            )
        )

    @pytest.mark.parametrize("text", ["", " ", "\t\n "])
    def test_blank_text_matches_everything(self, text: str) -> None:
        assert parse(text) == Filter()
        assert matches(text)
        assert canonical(parse(text)) == ""

    def test_white_space_around_everything_is_stripped(self) -> None:
        spaced = " ! a : x y * z |  b : >=  90 ,\n c : * "
        assert parse(spaced) == parse("!a:x y * z|b:>=90,c:*")

    def test_only_the_first_colon_splits(self) -> None:
        assert parse("url:http://x:80/?a=b") == Filter(
            (Clause((Term("url", Equals("http://x:80/?a=b")),)),)
        )

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            (r"f:a\,b\|c", "a,b|c"),
            (r"f:\!x", "!x"),
            (r"f:\>5", ">5"),
            (r"f:\<5", "<5"),
            (r"f:\*", "*"),
            (r"f:a\*b", "a*b"),
            (r"f:C:\\dir", r"C:\dir"),
            (r"f:\ x\ ", " x "),
            ('f:"a,b|c*!>\'"', "a,b|c*!>'"),
            (r'f:"say \"hi\" \\"', r'say "hi" \ '.strip()),
            ('f:""', ""),
            ('f:  " x "  ', " x "),
            ('f:5"', '5"'),
            ('f:"1 AND b:2"', "1 AND b:2"),
            ("f:this and that", "this and that"),
            ("f:hello!", "hello!"),
            ("f:(555) 1234", "(555) 1234"),
        ],
    )
    def test_escapes_and_quotes_make_literals(self, text: str, value: str) -> None:
        assert parse(text) == Filter((Clause((Term("f", Equals(value)),)),))

    def test_a_field_may_be_escaped_or_quoted(self) -> None:
        expected = Filter((Clause((Term("a:b,c", Equals("1")),)),))
        assert parse(r"a\:b\,c:1") == parse('"a:b,c":1') == expected


class TestEquality:
    @pytest.mark.parametrize(
        ("text", "value", "expected"),
        [
            ("f:success", "success", True),
            ("f:success", "Success", False),
            ("f:success", "success ", False),
            ("f:90", 90, True),
            ("f:90", 90.0, True),
            ("f:90.0", 90, True),
            ("f:9e1", 90, True),
            ("f:+090", 90, True),
            ("f:-0", 0, True),
            ("f:90", "90", True),
            ("f:90.0", "90", False),
            ('f:"90"', 90, False),
            ('f:"90"', "90", True),
            ('f:"90"', [1, ["90"]], True),
            ('f:"true"', True, False),
            ('f:"null"', None, False),
            ('f:"None"', None, False),
            ('f:"None"', "None", True),
            (r"f:\-5", -5, False),
            ("f:1", True, False),
            ("f:0", False, False),
            ("f:1.0", True, False),
            ("f:true", True, True),
            ("f:true", "true", True),
            ("f:true", 1, False),
            ("f:false", False, True),
            ("f:false", 0, False),
            ("f:false", None, False),
            ("f:null", None, True),
            ("f:null", "null", True),
            ("f:null", [], False),
            ("f:None", None, True),
            ("f:None", "None", True),
            ("f:None", "null", False),
            ("f:True", True, True),
            ("f:True", "True", True),
            ("f:True", 1, False),
            ("f:TRUE", True, False),
            ("f:False", False, True),
            ("f:False", "false", False),
            ("f:False", [True, False], True),
            ('f:""', "", True),
            ('f:""', None, False),
            ("f:nan", float("nan"), False),
            ("f:Infinity", float("inf"), False),
            ("f:0x10", 16, False),
            ("f:1_000", 1000, False),
            ("f:١٢", 12, False),
            ("f:9007199254740993", 9007199254740993, True),
            ("f:9007199254740993", 9007199254740992, False),
            ("f:9007199254740993", 9007199254740992.0, False),
            ("f:1e999", 10**400, False),
            ("f:x", {"x": 1}, False),
            ("f:b", ["a", "b"], True),
            ("f:b", ["a", ["c", ["b"]]], True),
            ("f:2", ["a", [2.0]], True),
            ("f:b", [{"b": "b"}], False),
            ("f:null", [None], True),
        ],
    )
    def test_equals(self, text: str, value: object, expected: bool) -> None:
        assert matches(text, {"f": value}) is expected
        assert matches("!" + text, {"f": value}) is not expected

    def test_a_missing_field_is_not_null(self) -> None:
        assert not matches("f:null")
        assert matches("!f:null")
        assert matches("!f:v")


class TestGlob:
    @pytest.mark.parametrize(
        ("text", "value", "expected"),
        [
            ("f:issue-*", "issue-12", True),
            ("f:issue-*", "issue-", True),
            ("f:issue-*", "an issue-12", False),
            ("f:*-12", "issue-12", True),
            ("f:*sue*", "issue-12", True),
            ("f:a*a", "a", False),
            ("f:a*a", "aa", True),
            ("f:a*b*c", "a-b-b-c", True),
            ("f:a*b*c", "acb", False),
            ("f:ab*bc*cd", "abcd", False),
            ("f:a***b", "a b", True),
            ("f:a*b", "a\nb", True),
            ("f:A*", "abc", False),
            ("f:a.*", "abc", False),
            (r"f:a\**", "a*bc", True),
            (r"f:a\**", "abc", False),
            ("f:12*", 123, True),
            ("f:*.5", 1.5, True),
            ("f:t*", True, True),
            ("f:1*", True, False),
            ("f:n*", None, False),
            ("f:n*", float("nan"), False),
            ("f:x*", {"x": 1}, False),
            ("f:x*", ["y", ["xyz"]], True),
        ],
    )
    def test_glob(self, text: str, value: object, expected: bool) -> None:
        assert matches(text, {"f": value}) is expected
        assert matches("!" + text, {"f": value}) is not expected

    def test_an_integer_too_long_to_write_has_no_text(self) -> None:
        assert not matches("f:1*", {"f": 10**5000})
        assert matches("f:>1", {"f": 10**5000})

    def test_many_stars_take_linear_time(self) -> None:
        hostile = predicate(parse("f:" + "a*" * 1000 + "b"))
        began = time.perf_counter()
        assert not hostile(event({"f": "a" * 100_000}))
        assert time.perf_counter() - began < 1


class TestCompare:
    @pytest.mark.parametrize(
        ("text", "value", "expected"),
        [
            ("f:>90", 90, False),
            ("f:>90", 90.5, True),
            ("f:>=90", 90, True),
            ("f:<90", 89, True),
            ("f:<=90", 90, True),
            ("f:<=90", 91, False),
            ("f:>90", "95.5", True),
            ("f:>90", "95%", False),
            ("f:>90", " 95", False),
            ("f:>0", True, False),
            ("f:<1", None, False),
            ("f:>0", float("nan"), False),
            ("f:<0", float("nan"), False),
            ("f:<0", float("-inf"), True),
            ("f:>-1.5e2", -100, True),
            ("f:>9007199254740992", 9007199254740993, True),
            ("f:>9007199254740992", 9007199254740992.0, False),
            ("f:<1e999", 10**400, True),
            ("f:>90", "9" * 10_000, False),
            ("f:>90", "1e999", True),
            ("f:>90", [1, [2, 95]], True),
            ("f:>90", {"f": 95}, False),
        ],
    )
    def test_compare(self, text: str, value: object, expected: bool) -> None:
        assert matches(text, {"f": value}) is expected
        assert matches("!" + text, {"f": value}) is not expected


class TestPresence:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("", True),
            (0, True),
            (False, True),
            ([], True),
            ({}, True),
            ([None], True),
            (None, False),
        ],
    )
    def test_present_is_there_and_not_null(self, value: object, expected: bool) -> None:
        assert matches("f:*", {"f": value}) is expected
        assert matches("!f:*", {"f": value}) is not expected

    def test_a_missing_field_is_not_present(self) -> None:
        assert not matches("f:*")

    def test_several_stars_are_one(self) -> None:
        assert parse("f:**") == parse("f:*")


class TestLookup:
    def test_dots_descend_through_objects_and_arrays(self) -> None:
        data = {
            "metrics": {"coverage": 91},
            "files": [{"name": "a.py"}, [{"name": "b.py"}], {"size": 3}],
            "runs": [["x", "y"], {"0": "z"}],
        }
        assert matches("metrics.coverage:>90", data)
        assert matches("files.name:b.py", data)
        assert matches("files.0.name:a.py", data)
        assert not matches("files.1.name:a.py", data)
        assert matches("runs.0.1:y", data)
        assert not matches("runs.0:z", data)
        assert not matches("runs.99999999999999999999:*", data)
        assert not matches("metrics.coverage.deeper:*", data)
        assert not matches("metrics.none.deeper:*", data)

    def test_a_key_with_dots_is_found_as_it_is(self) -> None:
        data = {"a.b": 1, "a": {"b": 2}}
        assert matches("a.b:1", data)
        assert matches("a.b:2", data)
        assert not matches("!a.b:2", data)

    @pytest.mark.parametrize(
        "text",
        [
            "event_id:evt-1",
            "event_type:tests_*",
            "publisher:agent-7",
            "agent_id:agent-7",
            "agent_type:qa",
            "topic:testing",
            "priority:normal",
            "timestamp:2025-01-01T*",
            "ttl_seconds:>=3600",
            "correlation_id:null",
        ],
    )
    def test_the_envelope_is_searched(self, text: str) -> None:
        assert matches(text)

    def test_data_and_envelope_both_count(self) -> None:
        data = {"agent_type": "dev"}
        assert matches("agent_type:dev", data)
        assert matches("agent_type:qa", data)
        assert not matches("!agent_type:qa", data)
        assert matches("agent_id:*", {"agent_id": "x"}, agent_id=None)

    def test_the_project_is_not_exposed(self) -> None:
        assert not matches("project:*")

    def test_data_can_be_named(self) -> None:
        assert matches("data.status:success", {"status": "success"})
        assert matches("data.a.b:1", {"a": {"b": 1}})
        assert matches("data.status:inner", {"status": "x", "data": {"status": "inner"}})
        assert matches("data:*")
        assert not matches("data:x", {"data": {"x": 1}})

    def test_every_correlation_id_counts(self) -> None:
        both: dict[str, Any] = {"correlation_id": "top", "correlation_ids": ("top", "inner")}
        assert matches("correlation_id:top", **both)
        assert matches("correlation_id:inner", **both)
        assert matches("correlation_id:inn*", **both)
        assert not matches("correlation_id:null", **both)
        assert matches("correlation_id:*", correlation_id="top")
        assert not matches("correlation_id:*")

    def test_a_correlation_id_that_is_none_in_python_finds_no_event_without_one(self) -> None:
        assert not matches("correlation_id:None")
        assert matches("correlation_id:None", correlation_id="None")
        assert pinned_correlation(parse("correlation_id:None")) == "None"

    def test_deep_data_is_no_trouble(self) -> None:
        deep: Any = "x"
        for _ in range(100_000):
            deep = [deep]
        assert matches("f:x", {"f": deep})
        assert not matches("f.g:x", {"f": deep})
        while isinstance(deep, list):  # freeing it all at once would nest as deeply
            deep = deep.pop()

    def test_an_or_of_and(self) -> None:
        text = "status:success|status:partial,issue_id:issue-*,!agent_type:dev,coverage:>90"
        data = {"status": "partial", "issue_id": "issue-1", "coverage": 91}
        assert matches(text, data)
        assert not matches(text, data | {"status": "failed"})
        assert not matches(text, data | {"coverage": 90})
        assert not matches(text, data, agent_type="dev")


class TestCanonical:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("b:2,a:1", "a:1,b:2"),
            ("a:2|a:1,a:1|a:2", "a:1|a:2"),
            (" a : 1 , a:1 ", "a:1"),
            ('"a":"x"', "a:x"),
            ('"a":"1"', 'a:"1"'),
            (r"a:1\.0", 'a:"1.0"'),
            ('a:"None"', 'a:"None"'),
            (r"a:\1".replace("1", ";"), "a:;"),
            (r"a:x\,y", r"a:x\,y"),
            (r"a:x\,y\,z\,w", 'a:"x,y,z,w"'),
            ('a:"*"', r"a:\*"),
            ('a:">5"', r"a:\>5"),
            ('a:"a>5"', "a:a>5"),
            ('a:"!x!"', r"a:\!x!"),
            ('a:" "', r"a:\ "),
            ('a:" x "', r"a:\ x\ "),
            ('a:""', 'a:""'),
            (r"a:\"x\"", 'a:\\"x"'),
            ('a:"1 AND b:2"', r"a:1\ AND b:2"),
            ('"not x":1', r"not\ x:1"),
            (r"a:x**y", "a:x*y"),
            (r"a:\!*\ ", r"a:\!*\ "),
            ("a:\"'x'\"", r"a:\'x'"),
            (r"a:\'x*'", r"a:\'x*'"),
            ("a:'x", "a:'x"),
            ("a:it's 'x'", "a:it's 'x'"),
            ('a:"1;b:2"', r"a:1\;b:2"),
            ("a:1;b", "a:1;b"),
            ("a:x y;b:2", "a:x y;b:2"),
            ("a:1&b:2", "a:1&b:2"),
            ("a:[x]", "a:[x]"),
            ("a:in(x)", "a:in(x)"),
            ("a:[x],b:(y)", "a:[x],b:(y)"),
            ("a:[x,b:y]", "a:[x,b:y]"),
            ('a:[x,"],":y', r"]\,:y,a:[x"),
            ("a:> 90.0", "a:>90"),
            ("a:>9e1", "a:>90"),
            ("a:>+007", "a:>7"),
            ("a:>-0.50", "a:>-0.5"),
            ("a:>10000000000000000000000", "a:>1e22"),
            ("a:>1e999", "a:>1e999"),
            ("a:<-1e999", "a:<-1e999"),
            ("a:>0.0000000000000000001", "a:>1e-19"),
        ],
    )
    def test_one_text_for_one_meaning(self, text: str, expected: str) -> None:
        assert canonical(parse(text)) == expected
        assert canonical(parse(expected)) == expected

    def test_spellings_of_different_meaning_stay_apart(self) -> None:
        texts = ["a:90", "a:90.0", "a:>90", r"a:\>90", "!a:90", "a:9*", r"a:9\*", "a:*", "b:90"]
        assert len({canonical(parse(text)) for text in texts}) == len(texts)

    def test_a_filter_at_the_limit_stays_readable(self) -> None:
        """Plainly written numbers may be longer than those that were read."""
        terms = [f"{chr(0x4E00 + n)}:>{n + 1}e12" for n in range(MAX_TERMS - 1)]
        filler = MAX_CHARACTERS - len(",".join(terms)) - len(",z:")
        written = canonical(parse(",".join([*terms, "z:" + "x" * filler])))
        assert len(written) <= MAX_CHARACTERS
        assert canonical(parse(written)) == written


class TestPinnedCorrelation:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("correlation_id:wf-1", "wf-1"),
            ("status:ok,correlation_id:wf-1", "wf-1"),
            ('correlation_id:"wf,1"', "wf,1"),
            ("correlation_id:wf-1|correlation_id:wf-1", "wf-1"),
            ("correlation_id:b,correlation_id:a", "a"),
            ("correlation_id:wf-1|status:ok", None),
            ("correlation_id:a|correlation_id:b", None),
            ("!correlation_id:wf-1", None),
            ("correlation_id:wf-*", None),
            ("correlation_id:*", None),
            ("correlation_id:>5", None),
            ('correlation_id:""', None),
            ("correlation_id:null", None),
            ("correlation_id:12", "12"),
            ('correlation_id:"null"', "null"),
            ("data.correlation_id:wf-1", None),
            ("", None),
        ],
    )
    def test_a_pin_is_what_every_match_must_carry(self, text: str, expected: str | None) -> None:
        assert pinned_correlation(parse(text)) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("correlation_id:wf-1", "wf-1"),
            ("correlation_id:12", None),
            ("correlation_id:true", None),
            ('correlation_id:"12"', "12"),
            ('correlation_id:"null"', "null"),
        ],
    )
    def test_what_has_one_spelling_can_be_looked_up(self, text: str, expected: str | None) -> None:
        assert indexable_correlation(parse(text)) == expected


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "column", "hint"),
        [
            ("cursor:c1-2", 1, "data.cursor:c1-2"),
            ("a:1,!delivery_count:>1", 6, "a:1,!data.delivery_count:>1"),
            ("status=success", 7, "status:success"),
            ("status==success", 7, "status:success"),
            ("status == 'success'", 8, "status:success"),
            ('"status"="a,b"', 9, r'"status":a\,b'),
            ("url=http://x?a=b", 4, "url:http://x?a=b"),
            ("status=success,priority=high", 7, "status:success,priority:high"),
            ("a:1,b!=2|c:3", 6, "a:1,!b:2|c:3"),
            ("status!=failed", 7, "!status:failed"),
            ("status<>failed", 7, "!status:failed"),
            ("coverage>90", 9, "coverage:>90"),
            ("coverage => 90", 10, "coverage:>=90"),
            ("status:==success", 8, "status:success"),
            ("status:!failed", 8, "!status:failed"),
            ("status:!=failed", 8, "!status:failed"),
            ("=x", 1, None),
            ("status", 7, "status:*"),
            ("status success", 15, "status:success"),
            ("status is not success", 22, "!status:success"),
            ("status:success|partial", 23, "status:success|status:partial"),
            ("status:success | partial|failed,x:1", 25, None),
            ("status:(success|partial)", 1, "status:success|status:partial"),
            ("s:in(a,b)", 1, "s:a|s:b"),
            ("x:1,s:in (a, b, c),y:2", 5, "x:1,s:a|s:b|s:c,y:2"),
            ("s:IN('a','b')", 1, "s:a|s:b"),
            ("s in (a,b)", 1, "s:a|s:b"),
            ("s not in (a,b)", 1, "!s:a,!s:b"),
            ("!s:in(a,b)", 1, "!s:a,!s:b"),
            ("s:[a,b]", 1, "s:a|s:b"),
            ('s:["a b","c"]', 1, "s:a b|s:c"),
            ("s in ('a', \"b\")", 1, "s:a|s:b"),
            ("s:[a|b]", 1, "s:a|s:b"),
            ("s:'success'", 3, "s:success"),
            ("a:1,s:'x y',c:3", 7, "a:1,s:x y,c:3"),
            ("s:'issue-*'", 3, "s:issue-*"),
            ("s:''", 3, 's:""'),
            ("s:'a','b'", 3, None),
            ("a:1;b:2", 4, "a:1,b:2"),
            ("a:x*; !b:2;c:>3,d:4", 5, "a:x*,!b:2,c:>3,d:4"),
            ("a:>1;b:2", 5, "a:>1,b:2"),
            ("a==1,foo", 2, None),
            ("title:a, b", 11, "title:a|title:b"),
            ("title:'a, b'", 13, 'title:"a, b"'),
            ("status:success,partial", 23, "status:success|status:partial"),
            ("!status:a|b", 12, "!status:a,!status:b"),
            ("a:1 AND b:2", 4, "a:1,b:2"),
            ("a:1 and b = 'x y'", 4, "a:1,b:x y"),
            ("a:1 OR not b:2", 4, "a:1|!b:2"),
            ("a:1 && b:2", 4, "a:1,b:2"),
            ("a:1&&b:2", 4, "a:1,b:2"),
            ('a:"x" AND b:2', 7, "a:x,b:2"),
            ("a:1 OR b:2 AND c:3", 4, None),
            ("a:1||b:2", 5, "a:1|b:2"),
            ("a:1, and b:2", 6, None),
            ("NOT status:failed", 1, "!status:failed"),
            ("!!status:failed", 2, "status:failed"),
            ("status:>abc", 9, "status:>90"),
            ("coverage:>90%", 11, "coverage:>90"),
            ('coverage:>="1_000"', 12, "coverage:>=1000"),
            ("f:<>5", 4, "!f:5"),
            ("f:>", 4, "f:>90"),
            ("f:>nan", 4, "f:>90"),
            (":x", 1, None),
            ("!:x", 2, None),
            ("status:", 8, "status:*"),
            ("!status:,a:1", 9, "!status:*"),
            ('a:"b', 3, 'a:"b"'),
            ('a:"b"c', 6, None),
            ('a:"b"*', 6, None),
            ("a:b\\", 4, "a:b\\\\"),
            (r"f:C:\dir", 5, r"f:C:\\dir"),
            (r'f:"C:\dir"', 6, r'f:"C:\\dir"'),
            (r'f:"a\,b"', 5, r'f:"a\\,b"'),
            ("a:1,", 5, "a:1"),
            ("a:1,,b:2", 5, "a:1,b:2"),
            (",a:1", 1, "a:1"),
            ("a:1|", 5, "a:1"),
            ("|", 1, None),
            ("!", 2, None),
            ("(a:1|b:2),c:3", 1, "a:1|b:2,c:3"),
            ("(a:1,b:2)|c:3", 1, None),
            ("!(a:1|b:2)", 2, None),
            ("data.*:x", 1, None),
            ('{"status": "ok", "n": [1, null], "x": "a,b"}', 1, r"status:ok,n:1|n:null,x:a\,b"),
            ('{"a":' + "[" * 4000, 1, None),
            ("{status:ok}", 1, None),
        ],
    )
    def test_it_says_where_and_what_was_meant(
        self, text: str, column: int, hint: str | None
    ) -> None:
        error = refusal(text)
        assert error.details["column"] == column
        assert error.details["filter"] == text
        if hint is not None:
            assert error.details["hint"] == hint
            assert f"`{hint}`" in error.message
        assert f"column {column}" in error.message
        assert error.details["expected"] in error.message

    def test_a_hint_is_left_out_where_there_is_none(self) -> None:
        assert "hint" not in refusal("|").details
        assert "hint" not in refusal("a:1 OR b:2 AND c:3").details

    @pytest.mark.parametrize("text", ["a==1,foo", "s:'a','b'", "a:1 AND b:2,c"])
    def test_a_hint_leaves_no_term_out_of_what_was_another_language(self, text: str) -> None:
        """It would be a wider filter than was meant."""
        assert "hint" not in refusal(text).details

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("title:a, b", '`title:"a, b"`'),
            ("x:1,title:Fix it, now,y:2", '`title:"Fix it, now"`'),
            ("title:'a, b'", '`title:"a, b"`'),
            ("n:>", "`>` has no number after it"),
            ("n:<= ,a:1", "`<=` has no number after it"),
        ],
    )
    def test_what_else_may_have_been_meant_is_said(self, text: str, says: str) -> None:
        assert says in refusal(text).message

    def test_too_many_characters(self) -> None:
        longest = "f:" + "x" * (MAX_CHARACTERS - 2)
        assert parse(longest)
        error = refusal(longest + "x")
        assert error.details["column"] == MAX_CHARACTERS + 1
        assert error.details["filter"] == longest[:200] + "…"
        assert "at most 4096" in error.message

    def test_too_many_terms(self) -> None:
        most = ",".join(["a:1|b:2"] * (MAX_TERMS // 2))
        assert parse(most)
        error = refusal(most + ",c:3")
        assert error.details["column"] == len(most) + 2
        assert "at most 64 terms" in error.message

    @pytest.mark.parametrize(
        "text",
        [
            "a" + " " * 4000,
            "a:1" + " and" * 1000,
            "a:1 and" + " " * 4000 + "x",
            "a" + " " * 4000 + "is" + " " * 80 + "x",
            "not" + " " * 4000 + "x",
            "a:1,not " + "x " * 2000,
            "a:[" * 1300,
            "a:[,a:" * 60,
            "a:[x," * 60 + "y" * 3000,
            "a" + " " * 4000 + "in (x",
            "a:in" + " " * 4000,
            "a:" + "x" * 4000 + ";b",
            "a:'" + "x'" * 2000,
            "," * 4096,
            '"' * 4095,
            '"\\' * 2047,
            "a=" * 2048,
            "a b," * 1024,
            "f:>" + "1" * 4000 + "x",
            "(" * 4096,
            ",|" * 2048,
        ],
    )
    def test_hostile_text_is_answered_fast(self, text: str) -> None:
        began = time.perf_counter()
        with suppress(FilterInvalid):
            parse(text)
        assert time.perf_counter() - began < 1
