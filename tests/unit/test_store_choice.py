import datetime as dt

import pytest

from env_sync.core.errors import DumpTooSmall, NothingToRestore
from env_sync.store.dump_choice import StoredDump, Survey, choose
from env_sync.store.dump_keys import dump_key

NIGHT = dt.datetime(2026, 11, 20, 1, 2, 3, tzinfo=dt.UTC)


def dump(night: int, size: int = 1000, style: str = "ours") -> StoredDump:
    when = NIGHT + dt.timedelta(days=night)
    key = dump_key("p", when, "licensify")
    if style == "script":
        key = f"p/{when:%Y-%m-%dT%H:%M:%S}-licensify.gz"
    return StoredDump(key=key, database="licensify", timestamp=when, size=size, etag=f'"{night}"')


def survey(
    *dumps: StoredDump,
    described: tuple[StoredDump, ...] = (),
    pointer: StoredDump | str | None = None,
    others: tuple[str, ...] = (),
) -> Survey:
    return Survey(
        bucket="b",
        path="p",
        database="licensify",
        dumps=tuple(sorted(dumps, key=lambda one: (one.timestamp, one.key), reverse=True)),
        described=frozenset(one.key for one in described),
        pointer=pointer.key if isinstance(pointer, StoredDump) else pointer,
        others=others,
    )


def test_newest_of_legacy_dumps_without_any_evidence() -> None:
    choice = choose(survey(dump(0, style="script"), dump(1), dump(2, style="script")))
    assert choice.key == "p/2026-11-22T01:02:03-licensify.gz"
    assert (choice.size, choice.etag, choice.previous_size, choice.notes) == (1000, '"2"', 1000, ())
    assert (choice.database, choice.timestamp) == ("licensify", NIGHT + dt.timedelta(days=2))
    assert choice.timestamp_text == dump(2).timestamp_text == "2026-11-22T010203Z"


@pytest.mark.parametrize("how", ["described", "pointer"])
def test_newer_dump_without_evidence_is_passed_over_and_that_is_said(how: str) -> None:
    whole, writing = dump(1), dump(2)
    evidence = {"described": (whole,)} if how == "described" else {"pointer": whole}
    choice = choose(survey(dump(0), whole, writing, **evidence))
    assert choice.key == whole.key
    assert len(choice.notes) == 1
    assert writing.key in choice.notes[0]


def test_manifest_is_evidence_before_the_pointer_has_moved() -> None:
    assert choose(survey(dump(0), dump(1), described=(dump(0), dump(1)), pointer=dump(0))).key == dump(1).key


def test_what_was_abandoned_long_ago_is_not_worth_a_note() -> None:
    choice = choose(survey(dump(0), dump(1), dump(2), described=(dump(0), dump(2))))
    assert (choice.key, choice.notes, choice.previous_size) == (dump(2).key, (), 1000)


def test_asked_for_is_exactly_that_one_in_either_style() -> None:
    held = survey(dump(0, style="script"), dump(1), dump(2), described=(dump(1), dump(2)), pointer=dump(2))
    assert choose(held, asked=dump(0).timestamp).key == "p/2026-11-20T01:02:03-licensify.gz"
    assert choose(held, asked=dump(1).timestamp).key == dump(1).key


def test_same_second_in_both_styles_prefers_the_one_with_a_manifest() -> None:
    held = survey(dump(0), dump(0, style="script"), described=(dump(0),))
    assert choose(held, asked=NIGHT).key == dump(0).key
    assert (choose(held).key, choose(held).notes) == (dump(0).key, ())


@pytest.mark.parametrize(
    ("described", "pointer", "chosen"),
    [
        (("ours", "script"), "ours", "ours"),
        (("ours", "script"), "script", "script"),
        (("ours",), "script", "ours"),
        (("script",), "ours", "script"),
    ],
)
def test_same_second_in_both_styles_goes_by_the_manifest_and_then_by_the_pointer(
    described: tuple[str, ...], pointer: str, chosen: str
) -> None:
    both = {style: dump(0, style=style) for style in ("ours", "script")}
    held = survey(*both.values(), described=tuple(both[style] for style in described), pointer=both[pointer])
    assert choose(held, asked=NIGHT).key == both[chosen].key


def test_asked_for_but_not_there_lists_the_nearest() -> None:
    held = survey(*(dump(night) for night in range(9)))
    with pytest.raises(NothingToRestore) as error:
        choose(held, asked=NIGHT + dt.timedelta(days=4, hours=1))
    assert "2026-11-24T020203Z" in str(error.value)
    assert str(error.value).endswith(
        "2026-11-24T010203Z, 2026-11-25T010203Z, 2026-11-23T010203Z, 2026-11-26T010203Z, 2026-11-22T010203Z"
    )


def test_asked_for_but_unfinished_is_refused() -> None:
    with pytest.raises(NothingToRestore, match="neither manifest nor pointer"):
        choose(survey(dump(0), dump(1), described=(dump(0),)), asked=dump(1).timestamp)


def test_dumps_from_before_the_first_evidence_count_as_whole() -> None:
    held = survey(dump(0), dump(1), dump(2), dump(3), pointer=dump(2))
    assert [one.timestamp for one in held.whole] == [dump(night).timestamp for night in (2, 1, 0)]
    assert choose(held, asked=dump(0).timestamp).key == dump(0).key


def test_pointer_to_a_dump_that_is_gone_still_says_from_when_evidence_is_written() -> None:
    held = survey(dump(0), dump(2), pointer=dump(1))
    choice = choose(held)
    assert choice.key == dump(0).key
    assert "which is not there" in choice.notes[1]


@pytest.mark.parametrize(
    "pointer", ["", "nonsense", "q/2026-11-22T010203Z-licensify.gz", "p/2026-11-20T010203Z-other.gz"]
)
def test_pointer_that_names_no_dump_of_this_database_is_no_evidence(pointer: str) -> None:
    choice = choose(survey(dump(0), dump(1), pointer=pointer))
    assert choice.key == dump(1).key
    assert "the pointer names" in choice.notes[0]


def test_only_dumps_that_are_not_whole() -> None:
    held = survey(dump(2), pointer=dump(1))
    with pytest.raises(NothingToRestore) as error:
        choose(held)
    assert str(error.value).startswith(
        "s3://b/p/ holds no whole dump of licensify: not chosen, with neither manifest nor pointer (still "
        "being written, or abandoned): p/2026-11-22T010203Z-licensify.gz; the pointer names "
        "'p/2026-11-21T010203Z-licensify.gz', which is not there. "
    )
    with pytest.raises(NothingToRestore) as error:
        choose(held, asked=dump(2).timestamp)
    assert str(error.value) == (
        "p/2026-11-22T010203Z-licensify.gz in s3://b/p/ has neither manifest nor pointer: it is still being "
        "written, or was abandoned. There is no other"
    )


def test_a_few_of_those_that_were_passed_over_are_named() -> None:
    def note(count: int) -> str:
        (note,) = choose(survey(*(dump(night) for night in range(count + 1)), pointer=dump(0))).notes
        return note

    # The newest first.
    assert note(5).endswith(": " + ", ".join(dump(night).key for night in (5, 4, 3, 2, 1)))
    assert note(7).endswith(": " + ", ".join(dump(night).key for night in (7, 6, 5, 4, 3)) + " and 2 more")


def test_a_pointer_is_shown_in_part_where_it_is_very_long() -> None:
    (note,) = choose(survey(dump(0), pointer="x" * 300)).notes
    assert note == f"the pointer names '{'x' * 200}', which is not there"


def test_much_smaller_than_the_one_before_is_refused_with_both_sizes_and_the_timestamp() -> None:
    held = survey(dump(0, 5_000_000), dump(1, 2_400_000), dump(2, 1))
    held = survey(*held.dumps, described=(dump(0), dump(1)))
    with pytest.raises(DumpTooSmall) as error:
        choose(held)
    for part in (dump(0).key, dump(1).key, "5.0 MB", "2.4 MB", "2026-11-21T010203Z", "min_size_ratio"):
        assert part in str(error.value)
    choice = choose(held, asked=dump(1).timestamp)
    assert (choice.key, choice.previous_size) == (dump(1).key, 5_000_000)
    assert "asked for" in choice.notes[0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (999_999, "999999 bytes"), (1_000_000, "1.0 MB"), (2_449_000, "2.4 MB")],
)
def test_sizes_are_told_in_megabytes_from_one_on(size: int, shown: str) -> None:
    with pytest.raises(DumpTooSmall, match=f"licensify.gz is {shown}, the dump before it"):
        choose(survey(dump(0, 9_000_000), dump(1, size)))


def test_just_the_ratio_is_enough_and_zero_switches_it_off() -> None:
    assert choose(survey(dump(0, 1000), dump(1, 500))).size == 500
    assert choose(survey(dump(0, 1000), dump(1, 0)), min_size_ratio=0).size == 0


def test_nothing_at_all_names_similar_databases() -> None:
    def said(*others: str) -> str:
        with pytest.raises(NothingToRestore) as error:
            choose(survey(others=others))
        before, after = (
            "s3://b/p/ holds no dump of licensify, ",
            ". Check `database`, `path` and `url` of the sync",
        )
        assert str(error.value).startswith(before)
        assert after in str(error.value)
        return str(error.value).removeprefix(before).partition(after)[0]

    assert said() == "and no dump of any other database"
    assert said("licensing", "zebra") == "but dumps of licensing and of 1 other database"
    # More than a few that are alike, the closest first; one that is only half alike is still named.
    alike = tuple("licensif" + "123456"[:length] for length in range(1, 7))
    assert said(*alike) == f"but dumps of {', '.join(alike[:5])} and of 1 other database"
    assert said("licenxxxx", "zebra") == "but dumps of licenxxxx and of 1 other database"
    # One that has the name in it, or is in the name, is alike whatever its length.
    longer = "licensify_content_store_production"
    assert said("lic", longer, "zebra") == f"but dumps of lic, {longer} and of 1 other database"
    assert said("licensing", longer) == f"but dumps of licensing, {longer}"
    # Where none is alike, some are named.
    assert said(*"abdghjk") == "but dumps of a, b, d, g, h and of 2 other databases"
    assert said("zebra") == "but dumps of zebra"
