"""A history read from files: what is good is typed and in order, what is bad is counted and named."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import history, history_columns
from training.errors import HistoryRefused, TrainingError
from training.history import REASONS, read

MAY = Path(__file__).parents[2].parent / "shared" / "data" / "payments-2018-05.parquet"
HEADER = "id,at,sender,recipient,amount"
AT = "2018-05-01T00:00:00Z"
NOON = datetime(2018, 5, 1, 12, tzinfo=UTC)
GOOD = {"id": "g1", "at": NOON, "sender": "ann", "recipient": "bob", "amount": 5}


def csv_history(tmp_path: Path, *lines: str, header: str = HEADER, name: str = "h.csv") -> Path:
    path = tmp_path / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def parquet_history(tmp_path: Path, name: str = "h.parquet", **columns: object) -> Path:
    path = tmp_path / name
    one_row = {column: [value] for column, value in GOOD.items()}
    pl.DataFrame({**one_row, **columns}).write_parquet(path)
    return path


def only_fault(path: Path) -> tuple[str, str]:
    read_back = read(path)
    assert read_back.rows.is_empty()
    [(row, _, reason, value)] = read_back.bad.rows()
    assert row == 1
    return reason, value


# Every bad reason

LONG = "x" * 200
CSV_FAULTS = [
    ("g1,2018-05-01T00:00:00Z,ann,bob", "ragged_line", "g1,2018-05-01T00:00:00Z,ann,bob"),
    (f"g1,{AT},ann,bob,5,more", "ragged_line", f"g1,{AT},ann,bob,5,more"),
    (f"g1,{AT},ann,bob,5,", "ragged_line", f"g1,{AT},ann,bob,5,"),
    (f",{AT},ann,bob,5", "missing_id", ""),
    (f"  ,{AT},ann,bob,5", "missing_id", "  "),
    ("g1,,ann,bob,5", "missing_at", ""),
    ("g1,yesterday,ann,bob,5", "bad_at", "yesterday"),
    ("g1,1525132800,ann,bob,5", "bad_at", "1525132800"),
    ("g1,2018-05-01,ann,bob,5", "bad_at", "2018-05-01"),
    ("g1,2018-02-30T00:00:00Z,ann,bob,5", "bad_at", "2018-02-30T00:00:00Z"),
    ("g1,2018-05-01T24:00:00Z,ann,bob,5", "bad_at", "2018-05-01T24:00:00Z"),
    ("g1,2016-12-31T23:59:60Z,ann,bob,5", "bad_at", "2016-12-31T23:59:60Z"),
    ("g1,2018-05-01T00:00:00+24:00,ann,bob,5", "bad_at", "2018-05-01T00:00:00+24:00"),
    ("g1,2018-05-01T00:00:00.Z,ann,bob,5", "bad_at", "2018-05-01T00:00:00.Z"),
    ("g1,2018-05-01T00:00:00.0123456789Z,ann,bob,5", "bad_at", "2018-05-01T00:00:00.0123456789Z"),
    ("g1, 2018-05-01T00:00:00Z,ann,bob,5", "bad_at", " 2018-05-01T00:00:00Z"),
    ("g1,0001-01-01T00:00:00+02:00,ann,bob,5", "bad_at", "0001-01-01T00:00:00+02:00"),
    (f"g1,{AT},,bob,5", "missing_sender", ""),
    (f"g1,{AT},ann,,5", "missing_recipient", ""),
    (f"g1,{AT},ann,bob,", "missing_amount", ""),
    (f"g1,{AT},ann,bob,five", "bad_amount", "five"),
    (f"g1,{AT},ann,bob,nan", "bad_amount", "nan"),
    (f"g1,{AT},ann,bob,inf", "bad_amount", "inf"),
    (f"g1,{AT},ann,bob,1e6", "bad_amount", "1e6"),
    (f"g1,{AT},ann,bob,0x10", "bad_amount", "0x10"),
    (f"g1,{AT},ann,bob,1_000", "bad_amount", "1_000"),
    (f"g1,{AT},ann,bob,٥", "bad_amount", "٥"),
    (f"g1,{AT},ann,bob,9223372036854775808", "bad_amount", "9223372036854775808"),
    (f"g1,{AT},ann,bob,12.5", "fractional_amount", "12.5"),
    (f"g1,{AT},ann,bob,-0.5", "fractional_amount", "-0.5"),
    (f"g1,{AT},ann,bob,0", "nonpositive_amount", "0"),
    (f"g1,{AT},ann,bob,-5", "nonpositive_amount", "-5"),
    (f"g1,{AT},ann,bob,-5.0", "nonpositive_amount", "-5.0"),
    (f"g1,{AT},ann,ann,5", "self_gift", "ann"),
    (f"g1,{AT},an n,bob,5", "bad_party", "an n"),
    (f"g1,{AT},ann,_bob,5", "bad_party", "_bob"),
    (f"g1,{AT},ann,bób,5", "bad_party", "bób"),
    (f"g1,{AT},ann,{LONG[:65]},5", "bad_party", LONG[:65]),
    (f"g1,{AT},ann,{LONG},5", "bad_party", LONG[:80]),
]


@pytest.mark.parametrize(("line", "reason", "value"), CSV_FAULTS)
def test_a_bad_csv_row_is_named(tmp_path: Path, line: str, reason: str, value: str) -> None:
    assert only_fault(csv_history(tmp_path, line)) == (reason, value)


@pytest.mark.parametrize(("line", "reason", "value"), CSV_FAULTS)
def test_a_bad_quoted_csv_row_is_named_alike(tmp_path: Path, line: str, reason: str, value: str) -> None:
    assert only_fault(csv_history(tmp_path, line, header=f'"id"{HEADER[2:]}')) == (reason, value)


PARQUET_FAULTS = [
    ({"id": pl.Series([None], dtype=pl.String)}, "missing_id", ""),
    ({"id": [None]}, "missing_id", ""),
    ({"id": [""]}, "missing_id", ""),
    ({"at": pl.Series([None], dtype=pl.Datetime("us"))}, "missing_at", ""),
    ({"at": ["soon"]}, "bad_at", "soon"),
    ({"at": [1525132800]}, "bad_at", "1525132800"),
    ({"at": [1525132800.5]}, "bad_at", "1525132800.5"),
    ({"at": [date(2018, 5, 1)]}, "bad_at", "2018-05-01"),
    ({"at": pl.Series([2**62]).cast(pl.Datetime("ms"))}, "bad_at", str(2**62)),
    ({"at": pl.Series([253_402_300_800_000_000]).cast(pl.Datetime("us"))}, "bad_at", "253402300800000000"),
    ({"sender": [None]}, "missing_sender", ""),
    ({"recipient": [""]}, "missing_recipient", ""),
    ({"amount": pl.Series([None], dtype=pl.Float64)}, "missing_amount", ""),
    ({"amount": [float("nan")]}, "bad_amount", "NaN"),
    ({"amount": [float("inf")]}, "bad_amount", "inf"),
    ({"amount": [float(2**53)]}, "bad_amount", "9007199254740992.0"),
    ({"amount": [1e300]}, "bad_amount", "1e+300"),
    ({"amount": pl.Series([2.0**24], dtype=pl.Float32)}, "bad_amount", "16777216.0"),
    ({"amount": pl.Series([2**63], dtype=pl.UInt64)}, "bad_amount", str(2**63)),
    ({"amount": [True]}, "bad_amount", "true"),
    ({"amount": ["many"]}, "bad_amount", "many"),
    ({"amount": [12.5]}, "fractional_amount", "12.5"),
    ({"amount": [Decimal("12.50")]}, "fractional_amount", "12.50"),
    ({"amount": [-12.5]}, "fractional_amount", "-12.5"),
    ({"amount": [0]}, "nonpositive_amount", "0"),
    ({"amount": [-3.0]}, "nonpositive_amount", "-3.0"),
    ({"recipient": ["ann"]}, "self_gift", "ann"),
    ({"sender": [7], "recipient": [7]}, "self_gift", "7"),
    ({"sender": ["ann\n"]}, "bad_party", "ann\n"),
    ({"fraud": [2]}, "bad_fraud", "2"),
    ({"fraud": ["maybe"]}, "bad_fraud", "maybe"),
    ({"fraud": [date(2018, 5, 1)]}, "bad_fraud", "2018-05-01"),
    ({"label_at": ["later"]}, "bad_label_at", "later"),
    ({"label_at": [7]}, "bad_label_at", "7"),
]


@pytest.mark.parametrize(("columns", "reason", "value"), PARQUET_FAULTS)
def test_a_bad_parquet_row_is_named(tmp_path: Path, columns: dict, reason: str, value: str) -> None:
    assert only_fault(parquet_history(tmp_path, **columns)) == (reason, value)


@pytest.mark.parametrize(("label", "reason"), [("maybe,", "bad_fraud"), ("true,soon", "bad_label_at")])
def test_a_bad_label_is_not_read_as_none(tmp_path: Path, label: str, reason: str) -> None:
    path = csv_history(tmp_path, f"g1,{AT},ann,bob,5,{label}", header=f"{HEADER},fraud,label_at")
    assert only_fault(path)[0] == reason


def test_the_tables_above_name_every_reason() -> None:
    named = {reason for _, reason, _ in CSV_FAULTS + PARQUET_FAULTS} | {"duplicate_id"}
    assert named == set(REASONS)


def test_checks_run_in_the_documented_order() -> None:
    schema = pl.Schema(
        {f"given_{name}": pl.String() for name in (*history.REQUIRED, *history.OPTIONAL)}
        | {"fraud": pl.Boolean(), "label_at": history_columns.TIME}
    )
    codes = list(dict.fromkeys(code for code, _, _ in history._checks(schema)))
    assert [*codes, "duplicate_id"] == list(REASONS)


def test_the_first_reason_wins(tmp_path: Path) -> None:
    lines = [",,,,", "g1,,,,", "g1,x,,,", f"g1,{AT},,,", f"g1,{AT},a,,", f"g1,{AT},a,a,", f"g1,{AT},a,a,0.5"]
    lines += [f"g1,{AT},a,a,-1", f"g1,{AT},!,!,1", f"g1,{AT},!,b,1"]
    assert read(csv_history(tmp_path, *lines)).bad["reason"].to_list() == [
        "missing_id",
        "missing_at",
        "bad_at",
        "missing_sender",
        "missing_recipient",
        "missing_amount",
        "fractional_amount",
        "nonpositive_amount",
        "self_gift",
        "bad_party",
    ]


def test_of_good_rows_that_share_an_id_the_first_stays(tmp_path: Path) -> None:
    lines = [f"g1,{AT},ann,bob,0", f"g1,{AT},ann,bob,1", f"g1,{AT},ann,bob,2", f"g2,{AT},ann,bob,3"]
    read_back = read(csv_history(tmp_path, *lines))
    assert read_back.rows["amount"].to_list() == [1, 3]
    assert read_back.bad.rows() == [(1, "g1", "nonpositive_amount", "0"), (3, "g1", "duplicate_id", "g1")]


# Times, amounts and labels that are good

TIMES = [
    ("2018-05-01T12:00:00Z", NOON),
    ("2018-05-01t12:00:00z", NOON),
    ("2018-05-01 12:00:00", NOON),
    ("2018-05-01T12:00:00", NOON),
    ("2018-05-01 12:00:00+00", NOON),
    ("2018-05-01T12:00:00.000000+0000", NOON),
    ("2018-05-01 14:00:00.0+02:00", NOON),
    ("2018-05-01T09:30:00-02:30", NOON),
    ("2018-05-01T12:00:00-00:00", NOON),
    ("2018-05-01T12:00:00.1Z", NOON.replace(microsecond=100_000)),
    ("2018-05-01T12:00:00.123456Z", NOON.replace(microsecond=123_456)),
    ("2018-05-01 12:00:00.123456789", NOON.replace(microsecond=123_456)),
    ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
    ("9999-12-31T23:59:59.999999999Z", datetime.max.replace(tzinfo=UTC)),
    ("1969-12-31T23:59:59.9999999Z", datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "at"), TIMES)
def test_time_text_is_read_to_the_microsecond(tmp_path: Path, text: str, at: datetime) -> None:
    path = csv_history(tmp_path, f"g1,{text},ann,bob,5,{text}", header=f"{HEADER},label_at")
    assert read(path).rows.select("at", "label_at").rows() == [(at, at)]
    assert read(parquet_history(tmp_path, at=[text])).rows["at"].to_list() == [at]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kathmandu"])
def test_parquet_times_of_any_unit_and_zone_become_utc(tmp_path: Path, unit: str, zone: str | None) -> None:
    at = pl.Series([NOON]).dt.convert_time_zone(zone or "UTC").dt.cast_time_unit(unit)
    path = parquet_history(tmp_path, at=at if zone else at.dt.replace_time_zone(None))
    assert read(path).rows["at"].to_list() == [NOON]


def test_nanoseconds_before_1970_are_cut_off_as_in_text(tmp_path: Path) -> None:
    at = pl.Series([-1]).cast(pl.Datetime("ns"))
    [back] = read(parquet_history(tmp_path, at=at)).rows["at"]
    assert back == datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("12.0", 12),
        ("12.000", 12),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        (12.0, 12),
        (float(2**53 - 1), 2**53 - 1),
        (Decimal("12.00"), 12),
        (12, 12),
    ],
)
def test_whole_amounts_are_taken_exactly(tmp_path: Path, written: object, amount: int) -> None:
    assert read(parquet_history(tmp_path, amount=[written])).rows["amount"].to_list() == [amount]
    if isinstance(written, str):
        path = csv_history(tmp_path, f"g1,{AT},ann,bob,{written}")
        assert read(path).rows["amount"].to_list() == [amount]


@pytest.mark.parametrize(
    ("written", "fraud"),
    [(True, True), (False, False), ("True", True), ("f", False), (1, True), (0.0, False), (None, None)],
)
def test_fraud_is_read_from_what_tools_write(tmp_path: Path, written: object, fraud: bool | None) -> None:
    rows = read(parquet_history(tmp_path, fraud=[written])).rows
    assert rows.schema["fraud"] == pl.Boolean
    assert rows["fraud"].to_list() == [fraud]


def test_parties_may_be_integers_or_categories(tmp_path: Path) -> None:
    path = parquet_history(tmp_path, id=[1], sender=pl.Series(["ann"], dtype=pl.Categorical), recipient=[42])
    assert read(path).rows.select("id", "sender", "recipient").rows() == [("1", "ann", "42")]


# Order, types, several files


def test_good_and_bad_rows_are_parted_counted_and_ordered(tmp_path: Path) -> None:
    lines = [
        "a,2018-05-01T00:00:03Z,ann,bob,1,x",
        "b,2018-05-01T00:00:01Z,ann,bob,2.5,x",
        "c,2018-05-01T00:00:01Z,ann,bob,3,",
        "d,2018-05-01T00:00:02Z,ann,bob",
        "e,2018-05-01T00:00:01Z,ann,bob,5,y",
        "",
        "f,2018-05-01T00:00:00Z,ann,bob,6.5,z",
        "g,2018-05-01T00:00:00Z,ann,bob,7,z",
    ]
    read_back = read(csv_history(tmp_path, *lines, "", "", header=f"{HEADER},ip"))
    assert read_back.rows["id"].to_list() == ["g", "c", "e", "a"]
    assert read_back.rows["ip"].to_list() == ["z", None, "y", "x"]
    assert read_back.bad.select("row", "id").rows() == [(2, "b"), (4, "d"), (6, None), (7, "f")]
    assert read_back.bad_counts() == {"ragged_line": 2, "fractional_amount": 2}
    assert list(read_back.bad_counts()) == ["ragged_line", "fractional_amount"]


def test_types_and_column_order_are_the_contract_s(tmp_path: Path) -> None:
    path = parquet_history(tmp_path, row=[1], reason=["c"], given_at=[[2]], fraud=[None], label_at=[None])
    assert read(path).rows.schema == pl.Schema(
        {
            "id": pl.String(),
            "at": pl.Datetime("us", "UTC"),
            "sender": pl.String(),
            "recipient": pl.String(),
            "amount": pl.Int64(),
            "fraud": pl.Boolean(),
            "label_at": pl.Datetime("us", "UTC"),
            "row": pl.Int64(),
            "reason": pl.String(),
            "given_at": pl.List(pl.Int64()),
        }
    )
    assert read(path).bad.schema == pl.Schema(history.BAD_SCHEMA)


def test_a_glob_reads_its_files_in_order_of_name_as_one_input(tmp_path: Path) -> None:
    csv_history(tmp_path, f"g3,{AT},ann,bob,3", f"g1,{AT},ann,bob,3", name="b.csv")
    csv_history(tmp_path, f"g1,{AT},ann,bob,1,true", "bad", header=f"{HEADER},fraud", name="a.csv")
    parquet_history(tmp_path, name="c.parquet", id=["g4"], device=["d1"])
    read_back = read(tmp_path / "*.*")
    assert read_back.rows.select("id", "fraud", "device").rows() == [
        ("g1", True, None),
        ("g3", None, None),
        ("g4", None, "d1"),
    ]
    assert read_back.bad.select("row", "reason").rows() == [(2, "ragged_line"), (4, "duplicate_id")]


@pytest.mark.parametrize(("limit", "good", "bad"), [(0, 0, 0), (1, 1, 0), (2, 1, 1), (3, 2, 1), (9, 3, 1)])
@pytest.mark.parametrize("quote", ["", '"'])
def test_limit_takes_the_first_stored_rows(tmp_path: Path, limit: int, good: int, bad: int, quote: str) -> None:
    header = f"{quote}id{quote}{HEADER[2:]}"
    csv_history(tmp_path, f"g1,{AT},a,b,1", f"g2,{AT},a,b,0", header=header, name="1.csv")
    csv_history(tmp_path, f"g3,2017{AT[4:]},a,b,1", f"g4,{AT},a,b,1", header=header, name="2.csv")
    read_back = read(f"{tmp_path}/[12].csv", limit=limit)
    assert (read_back.rows.height, read_back.bad.height) == (good, bad)


def test_limit_holds_for_parquet(tmp_path: Path) -> None:
    count = 1000
    path = parquet_history(tmp_path, **{name: [value] * count for name, value in GOOD.items()} | {"id": range(count)})
    assert read(path, limit=17).rows["id"].to_list() == [str(number) for number in range(17)]


def test_quoted_fields_keep_their_commas_and_line_ends(tmp_path: Path) -> None:
    path = csv_history(tmp_path, f'g1,{AT},ann,bob,5,"a,b\n""c"""', f"g2,{AT},ann,bob,5,d", header=f"{HEADER},note")
    assert read(path).rows["note"].to_list() == ['a,b\n"c"', "d"]


def test_other_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\ng1,{AT},ann,bob,5\r\n".encode())
    assert read(path).rows["amount"].to_list() == [5]


def test_a_file_without_rows_is_an_empty_history(tmp_path: Path) -> None:
    for path in (csv_history(tmp_path), parquet_history(tmp_path, **{name: [] for name in GOOD})):
        read_back = read(path)
        assert (read_back.rows.height, read_back.bad.height, read_back.bad_counts()) == (0, 0, {})
        assert read_back.rows.schema["amount"] == pl.Int64


# What cannot be read at all


def test_a_missing_column_is_named_with_those_found(tmp_path: Path) -> None:
    path = csv_history(tmp_path, "1", header="id,at,payer,recipient")
    with pytest.raises(HistoryRefused, match=r"no column sender, amount; found 'id', 'at', 'payer'") as refused:
        read(path)
    assert isinstance(refused.value, TrainingError)
    assert "a history needs id, at, sender, recipient, amount" in str(refused.value)


REFUSED_FILES = [
    ("absent.csv", None, "no such file"),
    ("h.xlsx", b"", "ends in '.xlsx': a history ends in .parquet or .csv"),
    ("empty.csv", b"", "has no column id"),
    ("semicolons.csv", HEADER.replace(",", ";").encode(), "comma-separated"),
    ("twice.csv", f"{HEADER},id\n".encode(), "two columns of one name"),
    ("latin.csv", f"{HEADER}\ng1,{AT},J\xf6,bob,5\n".encode("latin-1"), "UTF-8"),
    ("open.csv", f'{HEADER}\ng1,{AT},"ann,bob,5\ng2,{AT},ann,bob,5\n'.encode(), "balanced quotes"),
    ("torn.parquet", b"PAR1", "cannot be read"),
    ("empty.parquet", b"", "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED_FILES)
def test_an_unreadable_file_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(HistoryRefused, match=re.escape(message)):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1.5]}, "holds Float64 in id: write id as text"),
        ({"sender": [b"ann"]}, "holds Binary in sender: write sender as text"),
        ({"amount": [[5]]}, "in amount: write amount as a 64-bit integer"),
    ],
)
def test_a_column_of_an_impossible_type_is_refused(tmp_path: Path, columns: dict, message: str) -> None:
    with pytest.raises(HistoryRefused, match=message):
        read(parquet_history(tmp_path, **columns))


def test_a_folder_a_negative_limit_and_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HistoryRefused, match="is a folder: name its files"):
        read(tmp_path)
    with pytest.raises(HistoryRefused, match="limit is -1"):
        read(csv_history(tmp_path), limit=-1)
    parquet_history(tmp_path, name="1.parquet", note=[[1]])
    parquet_history(tmp_path, name="2.parquet", note=["x"])
    with pytest.raises(HistoryRefused, match="do not fit together"):
        read(tmp_path / "*.parquet")


# Whole histories

PARTIES = st.from_regex(history.PARTY.replace("$", r"\Z"), fullmatch=True)
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
AWARE = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)
GIFTS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text("abc:-_ 0é,\"'", min_size=1, max_size=9).filter(str.strip),
            "at": AWARE,
            "sender": PARTIES,
            "recipient": PARTIES,
            "amount": st.integers(1, 2**63 - 1),
            "fraud": st.none() | st.booleans(),
            "label_at": st.none() | AWARE,
            "note": st.none() | st.text("ab,\"\n '", min_size=1),
        }
    ).filter(lambda gift: gift["sender"] != gift["recipient"]),
    max_size=8,
    unique_by=lambda gift: gift["id"],
)


def written(gifts: list[dict]) -> pl.DataFrame:
    schema = {"id": pl.String, "at": history_columns.TIME, "sender": pl.String, "recipient": pl.String}
    schema |= {"amount": pl.Int64, "fraud": pl.Boolean, "label_at": history_columns.TIME, "note": pl.String}
    utc = [
        {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in gift.items()}
        for gift in gifts
    ]
    return pl.DataFrame(utc, schema=schema)


@settings(deadline=None, max_examples=50)
@given(gifts=GIFTS, quoted=st.sampled_from(["necessary", "always"]))
def test_good_rows_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, gifts: list[dict], quoted: str
) -> None:
    folder, frame = tmp_path_factory.mktemp("round"), written(gifts)
    frame.write_parquet(folder / "h.parquet")
    frame.write_csv(folder / "h.csv", quote_style=quoted)
    for name in ("h.parquet", "h.csv"):
        read_back = read(folder / name)
        assert read_back.bad.is_empty()
        assert read_back.rows.equals(frame.sort("at", maintain_order=True))


@settings(deadline=None, max_examples=50)
@given(gifts=GIFTS)
def test_offsets_in_text_are_the_same_moment(tmp_path_factory: pytest.TempPathFactory, gifts: list[dict]) -> None:
    path = tmp_path_factory.mktemp("offsets") / "h.parquet"
    spelled = [{**gift, "at": gift["at"].isoformat()} for gift in gifts]
    pl.DataFrame(spelled, schema={**written([]).schema, "at": pl.String}).write_parquet(path)
    assert read(path).rows.equals(written(gifts).sort("at", maintain_order=True))


CELLS = st.sampled_from(["", " ", "g1", "g2", AT, "ann", "bob", "5", "-5", "5.5", "x y", "true", "9" * 20])


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(st.lists(CELLS, min_size=1, max_size=9).map(",".join), max_size=9), quote=st.booleans())
def test_every_row_is_either_good_or_bad(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], quote: bool
) -> None:
    header = ('"id"' if quote else "id") + HEADER[2:] + ",fraud,label_at"
    path = csv_history(tmp_path_factory.mktemp("parted"), *lines, "end", header=header)
    read_back = read(path)
    assert read_back.rows.height + read_back.bad.height == len(lines) + 1
    assert read_back.bad["row"].is_unique().all()
    assert read_back.bad["reason"].is_in(list(REASONS)).all()
    assert sum(read_back.bad_counts().values()) == read_back.bad.height


@pytest.mark.skipif(not MAY.exists(), reason=f"the third-party history is not here: {MAY}")
def test_a_third_party_month_is_read_whole_and_alike_from_csv(tmp_path: Path) -> None:
    read_back = read(MAY)
    assert read_back.bad.is_empty()
    assert read_back.rows.equals(pl.read_parquet(MAY))
    read_back.rows.write_csv(tmp_path / "may.csv")
    assert read(tmp_path / "may.csv").rows.equals(read_back.rows)
