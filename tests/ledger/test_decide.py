"""What the ledger decides about a gift, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger import store
from ledger.decide import age_s
from tests.support import examples

MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.timedeltas(timedelta(days=-400), timedelta(days=40_000)))
@examples(300)
def test_an_age_is_whole_seconds_and_never_negative(since: datetime, later: timedelta) -> None:
    now = since + later
    assert age_s(since, now) == max(0, store.micros(now) - store.micros(since)) // 1_000_000
