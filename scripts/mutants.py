"""The program behind scripts/mutants.sh, which says how it is used."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from guards import all_markers, tokenize, words_of_value

ROOT = Path(__file__).resolve().parent.parent
TABLE = "tests/guards.txt"
# A test has failed without its guard when it takes longer than this and SLOWNESS times its time with
# the guard: some mutants never end.
TIMEOUT_S = 60
SLOWNESS = 5


def read_table(root):
    """Reads the table: for each guard the arguments of `cargo test`, and the errors of the table."""
    tests, errors, name = {}, [], None
    for number, line in enumerate((root / TABLE).read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] != " ":
            name = line.strip()
        elif name is None or name in tests:
            errors.append(f"{TABLE}:{number}: a guard has one line with its test below its name")
        else:
            tests[name] = line.split()
    return tests, errors


def read_guards(root, patterns=()):
    """The markers and the test of each guard by its name, and the errors of both."""
    markers, errors = all_markers(root)
    tests, wrong = read_table(root)
    errors += wrong
    guards = {}
    for marker in markers:
        guards.setdefault(marker.name, []).append(marker)
    for name, places in guards.items():
        if name not in tests:
            place = f"{places[0].path}:{places[0].line}"
            errors.append(f"{place}: the guard `{name}` has no test; add one to {TABLE}")
    for name in tests.keys() - guards.keys():
        errors.append(f"{TABLE}: no marker in src is called `{name}`")
    if patterns:
        guards = {n: found for n, found in guards.items() if any(p in n for p in patterns)}
    return guards, tests, errors


def check_words(guards):
    """Errors for mutations with an identifier that is not in src: a rename has missed them."""
    known = set()
    for path in (ROOT / "src").rglob("*.rs"):
        known.update(t.text for t in tokenize(path.read_text()) if t.kind == "word")
    for places in guards.values():
        for marker in places:
            for word in sorted(words_of_value(marker.mutation) - known):
                yield f"{marker.path}:{marker.line}: nothing in src is called `{word}` any more"


def test_names():
    """The full name of every test, as `cargo test` filters it, by binary; None is the library."""
    names = {}
    for folder in ("src", "tests"):
        paths = list((ROOT / folder).rglob("*.rs"))
        elsewhere = {}
        for path in paths:
            for file, module in re.findall(r'#\[path = "(.*)"\]\s+mod (\w+);', path.read_text()):
                elsewhere[(path.parent / file).resolve()] = [*module_of(path, folder), module]
        for path in paths:
            binary = None if folder == "src" else path.relative_to(ROOT / folder).parts[0]
            module = elsewhere.get(path) or module_of(path, folder)
            names.setdefault(binary.removesuffix(".rs") if binary else None, set()).update(
                "::".join(module + inner) for inner in tests_in(path.read_text())
            )
    return names


def module_of(path, folder):
    """The module of a file, by its path; in a test binary, below that binary."""
    parts = path.relative_to(ROOT / folder).with_suffix("").parts[folder == "tests" :]
    return [part for part in parts if part not in ("mod", "lib", "main")]


def tests_in(source):
    """The names of the tests in a file, below the module of the file. It is formatted."""
    inner, is_test = [], False
    for line in source.splitlines():
        if match := re.match(r"(?:pub )?mod (\w+) \{", line):
            inner = [match[1]]
        elif line.startswith("}"):
            inner = []
        is_test |= line.strip() == "#[test]"
        if is_test and (match := re.match(r"\s*fn (\w+)\(", line)):
            yield [*inner, match[1]]
            is_test = False


def check_tests(tests):
    """Errors for entries of the table whose test does not exist."""
    names = test_names()
    for guard, test in tests.items():
        where, filters = (None, test[1:]) if test[0] == "--lib" else (test[1], test[2:])
        if where not in names:
            yield f"{TABLE}: `{guard}`: there is no tests/{where}.rs or tests/{where}/main.rs"
        for wanted in filters:
            if not any(wanted in name for name in names.get(where, ())):
                yield f"{TABLE}: `{guard}`: no test of `{' '.join(test[:-1])}` is called `{wanted}`"


class Copy:
    """A copy of the sources, which the mutations change."""

    def __init__(self, folder):
        self.root = Path(folder)
        self.originals = {}
        target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        # Mutations leave variables and functions unused; these lints must not fail the build.
        self.env = os.environ | {
            "CARGO_TARGET_DIR": str(Path(target).resolve() / "mutants"),
            "RUSTFLAGS": os.environ.get("RUSTFLAGS", "") + " --cap-lints=warn",
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.root / name)
                shutil.copymode(ROOT / name, self.root / name)

    def cargo(self, *arguments, timeout=None):
        """Runs cargo in the copy. Returns whether it succeeded, and its output."""
        with subprocess.Popen(
            ["cargo", *arguments], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,
        ) as process:
            try:
                log, _ = process.communicate(timeout=timeout)
                return process.returncode == 0, log
            except BaseException as error:
                # The test and the servers that it has started are in the process group of cargo.
                os.killpg(process.pid, signal.SIGKILL)
                log, _ = process.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    return False, log + f"\nstopped after {timeout:.0f} s\n"
                raise

    def mutate(self, markers):
        """Applies the mutation of each of these markers."""
        # From the end of a file to its start, so that the positions of the others stay valid.
        for marker in sorted(markers, key=lambda marker: -marker.start):
            path = self.root / marker.path
            source = path.read_text()
            self.originals.setdefault(path, source)
            path.write_text(marker.applied_to(source))

    def restore(self):
        """Puts the mutated files back."""
        for path, source in self.originals.items():
            path.write_text(source)
        self.originals.clear()


def last_lines(log):
    """The end of a log, indented."""
    return "".join(f"    {line}\n" for line in log.splitlines()[-20:])


def run_test(copy, test, timeout=None):
    """Builds and runs a test. Returns the outcome ('passes', 'fails', 'does not compile' or 'runs no
    test'), the output and the seconds of the run."""
    built, log = copy.cargo("test", "--no-run", *test)
    if not built:
        return "does not compile", log, 0
    began = time.monotonic()
    passed, log = copy.cargo("test", *test, timeout=timeout)
    if passed and not re.search(r"^test result: .* [1-9]\d* passed", log, re.MULTILINE):
        return "runs no test", log, 0
    return ("passes" if passed else "fails"), log, time.monotonic() - began


def try_guards(copy, guards, tests):
    """Takes out each guard. Returns the names of the guards that are not red."""
    failed = []
    unchanged = {}
    for name, markers in guards.items():
        test = tests[name]
        # A test that fails with its guard shows nothing when it fails without.
        if tuple(test) not in unchanged:
            unchanged[tuple(test)] = run_test(copy, test)
        outcome, log, seconds = unchanged[tuple(test)]
        verdict = "red"
        if outcome != "passes":
            verdict = f"INVALID: the test {outcome} with the guard in place"
        else:
            copy.mutate(markers)
            outcome, log, _ = run_test(copy, test, max(TIMEOUT_S, SLOWNESS * seconds))
            copy.restore()
            if outcome == "passes":
                verdict = "SURVIVES: the test passes without the guard"
            elif outcome != "fails":
                verdict = f"INVALID: the mutant {outcome}"
        print(f"{name:<62} {' '.join(test):<60} {verdict}", flush=True)
        if verdict != "red":
            failed.append(name)
            if verdict.startswith("INVALID"):
                print(last_lines(log), end="", flush=True)
    return failed


def compile_guards(copy, guards):
    """Compiles each mutant. Returns the names of the guards whose mutant does not compile."""
    failed = []
    for name, markers in guards.items():
        copy.mutate(markers)
        compiled, log = copy.cargo("check", "--lib")
        copy.restore()
        print(f"{name:<62} {'compiles' if compiled else 'DOES NOT COMPILE'}", flush=True)
        if not compiled:
            failed.append(name)
            print(last_lines(log), end="", flush=True)
    return failed


def show(guards, tests):
    """Prints each guard with its place, its mutation and its test."""
    for name, markers in guards.items():
        print(f"{name}\n    test      cargo test {' '.join(tests[name])}")
        for marker in markers:
            print(f"    mutation  [{marker.mutation}] at {marker.path}:{marker.line}")


def usage():
    """Prints the usage and returns the status for wrong arguments."""
    print("usage: scripts/mutants.sh [--check | --list | --compile] [PATTERN...]", file=sys.stderr)
    return 2


def run(mode, patterns):
    """Tests or compiles the mutants. Returns the exit status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(folder)
        # Read from the copy, because the working tree may be edited while this runs.
        guards, tests, _ = read_guards(copy.root, patterns)
        if mode == "--compile":
            failed = compile_guards(copy, guards)
        else:
            failed = try_guards(copy, guards, tests)
    wrong = "do not compile" if mode == "--compile" else "are not red"
    print(f"guards: {len(guards)} in {time.monotonic() - began:.0f} s; {len(failed)} {wrong}")
    print("".join(f"    {name}\n" for name in failed), end="")
    return 1 if failed else 0


def main(arguments):
    """Returns the exit status."""
    options = [argument for argument in arguments if argument.startswith("-")]
    patterns = [argument for argument in arguments if not argument.startswith("-")]
    mode = "".join(options)
    if mode not in ("", "--check", "--list", "--compile"):
        return usage()
    guards, tests, errors = read_guards(ROOT, patterns)
    if mode == "--check":
        errors += [*check_words(guards), *check_tests(tests)]
    if not guards:
        errors.append(f"no guard has {' or '.join(patterns)} in its name")
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 1
    if mode == "--check":
        print(f"{len(guards)} guards are marked, and each has a test")
        return 0
    if mode == "--list":
        show(guards, tests)
        return 0
    return run(mode, patterns)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
