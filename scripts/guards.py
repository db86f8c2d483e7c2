"""Finds the markers of guards in the Rust sources, and applies the mutation that each one names.

A marker is a comment directly above the guard:

    // guard: a control frame is not fragmented [false]
    if control && !fin {

The text is the name of the guard; the brackets contain the mutation. A mutation finds its place by
the structure of the code below it, not by identifiers, so that a rename does not break it.

The code is one of: an `if`, `while`, `for` or `match`; a match arm; a `let`,
`const` or assignment; a field of a struct literal; any other statement or final expression.

Actions:
    skip                    remove the statement; the body of an arm becomes `{}`
    true, false             replace the condition, or the guard of an arm (`if` is added to an
                            arm without one), or the value of anything else
    value CODE              replace the value: the condition of an `if`, `while` or `match`, what
                            a `for` loops over, the body of an arm, what is assigned or returned,
                            or the expression itself; `$` in CODE stands for the present value
    value of the arm above  replace the body of an arm by that of the arm before it
    call NAME               replace the name of the first method that is called
    drop term N             remove the term and the operator before it
    drop last call          remove the last `.method(...)`
Selectors before an action select a part of the value; they may be combined:
    condition               the guard of an arm, else the first condition of an `if`, `while` or
                            `match` inside it
    branch N                the Nth block inside it
    operand N               the Nth operand of `&&` and `||`
    term N                  the Nth operand of `+`, `-`, `&`, `|` and `^`
    argument N              the Nth argument of its last call
    receiver                the expression on which its first method is called

Several markers may be above the same code. Markers with the same name are one guard, and its
mutations are applied together.
"""

import re
from dataclasses import dataclass
from pathlib import Path

MARKER = re.compile(r"//\s*guard:\s*(?P<name>.*?)\s*\[(?P<mutation>.*)\]\s*")
TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>(?:b|c)?r(?P<hashes>\#*)")
    | (?P<text>(?:b|c)?"(?:\\.|[^"\\])*")
    | (?P<char>b?'(?:\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.)|[^'\\\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<word>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>[0-9](?:[0-9A-Za-z_]|\.(?=[0-9]))*)
    | (?P<sign><<=|>>=|\.\.=|\.\.\.|=>|->|::|==|!=|<=|>=|&&|\|\||\+=|-=|\*=|/=|%=|\^=|&=|\|=|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}
HEADS = ("if", "while", "for", "match")
ASSIGNS = ("=", "+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "<<=", ">>=")


class GuardError(Exception):
    """A marker or the code below it is not as described above."""


@dataclass
class Token:
    kind: str
    text: str
    start: int
    end: int


def tokenize(source):
    """All tokens of a Rust source, comments included, white space left out."""
    tokens, at = [], 0
    while at < len(source):
        match = TOKEN.match(source, at)
        kind, end = match.lastgroup, match.end()
        if kind == "hashes" or match["raw"] is not None:
            kind = "text"
            closing = '"' + match["hashes"]
            end = source.index(closing, end) + len(closing)
        elif kind == "block":
            kind, end = "comment", end_of_block_comment(source, at)
        if kind != "space":
            tokens.append(Token(kind, source[at:end], at, end))
        at = end
    return tokens


def end_of_block_comment(source, at):
    """Block comments nest in Rust."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(source, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise GuardError("a block comment has no end")


class Code:
    """The tokens of a file without its comments, and the partner of each bracket."""

    def __init__(self, source):
        self.source = source
        self.markers = []
        self.tokens = []
        for token in tokenize(source):
            if token.kind != "comment":
                self.tokens.append(token)
            elif re.match(r"//+!?\s*guard:", token.text):
                self.markers.append((token, len(self.tokens)))
        self.partner = {}
        open_brackets = []
        for i, token in enumerate(self.tokens):
            if token.kind != "sign":
                continue
            if token.text in CLOSING:
                open_brackets.append(i)
            elif token.text in CLOSING.values():
                j = open_brackets.pop()
                self.partner[i], self.partner[j] = j, i

    def text(self, i):
        """The text of a word or sign; empty for literals, which may look like signs."""
        token = self.tokens[i]
        return token.text if token.kind in ("sign", "word") else ""

    def slice(self, span):
        """The source of a range of tokens."""
        first, end = span
        return self.source[self.tokens[first].start : self.tokens[end - 1].end]

    def flat(self, span):
        """The tokens of a range that are not inside brackets; opening brackets are among them."""
        i, end = span
        while i < end:
            yield i
            i = self.partner[i] if self.text(i) in CLOSING else i + 1

    def end_of(self, i, *signs):
        """The first of `signs` from `i` on, outside brackets, or the bracket that closes around `i`."""
        while i < len(self.tokens):
            text = self.text(i)
            if text in signs or text in CLOSING.values():
                return i
            i = self.partner[i] + 1 if text in CLOSING else i + 1
        raise GuardError("the file ends before the guarded code does")

    def operators(self, span, kinds):
        """Binary operators of these kinds in a range, outside brackets. Where an operand begins, `|`
        belongs to a closure and `&` to a reference."""
        found, operand_begins, i = [], True, span[0]
        while i < span[1]:
            text = self.text(i)
            if operand_begins and text == "|":
                i = self.end_of(i + 1, "|")
            elif operand_begins and text in ("||", "&", "&&", "-", "*", "!"):
                pass
            elif text in kinds:
                found.append(i)
                operand_begins = True
            elif text in CLOSING:
                i = self.partner[i]
                operand_begins = False
            else:
                token = self.tokens[i]
                operand_begins = token.kind == "sign" and text not in ("?", ".", "::")
                operand_begins |= text in ("return", "break", "in", "match", "if")
            i += 1
        return found

    def split(self, span, kinds):
        """The parts of a range between such operators."""
        at = self.operators(span, kinds)
        starts = [span[0]] + [i + 1 for i in at]
        ends = at + [span[1]]
        return [part for part in zip(starts, ends) if part[0] < part[1]]

    def methods(self, span):
        """Calls of methods outside brackets: the dot of each and its opening parenthesis."""
        calls = []
        for i in self.flat(span):
            if self.text(i) != "." or i + 2 >= span[1] or self.tokens[i + 1].kind != "word":
                continue
            after = i + 2
            if self.text(after) == "::":
                after = next(j for j in range(after, span[1]) if self.text(j) == "(")
            if self.text(after) == "(":
                calls.append((i, after))
        return calls


@dataclass
class Item:
    """The code below a marker."""

    kind: str
    span: tuple
    value: tuple
    guard: tuple | None = None
    arrow: int | None = None


def item_at(code, i):
    """The item that begins at token `i`."""
    while code.text(i) == "#":
        i = code.partner[i + 1] + 1
    word = code.text(i)
    if word in HEADS:
        body = code.end_of(i + 1, "{")
        end = code.partner[body] + 1
        while word == "if" and code.text(end) == "else":
            end = code.partner[code.end_of(end, "{")] + 1
        first = i + 1
        if word == "for":
            first = next(j for j in code.flat((i, body)) if code.text(j) == "in") + 1
        return Item(word, (i, end), (first, body))
    if word in ("let", "const", "static", "pub", "return", "break"):
        end = code.end_of(i, ";")
        first = i + 1
        if word not in ("return", "break"):
            first = code.end_of(i, "=", ";") + 1
        return Item("statement", (i, min(end + 1, len(code.tokens))), (first, end))
    arrow = code.end_of(i, "=>", ";", ",")
    if code.text(arrow) == "=>":
        guard = next((j for j in code.flat((i, arrow)) if code.text(j) == "if"), None)
        guard = None if guard is None else (guard + 1, arrow)
        body = body_of_arm(code, arrow)
        return Item("arm", (i, body[1]), body, guard, arrow)
    if code.tokens[i].kind == "word" and code.text(i + 1) == ":":
        end = code.end_of(i, ",")
        return Item("field", (i, end), (i + 2, end))
    end = code.end_of(i, ";")
    assigned = next((j for j in code.flat((i, end)) if code.text(j) in ASSIGNS), None)
    span = (i, end + 1 if code.text(end) == ";" else end)
    return Item("statement", span, (i if assigned is None else assigned + 1, end))


def body_of_arm(code, arrow):
    """The code after the `=>` of an arm."""
    first = arrow + 1
    if code.text(first) == "{":
        after = code.partner[first] + 1
        if code.text(after) not in (".", "?"):
            return first, after
    return first, code.end_of(first, ",")


def body_of_arm_above(code, item):
    """The body of the arm before this one, in the same match."""
    before, depth = item.span[0] - 1, 0
    while depth >= 0:
        before -= 1
        text = code.text(before)
        depth += (text in CLOSING.values()) - (text in CLOSING)
    body = None
    i = before + 1
    while i < item.span[0]:
        arrow = code.end_of(i, "=>")
        body = body_of_arm(code, arrow)
        i = body[1] + (code.text(body[1]) == ",")
    if body is None:
        raise GuardError("there is no arm above")
    return code.slice(body)


def nth(parts, number, what):
    """The part of that number, from 1 on."""
    if not 1 <= number <= len(parts):
        raise GuardError(f"there is no {what} {number}: the code has {len(parts)}")
    return parts[number - 1]


def arguments(code, span):
    """The arguments of the last call in a range."""
    calls = [i for i in code.flat(span) if code.text(i) == "(" and i > span[0]]
    if not calls:
        raise GuardError("nothing is called here")
    inside = (calls[-1] + 1, code.partner[calls[-1]])
    return code.split(inside, (",",))


def condition_in(code, span):
    """The first condition in a range, brackets included."""
    for i in range(*span):
        if code.text(i) in ("if", "while", "match"):
            return i + 1, code.end_of(i + 1, "{")
    raise GuardError("there is no condition here")


def select(code, span, words):
    """Applies the selectors. Returns the selected range and the words of the action."""
    while True:
        head = words[0].rstrip(",") if words else ""
        if head == "condition":
            span, words = condition_in(code, span), words[1:]
        elif head == "receiver":
            dot, _ = nth(code.methods(span), 1, "method")
            span, words = (span[0], dot), words[1:]
        elif head in ("operand", "term", "argument", "branch"):
            number = int(words[1].rstrip(","))
            if head == "branch":
                blocks = [i for i in code.flat(span) if code.text(i) == "{"]
                block = nth(blocks, number, head)
                span = (block + 1, code.partner[block])
            else:
                span = nth(parts_of(code, span, head), number, head)
            words = words[2:]
        else:
            return span, words


def parts_of(code, span, what):
    """Operands, terms or arguments of a range."""
    if what == "argument":
        return arguments(code, span)
    return code.split(span, ("&&", "||") if what == "operand" else ("+", "-", "&", "|", "^"))


def edit_of(code, item, mutation):
    """The tokens that a mutation replaces, and their replacement."""
    if mutation == "skip":
        return (item.value, "{}") if item.kind == "arm" else (item.span, "")
    if mutation in ("true", "false") and item.kind == "arm":
        if item.guard is None:
            return (item.arrow, item.arrow), f"if {mutation} "
        return item.guard, mutation
    if mutation == "value of the arm above":
        if item.kind != "arm":
            raise GuardError("this is no arm of a match")
        return item.value, body_of_arm_above(code, item)
    span, words = item.value, mutation.split(" ")
    if words[0] == "condition" and item.guard is not None:
        span, words = item.guard, words[1:]
    span, words = select(code, span, words)
    action = " ".join(words)
    if action.startswith("value ") and item.kind == "arm" and span == item.value:
        # A body without a block needs a comma behind it.
        comma = "" if code.text(span[1]) == "," else ","
        return span, action.removeprefix("value ").replace("$", code.slice(span)) + comma
    if action in ("true", "false"):
        return span, action
    if action.startswith("value "):
        return span, action.removeprefix("value ").replace("$", code.slice(span))
    if action.startswith("call "):
        dot, _ = nth(code.methods(span), 1, "method")
        return (dot + 1, dot + 2), action.removeprefix("call ")
    if action == "drop last call":
        calls = code.methods(span)
        dot, opening = nth(calls, len(calls), "method")
        return (dot, code.partner[opening] + 1), ""
    if match := re.fullmatch(r"drop term (\d+)", action):
        number = int(match[1])
        first, end = nth(parts_of(code, span, "term"), number, "term")
        return ((first - 1, end) if number > 1 else (first, end + 1)), ""
    raise GuardError(f"[{mutation}] is no mutation; scripts/guards.py lists them")


@dataclass
class Marker:
    """A marker, and the change that its mutation makes."""

    path: str
    line: int
    name: str
    mutation: str
    start: int
    end: int
    replacement: str

    def applied_to(self, source):
        """The source with this mutation."""
        return source[: self.start] + self.replacement + source[self.end :]


def markers_in(path, source):
    """All markers of a file, and the errors of invalid ones."""
    code, found, errors = Code(source), [], []
    for comment, next_token in code.markers:
        line = source.count("\n", 0, comment.start) + 1
        match = MARKER.fullmatch(comment.text)
        try:
            if match is None or not match["name"]:
                raise GuardError("a marker is `// guard: NAME [MUTATION]`")
            if source[source.rfind("\n", 0, comment.start) + 1 : comment.start].strip():
                raise GuardError("a marker stands on a line of its own")
            item = item_at(code, next_token)
            (first, end), replacement = edit_of(code, item, match["mutation"])
        except (GuardError, ValueError, KeyError, IndexError, StopIteration) as error:
            errors.append(f"{path}:{line}: {str(error) or type(error).__name__}")
            continue
        start = code.tokens[first].start
        stop = code.tokens[end - 1].end if end > first else start
        found.append(Marker(path, line, match["name"], match["mutation"], start, stop, replacement))
    return found, errors


def all_markers(root):
    """The markers of all sources below `src`, and the errors."""
    found, errors = [], []
    for path in sorted(Path(root, "src").rglob("*.rs")):
        source = path.read_text(encoding="utf-8")
        if "guard:" in source:
            of_file, wrong = markers_in(str(path.relative_to(root)), source)
            found += of_file
            errors += wrong
    return found, errors


def words_of_value(mutation):
    """The identifiers that the CODE of a mutation names, which a rename has to rename too."""
    _, _, value = mutation.partition("value ")
    if value == "of the arm above":
        return set()
    return {token.text for token in tokenize(value) if token.kind == "word"}
