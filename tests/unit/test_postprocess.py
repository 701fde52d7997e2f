"""Each rule by itself, on documents in memory; and what the proof says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from attrs import NOTHING, define, evolve, field, fields_dict

from env_sync.config.postprocess_rules import RULES
from env_sync.core.errors import TransformationFailed
from env_sync.domain.postprocess.changes import AT_ONCE, change
from env_sync.domain.postprocess.kinds import KINDS
from env_sync.domain.postprocess.redact_last_part import RedactLastPart
from env_sync.domain.postprocess.replace_text import Replacement, ReplaceText
from env_sync.domain.postprocess.rewrite_domain import DomainException, RewriteDomain

Document = dict[str, Any]
ABOVE = "production.example.gov.uk"
REWRITE = RewriteDomain(to="integration.example.gov.uk")
REDACT = RedactLastPart(
    collection="assets", path_field="legacy_url_path", limited_by=("access_limited", "access_limited_to")
)


@define
class Memory:
    """Documents in memory. `spoil` may change the reply to a command."""

    collections: dict[str, list[Document]]
    spoil: Callable[[Document], Document] = field(default=lambda reply: reply)
    commands: list[Mapping[str, Any]] = field(factory=list)

    def find(self, collection: str, wanted: Mapping[str, Any], fields: Sequence[str]) -> Iterator[Document]:
        for document in list(self.collections.get(collection, [])):
            if all(_holds(document, name, condition) for name, condition in wanted.items()):
                yield {name: document[name] for name in ("_id", *fields) if name in document}

    def run(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        self.commands.append(command)
        count = 0
        for update in command["updates"]:
            for document in self.collections[command["update"]]:
                if document["_id"] == update["q"]["_id"]:
                    document.update(update["u"]["$set"])
                    count += 1
        return self.spoil({"ok": 1, "n": count, "nModified": count})


def _holds(document: Document, name: str, condition: Any) -> bool:
    if name == "$or":
        return any(all(_holds(document, *item) for item in one.items()) for one in condition)
    if not isinstance(condition, dict):
        return bool(document.get(name) == condition)
    return condition["$exists"] == (name in document) and not (
        "$ne" in condition and document.get(name) == condition["$ne"]
    )


def backends(**urls: str) -> Memory:
    urls = {"static": f"https://static.{ABOVE}", **urls}
    return Memory(
        {
            "backends": [
                {"_id": number, "backend_id": name.replace("_", "-"), "backend_url": url, "weight": number}
                for number, (name, url) in enumerate(urls.items())
            ]
        }
    )


def urls(memory: Memory) -> dict[str, str]:
    return {one["backend_id"]: one["backend_url"] for one in memory.collections["backends"]}


def test_every_url_in_the_domain_above_is_rewritten_and_no_other() -> None:
    memory = backends(
        frontend=f"http://frontend.{ABOVE}:3000/path?q=1",
        bare=f"https://{ABOVE}/",
        elsewhere="https://partner.example.com/x",
        nearly=f"https://not{ABOVE}/",
        capital=f"https://Frontend.{ABOVE.upper()}/",
    )
    REWRITE.run(memory)
    assert urls(memory) == {
        "static": "https://static.integration.example.gov.uk",
        "frontend": "http://frontend.integration.example.gov.uk:3000/path?q=1",
        "bare": "https://integration.example.gov.uk/",
        "elsewhere": "https://partner.example.com/x",
        "nearly": f"https://not{ABOVE}/",
        "capital": "https://frontend.integration.example.gov.uk/",
    }
    assert [one["weight"] for one in memory.collections["backends"]] == list(range(6))


def test_a_domain_below_the_one_above_is_no_trouble() -> None:
    memory = backends(static="https://static.example.gov.uk", a="https://a.example.gov.uk")
    rule = evolve(REWRITE, to="staging.example.gov.uk")
    for _ in range(2):
        rule.run(memory)
        assert urls(memory)["a"] == "https://a.staging.example.gov.uk"


def test_exceptions_have_domains_of_their_own() -> None:
    rule = evolve(
        REWRITE,
        exceptions={
            "licensing": DomainException(old="", new="licensing.example.com"),
            "old-host": DomainException(old="old.example.com", new="new.example.com"),
            "moved-in": DomainException(old="old.example.com", new="new.example.com"),
            "not-there": DomainException(old="", new="x.example.com"),
        },
    )
    memory = backends(
        licensing=f"https://l.{ABOVE}",
        old_host="https://a.old.example.com/b",
        moved_in=f"https://c.{ABOVE}/d",
    )
    for _ in range(2):
        rule.run(memory)
        assert urls(memory)["licensing"] == "https://l.licensing.example.com"
        assert urls(memory)["old-host"] == "https://a.new.example.com/b"
        assert urls(memory)["moved-in"] == "https://c.integration.example.gov.uk/d"
        memory.collections["backends"][0]["backend_url"] = f"https://static.{ABOVE}"


SECRET = "https://user:pass@secret.example.com"


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"static": "https://www.other.example.com"}, "whose host is not static and a domain"),
        ({"static": "https://static.example"}, "whose host is not static and a domain"),
        ({"static": "static.example.com"}, "no URL with a host"),
        ({"a": SECRET}, "has a password in it"),
        ({"a": "https://secret.example.com:port/"}, "no URL with a host"),
        ({"a": "http://[secret"}, "no URL with a host"),
        ({"a": ""}, "no URL with a host"),
        ({"a": None}, "no URL with a host"),
        ({"licensing": "https://secret.example.com"}, "in another domain than those to replace"),
    ],
)
def test_what_cannot_be_rewritten_fails_it_and_is_not_told(spoilt: dict[str, str], said: str) -> None:
    rule = evolve(REWRITE, exceptions={"licensing": DomainException(old="", new="l.example.com")})
    memory = backends(**spoilt)
    with pytest.raises(TransformationFailed, match=re.escape(said)) as failed:
        rule.run(memory)
    assert "secret" not in str(failed.value)
    assert "live is untouched" in str(failed.value)
    assert memory.commands == []


@pytest.mark.parametrize("accident", ["put back", "added"])
def test_a_url_that_is_put_there_meanwhile_is_found(accident: str) -> None:
    memory = backends(secret=f"https://secret.{ABOVE}")

    def put(reply: Document) -> Document:
        if accident == "put back":
            memory.collections["backends"][1]["backend_url"] = f"https://secret.{ABOVE}"
        else:
            memory.collections["backends"].append({"_id": 9, "backend_url": f"https://secret.{ABOVE}"})
        return reply

    memory.spoil = put
    with pytest.raises(TransformationFailed, match="changed by somebody else") as failed:
        REWRITE.run(memory)
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("count", [0, 2])
def test_the_backend_that_tells_the_domain_must_be_there_once(count: int) -> None:
    memory = backends()
    memory.collections["backends"] *= count
    with pytest.raises(TransformationFailed, match=f"holds {count} documents with backend_id static"):
        REWRITE.run(memory)


def assets(**documents: Any) -> Memory:
    return Memory({"assets": [{"_id": name, **fields} for name, fields in documents.items()]})


def paths(memory: Memory) -> dict[str, Any]:
    return {one["_id"]: one.get("legacy_url_path") for one in memory.collections["assets"]}


def test_the_last_part_of_limited_paths_is_redacted() -> None:
    private = "/government/uploads/system/private-letter.pdf"
    memory = assets(
        open={"legacy_url_path": private},
        empty={"legacy_url_path": private, "access_limited": []},
        false={"legacy_url_path": private, "access_limited": False},
        null={"legacy_url_path": private, "access_limited": None},
        by_user={"legacy_url_path": private, "access_limited": ["uid"]},
        by_organisation={"legacy_url_path": private, "access_limited": [], "access_limited_to": ["org"]},
        same={"legacy_url_path": private, "access_limited": True},
        folder={"legacy_url_path": "/private/", "access_limited": ["uid"]},
        bare={"legacy_url_path": "private.pdf", "access_limited": ["uid"]},
        no_path={"access_limited": ["uid"]},
        null_path={"legacy_url_path": None, "access_limited": ["uid"]},
    )
    REDACT.run(memory)
    found = paths(memory)
    for name in ("open", "empty", "false", "null"):
        assert found[name] == private
    for name in ("by_user", "by_organisation", "same"):
        assert re.fullmatch(r"/government/uploads/system/redacted-[0-9a-f]{24}", found[name])
    assert re.fullmatch(r"/redacted-[0-9a-f]{24}", found["folder"])
    assert re.fullmatch(r"redacted-[0-9a-f]{24}", found["bare"])
    assert found["no_path"] is found["null_path"] is None
    assert len({found[name] for name in ("by_user", "by_organisation", "same")}) == 3
    REDACT.run(memory)
    assert paths(memory) == found


@pytest.mark.parametrize(
    "memory",
    [
        Memory({"files": [{"_id": 1, "legacy_url_path": "/private/a", "access_limited": ["x"]}]}),
        assets(a={"path": "/private/a", "access_limited": ["x"]}, b={"legacy_url_path": None}),
        assets(),
    ],
    ids=["no collection", "no field", "no document"],
)
def test_a_rule_that_finds_nothing_to_look_at_fails(memory: Memory) -> None:
    with pytest.raises(
        TransformationFailed,
        match=r"assets is not there, or holds no document with legacy_url_path\. .*live is untouched",
    ):
        REDACT.run(memory)
    assert memory.commands == []


def test_a_rule_tells_how_many_documents_it_is_for() -> None:
    memory = assets(
        a={"legacy_url_path": "/private/a", "access_limited": ["x"]},
        b={"legacy_url_path": "/private/b", "access_limited": ["x"]},
        c={"legacy_url_path": "/open", "access_limited": []},
    )
    # What was redacted above is found as well.
    assert [REDACT.run(memory) for _ in range(2)] == [2, 2]
    assert evolve(REDACT, limited_by=("renamed",)).run(memory) == 0
    assert REWRITE.run(backends(frontend=f"https://frontend.{ABOVE}")) == 2


def test_many_documents_are_changed_a_part_at_a_time() -> None:
    count = AT_ONCE * 2 + 1
    memory = assets(
        **{str(n): {"legacy_url_path": f"/private/{n}", "access_limited": ["x"]} for n in range(count)}
    )
    REDACT.run(memory)
    assert [len(one["updates"]) for one in memory.commands] == [AT_ONCE, AT_ONCE, 1]
    assert all(path.startswith("/private/redacted-") for path in paths(memory).values())


def test_a_path_that_is_no_text_fails_it() -> None:
    memory = assets(a={"legacy_url_path": ["/private"], "access_limited": ["x"]})
    with pytest.raises(TransformationFailed, match="whose legacy_url_path is no text") as failed:
        REDACT.run(memory)
    assert "/private" not in str(failed.value)


def test_a_path_that_is_put_back_meanwhile_is_found() -> None:
    memory = assets(a={"legacy_url_path": "/private/a", "access_limited": ["x"]})

    def put_back(reply: Document) -> Document:
        memory.collections["assets"][0]["legacy_url_path"] = "/private/a"
        return reply

    memory.spoil = put_back
    with pytest.raises(TransformationFailed, match="still holds 1 limited documents"):
        REDACT.run(memory)


@pytest.mark.parametrize(
    "reply",
    [
        {"ok": 1, "n": 0},
        {"ok": 1},
        {"ok": 1, "n": 1, "writeErrors": [{"code": 11000, "errmsg": "dup key: { path: 'private' }"}]},
        {"ok": 1, "n": 1, "writeConcernError": {"errmsg": "private"}},
    ],
)
def test_a_change_that_was_not_done_fails(reply: Document) -> None:
    memory = assets(a={})
    memory.spoil = lambda _: reply
    with pytest.raises(TransformationFailed, match="of 1 documents of assets") as failed:
        change(memory, "assets", {"a": {"legacy_url_path": "x"}})
    assert "private" not in str(failed.value)


REPLACE = ReplaceText(
    table="public.oauth_applications",
    replacements=(
        Replacement(columns=("home_uri", "redirect_uri"), old="it's", new="its"),
        Replacement(columns=("home_uri",), old="a%", new="b"),
    ),
)


@pytest.mark.parametrize(("dbms", "quote"), [("postgresql", '"'), ("mysql", "`")])
def test_replacements_are_sql_of_each_engine(dbms: str, quote: str) -> None:
    text = REPLACE.sql(dbms).replace(quote, "")
    assert text == (
        "UPDATE public.oauth_applications SET home_uri = replace(home_uri, 'it''s', 'its') "
        "WHERE position('it''s' IN home_uri) > 0;\n"
        "UPDATE public.oauth_applications SET redirect_uri = replace(redirect_uri, 'it''s', 'its') "
        "WHERE position('it''s' IN redirect_uri) > 0;\n"
        "UPDATE public.oauth_applications SET home_uri = replace(home_uri, 'a%', 'b') "
        "WHERE position('a%' IN home_uri) > 0;\n"
    )
    assert f"{quote}public{quote}.{quote}oauth_applications{quote}" in REPLACE.sql(dbms)


def test_the_proof_tells_a_rule_by_what_it_does() -> None:
    assert REPLACE.name == "postprocess/replace_text"
    assert re.fullmatch(r"[0-9a-f]{64}", REPLACE.sha256)
    assert evolve(REPLACE).sha256 == REPLACE.sha256
    first, second = REPLACE.replacements
    turned = evolve(REPLACE, replacements=(second, first))
    exceptional = evolve(REWRITE, exceptions={"a": DomainException(old="", new="b.example.com")})

    class Newer(RewriteDomain):
        version = RewriteDomain.version + 1

    hashes = {
        one.sha256
        for one in (REPLACE, turned, REWRITE, evolve(REWRITE, to="c.example.com"), exceptional, REDACT)
    }
    assert len(hashes) == 6
    assert Newer(to=REWRITE.to).sha256 != REWRITE.sha256


def test_every_kind_can_be_configured() -> None:
    assert {name: rule.make for name, rule in RULES.items()} == KINDS


def test_every_rule_reads_just_the_fields_that_it_has() -> None:
    for name, rule in RULES.items():
        fields = fields_dict(rule.make)
        assert name == rule.make.rule
        assert fields.keys() == rule.parameters.keys()
        for parameter, read in rule.parameters.items():
            required = fields[parameter].default is NOTHING
            assert required == (read.default is None)
            if read.default and read.default != "none":
                assert read.default == f"`{fields[parameter].default}`"
