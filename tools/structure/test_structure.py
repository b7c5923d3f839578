"""Each check on small trees: it passes what is allowed, and finds what is not."""

import contextlib
import io
import os
import subprocess
import tempfile
import unittest
from unittest import mock

from . import __main__ as program
from . import circles, crates, drift, floors, order, rules, text
from .modules import Crate
from .rewrap import rewrap
from .tokens import tokens
from .tree import read_tree

PYTHON = rules.FLOORS["crates/python"]


class Tree(unittest.TestCase):
    """A folder with files of a test's own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, files):
        for path, content in files.items():
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(content)

    def crate(self, files):
        """The crate whose `src/lib.rs` and further files are given by their names below `src`."""
        self.write({f"src/{name}": content for name, content in files.items()})
        return Crate(self.root, "src/lib.rs")

    def edges(self, files):
        return {
            ("::".join(reference.source) or "crate", "::".join(reference.target) or "crate")
            for reference in self.crate(files).references()
        }


class Tokens(unittest.TestCase):
    def texts(self, source):
        return [token.text for token in tokens(source)]

    def test_comments_strings_and_lifetimes_hold_no_paths(self):
        source = "a /* b /* c */ d */ // e\n 'x' '\\'' f::<'g> \"h::i\" r#\"j\"k\"# b'\"' l"
        self.assertEqual(self.texts(source), ["a", "f", "::", "<", ">", "h::i", 'j"k', "l"])

    def test_lines_are_counted_through_strings_and_comments(self):
        self.assertEqual([token.line for token in tokens('a\n"x\ny" b /*\n*/ c')], [1, 2, 3, 4])


class Modules(Tree):
    def test_use_trees_and_paths_in_code_are_references(self):
        files = {
            "lib.rs": "mod a; mod b; mod c; mod d; mod e;",
            "a.rs": "use crate::{b::{self, B}, c::*}; fn f() { super::d::g(); crate::e::E::new(); b::h() }",
            "b.rs": "pub struct B;",
            "c.rs": "pub fn c() {}",
            "d.rs": "pub fn g() {}",
            "e.rs": "pub struct E;",
        }
        self.assertEqual(self.edges(files), {("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")})

    def test_a_reference_goes_to_the_file_that_defines_and_not_to_one_that_re_exports(self):
        files = {
            "lib.rs": "mod a; mod b; pub use b::Thing; pub use b::inner::*;",
            "a.rs": "use crate::Thing; fn f(_: crate::Deep) {}",
            "b/mod.rs": "pub mod inner; pub struct Thing;",
            "b/inner.rs": "pub struct Deep;",
        }
        self.assertLessEqual({("a", "b"), ("a", "b::inner")}, self.edges(files))
        self.assertNotIn(("a", "crate"), self.edges(files))

    def test_tests_inside_a_file_are_left_out(self):
        files = {
            "lib.rs": "mod a; mod b; #[cfg(test)] mod only_there;",
            "a.rs": "#[cfg(test)] use crate::b::{X}; #[cfg(test)] mod tests { use crate::b; } fn f() {}",
            "b.rs": "",
        }
        self.assertEqual(self.edges(files), set())

    def test_a_module_may_be_in_one_of_several_files(self):
        files = {
            "lib.rs": "mod s; mod t;",
            "s/mod.rs": '#[cfg(x)] #[path = "one.rs"] mod backend; #[cfg(y)] #[path = "two.rs"] mod backend;',
            "s/one.rs": "",
            "s/two.rs": "use crate::t::T;",
            "t.rs": "pub struct T;",
        }
        self.assertEqual(self.edges(files), {("s::backend", "t")})

    def test_a_name_of_another_crate_is_no_module_of_ours(self):
        files = {
            "lib.rs": "mod a; mod b;",
            "a.rs": "use tracing::tracing; use b::x; fn f() { tracing::b(); }",
            "b.rs": "",
        }
        self.assertEqual(self.edges(files), set())


class Circles(Tree):
    def messages(self, files):
        return [str(finding) for finding in circles.circles(self.crate(files))]

    def test_two_files_that_use_each_other_are_found(self):
        (message,) = self.messages(
            {"lib.rs": "mod a; mod b;", "a.rs": "\nuse crate::b::B;", "b.rs": "pub struct B; use crate::a;"}
        )
        self.assertEqual(
            message,
            "src/a.rs:2: a circle of files: a uses b (src/a.rs:2), b uses a (src/b.rs:1)",
        )

    def test_a_circle_through_three_and_the_rest_of_its_knot_are_named(self):
        files = {
            "lib.rs": "mod a; mod b; mod c; mod d;",
            "a.rs": "use crate::b;",
            "b.rs": "use crate::c; use crate::d;",
            "c.rs": "use crate::a;",
            "d.rs": "use crate::b;",
        }
        (message,) = self.messages(files)
        self.assertIn("a uses b", message)
        self.assertIn("c uses a", message)
        self.assertIn("in the same knot: d", message)

    def test_a_circle_through_what_an_owner_re_exports_is_found(self):
        files = {
            "lib.rs": "mod a; mod b; pub use a::A; pub use b::B;",
            "a.rs": "pub struct A; use crate::B;",
            "b.rs": "pub struct B; use crate::A;",
        }
        self.assertEqual(len(self.messages(files)), 1)

    def test_folders_are_taken_with_all_below_them(self):
        files = {
            "lib.rs": "mod a; mod b;",
            "a/mod.rs": "mod x; pub struct A;",
            "a/x.rs": "use crate::b::B;",
            "b/mod.rs": "mod y; pub struct B;",
            "b/y.rs": "use crate::a::A;",
        }
        self.assertEqual(len(self.messages(files)), 1)

    def test_an_owner_and_its_children_may_know_each_other(self):
        files = {
            "lib.rs": "mod a; mod b; pub struct Root; use b::B;",
            "a.rs": "mod x; pub struct A; use x::X; use crate::Root; use crate::b::B;",
            "a/x.rs": "pub struct X; use super::A;",
            "b.rs": "pub struct B; use crate::Root;",
        }
        self.assertEqual(self.messages(files), [])


class Order(Tree):
    FILES = {
        "lib.rs": "mod a; mod b; mod c;",
        "a.rs": "pub struct A;",
        "b.rs": "use crate::a::A;",
        "c.rs": "use crate::b;",
    }

    def messages(self, *lines):
        files = {**self.FILES, "lib.rs": "".join(f"//! {line}\n" for line in lines) + self.FILES["lib.rs"]}
        return [str(finding) for finding in order.order(self.crate(files))]

    def test_a_list_of_files_in_their_order_passes_in_both_forms(self):
        self.assertEqual(self.messages("Each uses those above it:", "", "- `a`, [`b`]: one.", "- [`mod@c`]: two."), [])
        self.assertEqual(self.messages("Each uses those", "above it:", "", "| `a` |", "| `b`, `c` |"), [])

    def test_a_file_that_uses_one_below_it_in_the_list_is_found(self):
        (message,) = self.messages("Each uses those above it:", "", "- `b`", "- `a`", "- `c`")
        self.assertEqual(message, "src/b.rs:1: b uses a, which src/lib.rs lists below it")

    def test_a_file_that_the_list_leaves_out_is_found(self):
        (message,) = self.messages("Each uses those above it:", "", "- `a`, `b`", "", "Beside them is `c`.")
        self.assertIn("c is missing in the list of files", message)

    def test_a_list_that_promises_no_order_is_left(self):
        self.assertEqual(self.messages("- `c`: three."), [])


class Floors(Tree):
    def package(self, folder, name, manifest=""):
        return crates.packages({f"{folder}/Cargo.toml": f'[package]\nname = "{name}"\n{manifest}'})[0]

    def test_a_crate_that_uses_one_above_it_is_found(self):
        fiber = self.package("crates/fiber", "f", "[dependencies]\nlibc = '1'\nh.workspace = true")
        hub = self.package("crates/hub", "h", "[dev-dependencies]\nf.workspace = true")
        (finding,) = floors.crates_order([fiber, hub])
        self.assertEqual((finding.path, finding.check), ("crates/fiber/Cargo.toml", "floor"))
        self.assertIn("it depends on crates/hub", finding.message)

    def test_dependencies_are_read_in_every_form(self):
        forms = [
            '[dependencies]\nh = { path = "../hub" }',
            "[dependencies.h]\nversion = '1'",
            "[target.'cfg(unix)'.dependencies]\nh.workspace = true",
            "[build-dependencies]\nh = '1'",
            '[dependencies]\nrenamed = { package = "h", path = "../hub" }',
            '[dependencies]\nrenamed = { path = "../hub", package = "h" }',
            "[dependencies.renamed]\nversion = '1'\npackage = \"h\"",
        ]
        for form in forms:
            with self.subTest(form):
                self.assertEqual(self.package("crates/fiber", "f", form).uses, ("h",))

    def test_a_crate_without_a_place_in_the_table_is_found(self):
        (finding,) = floors.crates_order([self.package("crates/new", "n")])
        self.assertIn("without a place", finding.message)

    def found(self, folder, files):
        return [str(finding) for finding in floors.modules_order(folder, self.crate(files))]

    def test_a_module_that_uses_a_floor_above_or_its_neighbour_or_the_root_is_found(self):
        files = {
            "lib.rs": "mod py; mod tstate; mod greenlet; mod eventlet; mod http; pub fn assemble() {} use py::Py;",
            "py.rs": "pub struct Py; use crate::tstate::T;",
            "tstate.rs": "pub struct T; fn f() { crate::assemble() }",
            "greenlet.rs": "use crate::py::Py; use crate::tstate::T;",
            "eventlet.rs": "use crate::greenlet; use crate::http::H;",
            "http.rs": "pub struct H;",
        }
        self.assertEqual(
            self.found("crates/python", files),
            [
                "src/eventlet.rs:1: eventlet uses http, which is beside it",
                "src/py.rs:1: py uses tstate, which is above it",
                "src/tstate.rs:1: tstate uses the crate's root, which is above it",
            ],
        )

    def test_a_module_without_a_floor_is_found(self):
        (message,) = self.found("crates/python", {"lib.rs": "mod other;", "other.rs": ""})
        floors = " < ".join("|".join(sorted(floor)) for floor in PYTHON)
        self.assertIn(f"other is on no floor; they are {floors}", message)

    def test_a_private_runtime_knows_no_public_module(self):
        files = {
            "lib.rs": "mod runtime; mod hub; mod pool; pub use hub::Hub;",
            "runtime/mod.rs": "mod park; pub struct Runtime;",
            "runtime/park.rs": "use super::Runtime; use crate::Hub;",
            "hub.rs": "pub struct Hub; use crate::runtime::Runtime; use crate::pool::Pool;",
            "pool.rs": "pub struct Pool; use crate::runtime::Runtime;",
        }
        (message,) = self.found("crates/greenloom", files)
        self.assertEqual(message, "src/runtime/park.rs:1: runtime::park uses hub, which is above it")


class Text(unittest.TestCase):
    def wide(self, path, line):
        return [finding.line for finding in text.too_wide(path, f"short\n{line}\n")]

    def test_a_line_over_the_limit_is_found_in_every_kind_of_file(self):
        for path in ("a.rs", "a.py", "a.md", "a.sh", "Makefile"):
            with self.subTest(path):
                self.assertEqual(self.wide(path, "x " * 60), [])
                self.assertEqual(self.wide(path, "x " * 61), [2])

    def test_a_docstring_that_does_not_begin_on_its_first_line_is_found(self):
        source = '"""Good.\n\nMore.\n"""\n\n\ndef f():\n    """\n    Bad.\n    """\n\n\ndef g():\n    return "\\n"\n'
        self.assertEqual([finding.line for finding in text.empty_first_line("a.py", source)], [8])

    def test_tables_and_verbatim_blocks_of_markdown_and_a_url_at_the_end_are_left(self):
        long = "word " * 30
        self.assertEqual(self.wide("a.md", f"| {long} |"), [])
        self.assertEqual(self.wide("a.md", f"```text\n{long}\n```"), [])
        self.assertEqual(self.wide("a.md", f"```rust\n{long}\n```"), [3])
        self.assertEqual(self.wide("a.rs", "// See https://example.org/" + "x" * 120), [])
        self.assertEqual(self.wide("a.rs", f"// See https://example.org/ {long}"), [2])
        self.assertEqual(self.wide("a.rs", f"| {long} |"), [2])

    def test_a_long_file_needs_a_reason_at_its_top(self):
        body = "x\n" * rules.LENGTH
        for path, reason in (
            ("a.rs", "//! A thing.\n//!\n//! Over 500 lines: one table.\n\nuse x;\n"),
            ("a.rs", "// A thing.\n#![allow(x)]\n// Over 500\n// lines: one table.\n"),
            ("a.py", '#!/usr/bin/python\n"""A thing.\n\nOver 500 lines: one table.\n"""\n'),
            ("a.py", "# Over 500 lines: one table.\n"),
        ):
            with self.subTest(reason):
                self.assertEqual(list(text.too_long(path, reason + body)), [])
        for path, top in (
            ("a.rs", "//! A thing.\n//! Over 500 lines:\nuse x;\n"),
            ("a.rs", "//! A thing.\nuse x;\n//! Over 500 lines: too late.\n"),
            ("a.py", '"""A thing."""\nimport x\n# Over 500 lines: too late.\n'),
        ):
            with self.subTest(top):
                self.assertEqual([finding.check for finding in text.too_long(path, top + body)], ["length"])
        self.assertEqual(list(text.too_long("a.rs", "x\n" * rules.LENGTH)), [])

    def unsafe(self, path, source):
        return [(finding.line, finding.message) for finding in text.unsafe_outside(path, source)]

    def test_unsafe_is_found_outside_its_crates(self):
        source = "// unsafe is a word\n#![forbid(unsafe_code)]\nfn f() { unsafe { g() } }\n"
        self.assertEqual(self.unsafe("crates/fiber/src/lib.rs", source), [])
        self.assertEqual([line for line, _ in self.unsafe("crates/hub/src/lib.rs", source)], [3])
        self.assertEqual([line for line, _ in self.unsafe("examples/a/src/main.rs", source)], [3])
        self.assertEqual(len(self.unsafe("crates/hub/src/lib.rs", "#[unsafe(no_mangle)]\nfn f() {}")), 1)

    def test_an_unsafe_block_is_short_enough_to_be_checked(self):
        def found(lines):
            source = "fn f() {\n    unsafe {\n" + "        g();\n" * (lines - 2) + "    }\n}\n"
            return [finding.line for finding in text.unsafe_too_long("crates/fiber/src/lib.rs", source)]

        self.assertEqual(found(rules.UNSAFE_LENGTH), [])
        self.assertEqual(found(rules.UNSAFE_LENGTH + 1), [2])
        long_function = "unsafe fn f() {\n" + "    g();\n" * 50 + "}\n"
        self.assertEqual(list(text.unsafe_too_long("crates/fiber/src/lib.rs", long_function)), [])

    def test_a_test_may_have_unsafe_that_says_why_it_is_sound(self):
        bare = "fn f() {\n    unsafe { g() }\n}\n"
        said = "fn f() {\n    // SAFETY: it is.\n    unsafe { g() }\n}\n"
        for path, wrap in (
            ("crates/hub/tests/a.rs", "{}"),
            ("crates/hub/src/a.rs", "#[cfg(test)]\nmod tests {{\n{}}}\n"),
        ):
            with self.subTest(path):
                self.assertEqual(self.unsafe(path, wrap.format(said)), [])
                ((_, message),) = self.unsafe(path, wrap.format(bare))
                self.assertIn("without a SAFETY: comment", message)


class Drift(unittest.TestCase):
    FILES = {
        "crates/fiber/Cargo.toml": "",
        "crates/python/Cargo.toml": "",
        "docs/design.md": "## Layers\n\n| layer | crate |\n|---|---|\n| x | `crates/fiber` |\n| y | `crates/python` |\n"
        "| z | `bench` |\n\n## Floors\n\n| crate | floors |\n|---|---|\n"
        f"| `crates/python` | {', '.join(f'`{name}`' for floor in PYTHON for name in sorted(floor))} |\n",
        "README.md": "## What is where\n`crates/fiber` `crates/python`\n## Next\n",
        "CONTRIBUTING.md": "## Layers\n`crates/fiber`, `crates/python`\n## A poller backend\n"
        "| function | what |\n|---|---|\n| `Poller::new`, `Poller::wait` | x |\n",
        "crates/hub/src/poller.rs": "impl Poller { pub fn new() {} pub const unsafe fn wait() {} fn own() {} }",
    }

    def found(self, **changes):
        files = dict(self.FILES)
        for path, (before, after) in changes.items():
            path = {"design": "docs/design.md", "readme": "README.md", "contributing": "CONTRIBUTING.md"}.get(
                path, "crates/hub/src/poller.rs"
            )
            self.assertIn(before, files[path])
            files[path] = files[path].replace(before, after)
        return [str(finding) for finding in drift.drift(files)]

    def test_lists_that_say_what_is_there_pass(self):
        self.assertEqual(self.found(), [])

    def test_a_layer_that_is_missing_or_in_another_order_is_found(self):
        first, second = "| x | `crates/fiber` |\n", "| y | `crates/python` |\n"
        (message,) = self.found(design=(first + second, second + first))
        self.assertIn("the table of layers has crates/python, crates/fiber", message)
        (message,) = self.found(readme=("`crates/fiber`", "fiber"))
        self.assertEqual(message, 'README.md: crates/fiber is missing under "What is where"')
        (message,) = self.found(contributing=("`crates/python`", "python"))
        self.assertIn("crates/python is missing", message)

    def test_floors_in_another_order_are_found(self):
        (message,) = self.found(design=("`py`, `tstate`", "`tstate`, `py`"))
        self.assertIn("the floors of crates/python", message)

    def test_a_function_of_a_backend_that_is_in_no_table_is_found_and_the_other_way_round(self):
        (message,) = self.found(poller=("fn own()", "pub(crate) fn own()"))
        self.assertIn("Poller::own of crates/hub/src/poller.rs is in no table", message)
        (message,) = self.found(poller=("pub fn new() {}", ""))
        self.assertIn("Poller::new of crates/hub/src/poller.rs is only in the table", message)


class Rewrap(unittest.TestCase):
    def test_words_move_down_a_comment_and_stop_at_a_paragraphs_end(self):
        line = "    /// " + "word " * 21
        source = f"{line}last one\n    /// next\n    ///\n    /// other\n    fn f() {{}}\n"
        self.assertEqual(rewrap("a.rs", source), source.replace(" one\n    /// next", "\n    /// one next"))

    def test_a_list_item_goes_on_under_its_text(self):
        item = "- " + "word " * 22
        self.assertEqual(rewrap("a.md", f"{item}last one more\n- next\n"), f"{item}last one\n  more\n- next\n")

    def test_code_tables_blocks_and_spans_are_left(self):
        long = "word " * 30
        for path, source in (
            ("a.rs", f'let x = "{long}";\n'),
            ("a.md", f"| {long} |\n"),
            ("a.md", f"```text\n{long}\n```\n"),
            ("a.md", f"`{long}`\n"),
        ):
            with self.subTest(source):
                self.assertEqual(rewrap(path, source), source)


class Program(Tree):
    """The program as a whole, on a tree that git knows."""

    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "--quiet", self.root], check=True)

    def run_it(self, *arguments):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = program.main(["--root", self.root, *arguments])
        return code, printed.getvalue().splitlines()

    def test_findings_are_listed_and_counted_and_the_exit_code_tells(self):
        self.write(
            {
                "crates/a/Cargo.toml": '[package]\nname = "a"\n',
                "crates/a/src/lib.rs": "mod x; mod y;\nfn f() { unsafe {} }\n",
                "crates/a/src/x.rs": "use crate::y;\n",
                "crates/a/src/y.rs": "use crate::x;\n// " + "w " * 70 + "\n",
                "crates/a/tests/t.rs": "//! Text.\n" * (rules.LENGTH + 1),
                "bin/tool": "#!/bin/sh\n" + "x " * 80 + "\n",
            }
        )
        with mock.patch.object(rules, "CRATES", {"crates/a": ()}):
            code, lines = self.run_it()
        self.assertEqual(code, 1)
        checks = ["circle", "drift", "drift", "drift", "length", "unsafe", "width", "width"]
        self.assertEqual([line.split()[0] for line in lines[:-1]], checks)
        self.assertIn("8 findings (1 of circle, 3 of drift, 1 of length, 1 of unsafe, 2 of width)", lines[-1])
        code, lines = self.run_it("crates/a/src/x.rs", "bin")
        self.assertEqual([line.split()[0] for line in lines[:-1]], ["circle", "width"])

    def test_a_clean_tree_passes_silently(self):
        self.write({"a/src/lib.rs": "fn f() {}\n", "a/Cargo.toml": '[package]\nname = "a"\n'})
        self.assertEqual(self.run_it(), (0, []))

    def test_links_and_what_git_ignores_are_not_read(self):
        self.write({"a.py": "x = 1\n", "target/b.py": "", ".gitignore": "target/\n"})
        os.symlink("a.py", os.path.join(self.root, "c.py"))
        self.assertEqual(list(read_tree(self.root)), ["a.py"])


if __name__ == "__main__":
    unittest.main()
