"""The guard before Polars' parser: only a short text made of known words, with bounded nesting, passes.

Polars 2.1 takes exponential time or space for some texts (`NOT (NOT (…` it cannot finish, `INTERVAL INTERVAL
…`, chained BETWEENs, each of which copies its left side), and loses some differences (`x IS TRUE` becomes `x
= TRUE`). So the text is cut into tokens here first, in one pass, and handed on with every column quoted: none
can be mistaken for a keyword.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from itertools import pairwise
from typing import NamedTuple

from detector.expressions_tree import Unfit

CHARACTERS = 2_000
STRING_CHARACTERS = 200
NUMBER_CHARACTERS = 38
NESTING = 20
# Each one can double the work of Polars' parser or the size of its tree: 2^8 stays under 0.1 s and 1 MB.
DOUBLINGS = 8

TOKEN = re.compile(
    r"""(?P<comment>--|/\*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[-+]?[0-9]+)?(?![\w.]))
      | (?P<string>'(?:[^']|'')*')
      | (?P<quoted>"[a-z_][a-z0-9_]*")
      | (?P<word>[a-z_][a-z0-9_]*)
      | (?P<sign><>|!=|<=|>=|==|[-+*/=<>(),])
      | (?P<stray>\S{1,12})""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
KEYWORDS = frozenset(
    (
        "and",
        "or",
        "not",
        "is",
        "null",
        "true",
        "false",
        "between",
        "in",
        "like",
        "case",
        "when",
        "then",
        "else",
        "end",
    )
)
FUNCTIONS = frozenset(("abs", "coalesce", "ends_with", "greatest", "if", "least", "length", "starts_with"))
REASONS = {
    "regular expressions are left out, since the executors could differ: use starts_with, ends_with, LIKE": (
        "regexp rlike ilike similar regexp_like regexp_matches regexp_replace glob"
    ),
    "its Unicode tables differ between Polars and Python: store the text in one case": "lower upper initcap",
    "aggregates look at other rows; a rule sees one gift: use a feature": (
        "sum count avg mean min max median stddev variance quantile first last array_agg string_agg"
    ),
    "windows look at other rows; a rule sees one gift: use a feature": (
        "over partition row_number rank lag lead window rows"
    ),
    "subqueries are left out; a rule sees one gift": "select from exists any all some with union where",
    "tables and files are out of reach of a rule": "read_csv read_parquet read_json read_ipc scan_csv unnest",
    "casts are left out: numbers mix freely, other types do not": "cast try_cast convert",
    "the clock is out of reach of a rule: use a feature in seconds": (
        "now current_date current_timestamp current_time localtime date timestamp interval time extract"
    ),
    "rules must be repeatable": "random rand uuid",
}


class Token(NamedTuple):
    kind: str
    text: str
    at: int


END = Token("end of text", "", -1)


def guarded(text: str, columns: Collection[str]) -> tuple[str, frozenset[str]]:
    """The text as Polars may read it, and the columns it mentions; Unfit if it is out of bounds."""
    if len(text) > CHARACTERS:
        raise Unfit(f"the text has {len(text)} characters: at most {CHARACTERS}, split it into several rules")
    tokens = tokens_of(text)
    check_nesting(tokens)
    check_doublings(tokens)
    check_lists(tokens)
    spelled = [spelling(token, following, columns) for token, following in pairwise([*tokens, END])]
    mentioned = frozenset(word[1:-1] for word in spelled if word.startswith('"'))
    return " ".join(spelled), mentioned


def tokens_of(text: str) -> list[Token]:
    tokens = []
    for match in TOKEN.finditer(text):  # skips only white space: anything else is at least a stray
        kind, word = str(match.lastgroup), match[0].lower()
        keyword = kind == "sign" or (kind == "word" and word in KEYWORDS)
        tokens.append(Token(word if keyword else kind, match[0], match.start()))
    if not tokens:
        raise Unfit("the text is empty: write a condition")
    return tokens


def check_nesting(tokens: list[Token]) -> None:
    deep = run = 0
    for token in tokens:
        deep += (token.kind in ("(", "case")) - (token.kind in (")", "end"))
        run = run + 1 if token.kind in ("not", "-", "+") else 0
        if deep + run > NESTING:
            raise Unfit(f"`{token.text}` at character {token.at + 1} nests over {NESTING} deep: split the rule")


def check_doublings(tokens: list[Token]) -> None:
    pairs = list(pairwise(tokens))
    for name, count in {
        "NOT (": sum(one.kind == "not" and two.kind == "(" for one, two in pairs),
        "BETWEEN": sum(token.kind == "between" for token in tokens),
    }.items():
        if count > DOUBLINGS:
            raise Unfit(f"{count} times `{name}`: at most {DOUBLINGS}, write comparisons instead")
    for one, two in pairs:
        if one.kind == "case" and two.kind != "when":
            raise Unfit(f"CASE `{two.text}`: only CASE WHEN condition THEN … is read")
    for at, token in enumerate(tokens):
        after = [following.kind for following in tokens[at + 1 : at + 3]]
        if token.kind == "is" and after[:1] != ["null"] and after != ["not", "null"]:
            words = " ".join(following.text for following in tokens[at : at + 2])
            raise Unfit(f"`{words}`: only IS NULL and IS NOT NULL are read")


def check_lists(tokens: list[Token]) -> None:
    """IN takes literals of one type: Polars copies the left side for each other item, and casts a mixture."""
    sorts = {"true": "bool", "false": "bool", "number": "number", "string": "string"}
    inside, seen = False, set[str]()
    for before, token in pairwise([END, *tokens]):
        if before.kind == "in":
            inside, seen = True, set()
            continue
        inside = inside and token.kind != ")"
        if inside and token.kind not in (*sorts, "null", ",", "-", "+"):
            raise Unfit(f"IN (… `{token.text}` …) takes literals only: write comparisons joined by OR")
        if inside and token.kind in sorts:
            seen.add(sorts[token.kind])
        if len(seen) > 1:
            raise Unfit(f"IN (… `{token.text}` …) mixes {' with '.join(sorted(seen))}: give all one type")


def spelling(token: Token, following: Token, columns: Collection[str]) -> str:
    """The token as Polars may read it; Unfit if it is none of the language's."""
    name = token.text.strip('"')
    match token.kind:
        case "stray":
            raise Unfit(f"`{ascii(token.text)[1:-1]}` at character {token.at + 1} is no part of a rule's language")
        case "comment":
            raise Unfit(f"a comment, `{name}`, at character {token.at + 1}: write it in the description")
        case "number" if len(name) > NUMBER_CHARACTERS:
            raise Unfit(f"the number {name[:20]}… has over {NUMBER_CHARACTERS} digits: write an exponent, as in 1e40")
        case "string" if len(name) > STRING_CHARACTERS + 2:
            raise Unfit(f"the string {name[:20]}… is over {STRING_CHARACTERS} characters")
        case "string" if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
            raise Unfit(f"the string {ascii(name)[:40]} holds half a character")
        case "word" if following.kind == "(":
            return function_name(name)
        case "word" | "quoted":
            return column_name(name, columns)
    return token.text


def function_name(name: str) -> str:
    if name.lower() not in FUNCTIONS:
        raise Unfit(f"function `{name[:60]}`: {reason_of(name) or 'allowed are ' + ', '.join(sorted(FUNCTIONS))}")
    return name.lower()


def column_name(name: str, columns: Collection[str]) -> str:
    if name in columns:
        return f'"{name}"'
    if reason := reason_of(name):
        raise Unfit(f"`{name}`: {reason}")
    near = difflib.get_close_matches(name, columns) or sorted(columns)[:8]
    raise Unfit(f"unknown column `{name[:60]}`: perhaps {', '.join(near) or 'a literal was meant'}")


def reason_of(word: str) -> str | None:
    return next((reason for reason, words in REASONS.items() if word.lower() in words.split()), None)
