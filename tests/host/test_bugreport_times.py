"""Dates in the reporter's language: read where they can be, kept as they are where not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvdiag.host.bugreport.times import Moment, full_time, iso_date
from tests.facts.hostile import QUICK, any_text


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Wed Apr  8 19:11:01 MSK 2015", "2015-04-08T19:11:01"),
        ("Wed 19 May 2021 01:43:40 PM EDT", "2021-05-19T13:43:40"),
        ("Wed Apr 13 12:20:14 AM CST 2022", "2022-04-13T00:20:14"),
        ("Thursday 07 November 2024 03:20:11 PM IST", "2024-11-07T15:20:11"),
        ("Wed Sep 13 12:35:53 PM UTC 2023", "2023-09-13T12:35:53+00:00"),
        ("2019年 11月 16日 星期六 13:31:02 CST", "2019-11-16T13:31:02"),
        ("2025年 07月 13日 星期日 17:30:55 CST", "2025-07-13T17:30:55"),
        ("2021. 03. 05. (금) 10:11:12 KST", "2021-03-05T10:11:12"),
        ("Paz 12 Haz 2022 00:14:55 +03", "2022-06-12T00:14:55+03:00"),
        ("Пт ноя 11 12:23:49 +05 2022", "2022-11-11T12:23:49+05:00"),
        ("Mo 30. Okt 10:18:57 CET 2023", "2023-10-30T10:18:57"),
        ("mar 13 set 2011, 23.11.55, CEST", "2011-09-13T23:11:55"),
        ("jeu. 25 août 2022 14:01:02 CEST", "2022-08-25T14:01:02"),
        ("lun. 11 juil. 2022 09:00:00 CEST", "2022-07-11T09:00:00"),
        ("ter 05 out 2021 20:30:00 -03", "2021-10-05T20:30:00-03:00"),
        ("Mon Jan 26 02:16:31 PM +0530 2026", "2026-01-26T14:16:31+05:30"),
    ],
)
def test_dates_are_read_in_many_languages(text: str, iso: str) -> None:
    assert iso_date(text) == iso


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "T4 Th08 24 2022", "99:99:99 32 Jan 2022", "Wed Feb 31 10:00:00 UTC 2021", "2022 10:00:00"],
)
def test_what_is_no_date_stays_as_it_is(text: str) -> None:
    assert iso_date(text) == text


def test_the_offset_is_that_of_the_machines_own_files_on_that_day() -> None:
    near = full_time("*** ls: -r--r--r-- 1 root root 0 2025-07-13 17:28:40.963000675 +0800 /sys/x")
    assert near == Moment(1752398920.0, 480)
    assert iso_date("2025年 07月 13日 星期日 17:30:55 CST", near) == "2025-07-13T17:30:55+08:00"
    assert iso_date("2025年 07月 23日 星期三 17:30:55 CST", near) == "2025-07-23T17:30:55"


@pytest.mark.parametrize(
    "text", ["", "2025-13-40 25:61:61 +0000 ", "2025-01-01 10:00:00", "0000-00-00 00:00:00 +0000 "]
)
def test_a_line_without_a_full_time_has_none(text: str) -> None:
    assert full_time(text) is None


@QUICK
@given(any_text(), st.none() | st.builds(Moment, st.floats(0, 4e9), st.integers(-720, 840)))
def test_no_text_makes_a_fault(text: str, near: Moment | None) -> None:
    assert isinstance(iso_date(text, near), str)
    full_time(text)
