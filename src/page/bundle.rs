//! Joins the JavaScript modules of the page into one script. Pure. The build script runs it, so that
//! a browser gets all modules with one request; the server itself only contains the result.
//!
//! It is no parser of JavaScript: it knows the few forms that the modules use, and refuses every
//! other one, so that a file it does not understand breaks the build and not the page:
//!
//! - `import { a, b as c } from './x.js';` at the start of a line, over several lines if need be;
//! - `export` before `const`, `function`, `async function` or `class`, at the start of a line;
//! - no cycle, no `import.meta`, and no template literal of more than one line.
//!
//! Each module becomes a function that returns its exports. An export is never assigned again
//! (there is no `export let`), so a copy of it is the same as a live binding.

use std::fmt::{self, Write as _};

/// Why a module cannot be bundled: its path, and the line or the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BundleError(String);

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One module, taken apart.
struct Module {
    path: String,
    /// The imported files, with the names taken from each as a destructuring pattern.
    imports: Vec<(String, String)>,
    exports: Vec<String>,
    /// The code without `import`, `export` and comment lines.
    code: String,
}

/// The modules that `entry` needs, itself included, as one script in the order in which they run.
/// `read` returns the text of a module by its path.
///
/// # Errors
/// A module is missing, imports itself by way of others, or has a form that is not supported.
pub(crate) fn bundle(
    entry: &str,
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<String, BundleError> {
    let mut modules = Vec::new();
    collect(entry, read, &mut Vec::new(), &mut modules)?;
    let mut script = String::from("'use strict';\n");
    for (number, module) in modules.iter().enumerate() {
        let _ = writeln!(script, "const m{number} = (() => {{");
        for (path, names) in &module.imports {
            let from = modules.iter().position(|other| other.path == *path).unwrap_or_default();
            let _ = writeln!(script, "const {{ {names} }} = m{from};");
        }
        let exports = module.exports.join(", ");
        let _ = writeln!(script, "{}return {{ {exports} }};\n}})();", module.code);
    }
    Ok(script)
}

/// The paths of the modules that `entry` needs, itself included.
///
/// # Errors
/// As [`bundle`].
#[cfg_attr(test, expect(dead_code, reason = "the build script uses it"))]
pub(crate) fn paths(
    entry: &str,
    read: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, BundleError> {
    let mut modules = Vec::new();
    collect(entry, read, &mut Vec::new(), &mut modules)?;
    Ok(modules.into_iter().map(|module| module.path).collect())
}

/// Adds the module at `path` behind all that it imports. `open` are the modules that led to it.
fn collect(
    path: &str,
    read: &dyn Fn(&str) -> Option<String>,
    open: &mut Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<(), BundleError> {
    if modules.iter().any(|module| module.path == path) {
        return Ok(());
    }
    if open.iter().any(|other| other == path) {
        return Err(BundleError(format!("{path} imports itself: {}", open.join(", "))));
    }
    let text = read(path).ok_or_else(|| BundleError(format!("{path} does not exist")))?;
    let module = take_apart(path, &text)?;
    open.push(path.to_owned());
    for (import, _) in &module.imports {
        collect(import, read, open, modules)?;
    }
    open.pop();
    modules.push(module);
    Ok(())
}

fn take_apart(path: &str, text: &str) -> Result<Module, BundleError> {
    let mut module = Module {
        path: path.to_owned(),
        imports: Vec::new(),
        exports: Vec::new(),
        code: String::new(),
    };
    let stripped = strip_comments(path, text)?;
    let mut lines = stripped.lines();
    while let Some(line) = lines.next() {
        if line.contains("import.meta") {
            return Err(unsupported(path, line));
        } else if is_import(line) {
            let mut statement = line.to_owned();
            while !statement.ends_with(';') {
                let next = lines.next().ok_or_else(|| unsupported(path, line))?;
                statement.push(' ');
                statement.push_str(next);
            }
            module.imports.push(import(path, &statement)?);
        } else if let Some(declaration) = line.strip_prefix("export ") {
            module.exports.push(exported_name(path, declaration)?);
            push_line(&mut module.code, declaration);
        } else if line.starts_with("export") {
            return Err(unsupported(path, line));
        } else {
            push_line(&mut module.code, line);
        }
    }
    Ok(module)
}

/// A static import. A dynamic one, `import(…)`, is an expression and stays as it is.
fn is_import(line: &str) -> bool {
    line.strip_prefix("import").is_some_and(|rest| rest.starts_with([' ', '{', '\'', '"', '*']))
}

/// The file that an import statement names, and its names as a destructuring pattern.
fn import(path: &str, statement: &str) -> Result<(String, String), BundleError> {
    let parts = || {
        let (names, file) = statement.strip_prefix("import {")?.split_once("} from './")?;
        Some((names, file.strip_suffix("';")?))
    };
    let (names, file) = parts().ok_or_else(|| unsupported(path, statement))?;
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().replace(" as ", ": "))
        .filter(|name| !name.is_empty())
        .collect();
    let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    Ok((format!("{folder}{file}"), names.join(", ")))
}

/// The name that a declaration behind `export` binds.
fn exported_name(path: &str, declaration: &str) -> Result<String, BundleError> {
    let name = ["const ", "function ", "async function ", "class "]
        .iter()
        .find_map(|keyword| declaration.strip_prefix(keyword))
        .and_then(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').next());
    match name {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        Some(_) | None => Err(unsupported(path, declaration)),
    }
}

/// The code without lines that are comments, without indentation and empty lines. A comment behind
/// code on the same line stays: telling it from a string would need a parser.
///
/// # Errors
/// A template literal of more than one line: a line of it could look like a comment.
pub(crate) fn strip_comments(path: &str, text: &str) -> Result<String, BundleError> {
    let mut code = String::new();
    let mut in_comment = false;
    for line in text.lines() {
        let mut rest = line.trim();
        if in_comment || rest.starts_with("/*") {
            match rest.split_once("*/") {
                Some((_, behind)) => rest = behind.trim_start(),
                None => rest = "",
            }
            in_comment = !line.contains("*/");
        }
        if rest.is_empty() || rest.starts_with("//") {
            continue;
        }
        if rest.matches('`').count() % 2 != 0 {
            return Err(unsupported(path, line));
        }
        push_line(&mut code, rest);
    }
    Ok(code)
}

fn push_line(code: &mut String, line: &str) {
    code.push_str(line);
    code.push('\n');
}

fn unsupported(path: &str, line: &str) -> BundleError {
    BundleError(format!("{path} has a line that the bundler does not support: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled(files: &[(&str, &str)]) -> Result<String, BundleError> {
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        bundle(files[0].0, &read)
    }

    #[test]
    fn each_module_runs_once_and_behind_those_that_it_imports() {
        let files = [
            (
                "app.js",
                "import { a } from './a.js';\nimport {\n  b as c,\n  d,\n} from './sub/b.js';\na(c, d);\n",
            ),
            ("a.js", "import { d } from './sub/b.js';\nexport const a = d;\n"),
            (
                "sub/b.js",
                "export function b() {}\nexport class d extends X {}\nexport async function e() {}\n",
            ),
        ];
        let expected = "'use strict';\n\
             const m0 = (() => {\nfunction b() {}\nclass d extends X {}\nasync function e() {}\nreturn { b, d, e };\n})();\n\
             const m1 = (() => {\nconst { d } = m0;\nconst a = d;\nreturn { a };\n})();\n\
             const m2 = (() => {\nconst { a } = m1;\nconst { b: c, d } = m0;\na(c, d);\nreturn {  };\n})();\n";
        assert_eq!(bundled(&files).unwrap(), expected);
    }

    #[test]
    fn comment_lines_are_removed_and_strings_are_kept() {
        let text = "/**\n * A comment.\n */\n// Another.\n  const url = 'https://x'; // stays\n\
             /** @type {X} */ (y).z();\n  a(/** @type {X} */ (b));\n/* one */\n`//` + '/*';\n";
        let expected =
            "const url = 'https://x'; // stays\n(y).z();\na(/** @type {X} */ (b));\n`//` + '/*';\n";
        assert_eq!(strip_comments("x.js", text).unwrap(), expected);
    }

    #[test]
    fn a_form_that_is_not_supported_is_an_error() {
        for line in [
            "import x from './a.js';",
            "import './a.js';",
            "import * as x from './a.js';",
            "import { a } from 'a';",
            "import { a } from './a.js'",
            "export default 1;",
            "export let a = 1;",
            "export { a };",
            "export const { a } = b;",
            "export * from './a.js';",
            "const a = import.meta.url;",
            "const a = `",
        ] {
            let error = bundled(&[("app.js", line), ("a.js", "export const a = 1;")]).unwrap_err();
            assert!(error.to_string().starts_with("app.js has a line"), "{line}: {error}");
        }
    }

    #[test]
    fn a_cycle_and_a_missing_file_are_errors() {
        let cycle =
            [("a.js", "import { b } from './b.js';"), ("b.js", "import { a } from './a.js';")];
        assert_eq!(bundled(&cycle).unwrap_err().to_string(), "a.js imports itself: a.js, b.js");
        let missing = [("a.js", "import { b } from './b.js';")];
        assert_eq!(bundled(&missing).unwrap_err().to_string(), "b.js does not exist");
    }
}
