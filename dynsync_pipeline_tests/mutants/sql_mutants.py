"""Makes mutants of SQL text: copies that differ in one place, each still valid SQL, comments and strings left alone.

Not here: which files are mutated and what kills a mutant (`check.py`).
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import duckdb

_TOKEN = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*')|(?P<name>\"(?:[^\"]|\"\")*\")"
    r"|(?P<number>\b\d[\d_]*(?:\.\d+)?\b)|(?P<word>[A-Za-z_]\w*)|(?P<sign><>|<=|>=|!=|->>?|\|\||::|[^\s\w])",
    re.DOTALL,
)
# One token for another; what is on the right is tried for what is on the left.
_SWAPPED = {
    "'dynamics'": "'marketo'",
    "'marketo'": "'dynamics'",
    ">": ">=",
    ">=": ">",
    "<": "<=",
    "<=": "<",
    "and": "or",
    "or": "and",
    "min": "max",
    "max": "min",
    "least": "greatest",
    "greatest": "least",
    "arg_min": "arg_max",
    "arg_max": "arg_min",
    "bool_and": "bool_or",
    "bool_or": "bool_and",
    "desc": "asc",
}
_ENDS_OF_WHERE = {
    *("group", "having", "window", "qualify", "order", "limit", "union", "intersect", "except", "returning"),
    *("on", "when"),
}
_FUNCTIONS = {"min", "max", "least", "greatest", "arg_min", "arg_max", "bool_and", "bool_or"}


@dataclass(frozen=True)
class Mutant:
    """A broken copy of a file.

    `mutation` names the break by its kind and the line it is in, so that it keeps its name when other lines move.
    """

    line: int
    mutation: str
    text: str

    def diff(self, original: str, name: str) -> str:
        """What is different, as a unified diff without context."""
        lines = difflib.unified_diff(original.splitlines(), self.text.splitlines(), name, name, lineterm="", n=0)
        return "\n".join(lines)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    depth: int  # of parentheses and of `case … end`; a bracket has the depth of what is inside


@dataclass(frozen=True)
class _Edit:
    """Text to put between two places of the file, and what kind of break that is."""

    kind: str
    start: int
    end: int
    text: str = ""


def mutants_of(text: str) -> list[Mutant]:
    """Every mutant of a file that is valid SQL, by line. Raises: duckdb.ParserException if the file itself is not."""
    duckdb.extract_statements(text)
    tokens = _tokens(text)
    edits = [
        *_token_edits(tokens),
        *_distinct_edits(tokens),
        *_join_edits(tokens),
        *_case_edits(tokens),
        *_union_edits(tokens),
        *_where_edits(tokens),
        *_statement_edits(tokens),
    ]
    found = {(edit.kind, edit.start, edit.text): edit for edit in edits}
    made = (_mutant(text, edit) for edit in sorted(found.values(), key=lambda edit: (edit.start, edit.end, edit.kind)))
    return _named_apart(mutant for mutant in made if _is_valid(mutant.text))


def _mutant(text: str, edit: _Edit) -> Mutant:
    line_start = text.rfind("\n", 0, edit.start) + 1
    line = re.sub(r"\s+", " ", text[line_start:].partition("\n")[0].partition(" -- ")[0]).strip()
    mutated = text[: edit.start] + edit.text + text[edit.end :]
    return Mutant(text.count("\n", 0, edit.start) + 1, f"{edit.kind}: {line}", mutated)


def _named_apart(mutants: Iterable[Mutant]) -> list[Mutant]:
    """The second of the same name is called `… (2)`."""
    seen: Counter[str] = Counter()
    named = []
    for mutant in mutants:
        seen[mutant.mutation] += 1
        n = seen[mutant.mutation]
        named.append(mutant if n == 1 else replace(mutant, mutation=f"{mutant.mutation} ({n})"))
    return named


def _is_valid(text: str) -> bool:
    try:
        duckdb.extract_statements(text)
    except duckdb.Error:
        return False
    return True


def _tokens(text: str) -> list[_Token]:
    """What the text consists of, without white space and comments."""
    tokens: list[_Token] = []
    depth = 0
    for found in _TOKEN.finditer(text):
        kind, token = found.lastgroup or "", found[0]
        if kind == "comment":
            continue
        if kind in ("word", "name"):
            token = token.lower()
        opens, closes = token in ("(", "[", "case"), token in (")", "]", "end")
        depth += opens
        tokens.append(_Token(kind, token, found.start(), found.end(), depth))
        depth -= closes
    return tokens


def _token_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    """Breaks of one token: another one in its place, or none."""
    between = 0  # the `and` of `between x and y` is no connective
    for n, token in enumerate(tokens):
        before = tokens[n - 1].text if n else ""
        after = tokens[n + 1].text if n + 1 < len(tokens) else ""
        between += token.text == "between"
        if token.text == "and" and between:
            between -= 1
        elif token.text == "not":
            if after != "distinct":  # `is not distinct from` has a break of its own
                yield _Edit("drop not", token.start, token.end)
        elif token.kind == "number":
            if token.text not in ("0", "1"):
                yield _Edit("another number", token.start, token.end, str(float(token.text) + 1).removesuffix(".0"))
        elif token.text in _SWAPPED and not (token.text in _FUNCTIONS and after != "(") and before != ".":
            yield _Edit(f"{token.text} to {_SWAPPED[token.text]}", token.start, token.end, _SWAPPED[token.text])


def _distinct_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    """Comparisons that know null made naive."""
    for n, token in enumerate(tokens):
        words = [other.text for other in tokens[n : n + 4]]
        if words[:3] == ["is", "distinct", "from"]:
            yield _Edit("is distinct from to <>", token.start, tokens[n + 2].end, "<>")
        elif words == ["is", "not", "distinct", "from"]:
            yield _Edit("is not distinct from to =", token.start, tokens[n + 3].end, "=")


def _join_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    for token, following in pairwise(tokens):
        if token.text == "left" and following.text == "join":
            yield _Edit("left join to join", token.start, following.end, "join")


def _case_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    """One `when … then …` of a case gone, where there is another."""
    for n, token in enumerate(tokens):
        if token.text != "case":
            continue
        rest = tokens[n + 1 :]
        end = next((m for m, other in enumerate(rest) if other.text == "end" and other.depth == token.depth), len(rest))
        marks = [other for other in rest[: end + 1] if other.depth == token.depth]
        marks = [other for other in marks if other.text in ("when", "else", "end")]
        arms = [(mark, following) for mark, following in pairwise(marks) if mark.text == "when"]
        if len(arms) > 1:
            for mark, following in arms:
                yield _Edit("drop when", mark.start, following.start)


def _union_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    """One arm of a `union all` gone."""
    for n, token in enumerate(tokens):
        if token.text != "union" or [other.text for other in tokens[n + 1 : n + 2]] != ["all"]:
            continue
        end = _end_of_scope(tokens, n, stops={"union"})
        yield _Edit("drop arm after union", token.start, tokens[end - 1].end)
        scope = _start_of_scope(tokens, n)
        here = [other for other in tokens[scope:n] if other.depth == token.depth]
        if any(other.text == "union" for other in here):
            continue
        first = next((other for other in here if other.text in ("select", "from", "values")), None)
        if first is not None:
            yield _Edit("drop first arm of union", first.start, tokens[n + 1].end)


def _where_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    """One conjunct of a `where` gone; the whole clause, where there is only one."""
    for n, token in enumerate(tokens):
        if token.text != "where":
            continue
        end = _end_of_scope(tokens, n, stops=_ENDS_OF_WHERE)
        inside = tokens[n + 1 : end]
        here = [other for other in inside if other.depth == token.depth]
        if any(other.text == "or" for other in here) or not _connectives(here):
            yield _Edit("drop where", token.start, inside[-1].end)
            continue
        bounds = [*_connectives(here)]
        starts = [inside[0].start, *(bound.end for bound in bounds)]
        for m, bound in enumerate(bounds):
            yield _Edit("drop conjunct", starts[m], bound.end)
        yield _Edit("drop conjunct", bounds[-1].start, inside[-1].end)


def _connectives(tokens: list[_Token]) -> list[_Token]:
    """The `and`s that connect, without those of `between`."""
    found: list[_Token] = []
    is_between = False
    for token in tokens:
        if token.text == "between":
            is_between = True
        elif token.text == "and" and is_between:
            is_between = False
        elif token.text == "and":
            found.append(token)
    return found


def _statement_edits(tokens: list[_Token]) -> Iterator[_Edit]:
    start = 0
    for n, token in enumerate(tokens):
        if token.text == ";":
            if n > start:
                yield _Edit("drop statement", tokens[start].start, token.end)
            start = n + 1


def _end_of_scope(tokens: list[_Token], n: int, stops: set[str]) -> int:
    """Number of the first token after token `n` that is not of its clause: a stop at its depth, a bracket, a semicolon."""
    depth = tokens[n].depth
    for m in range(n + 1, len(tokens)):
        token = tokens[m]
        is_closing = token.text in (")", "]", "end") and token.depth == depth
        if token.depth < depth or is_closing or token.text == ";" or (token.depth == depth and token.text in stops):
            return m
    return len(tokens)


def _start_of_scope(tokens: list[_Token], n: int) -> int:
    """Number of the first token of the statement or the brackets that token `n` stands in."""
    depth = tokens[n].depth
    for m in range(n - 1, -1, -1):
        token = tokens[m]
        if token.text == ";" or token.depth < depth or (token.depth == depth and token.text in ("(", "[", "case")):
            return m + 1
    return 0
