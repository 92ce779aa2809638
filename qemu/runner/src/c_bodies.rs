// SPDX-License-Identifier: GPL-2.0

//! What `make check` asks of the C of the module: it decides nothing. `inline.c` is the only file that is compiled, and each of
//! its functions is one call or macro of the kernel's. The headers only declare.
//!
//! First by the text: how long it is, and what the preprocessor is told. Then by what a compiler makes of it: clang's tree as
//! JSON, in which each node says where it was written. Whatever a macro of the kernel's does is the kernel's.

use anyhow::{bail, ensure, Context, Result};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::BufRead,
    path::Path,
};

/// How many lines of C there may be, and how wide.
const LINES: usize = 150;
const COLUMNS: usize = 100;

/// Fails with the first place where the text is not as it has to be.
pub fn check(kmod: &Path) -> Result<()> {
    for entry in fs::read_dir(kmod).with_context(|| format!("cannot read {}", kmod.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = || fs::read_to_string(&path).with_context(|| format!("cannot read {name}"));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("c" | "S") if name != "inline.c" => {
                bail!("kmod/{name}: no C file but inline.c; write it in Rust")
            }
            Some("c") => source(&text()?)?,
            Some("h") => header(&name, &text()?)?,
            _ if path.is_dir() => check_rest(&path)?,
            _ => (),
        }
    }
    Ok(())
}

/// No C at all further down.
fn check_rest(folder: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry?;
        let extension = entry.path().extension().and_then(|text| text.to_str());
        ensure!(
            !matches!(extension, Some("c" | "h" | "S")),
            "{}: the only C is inline.c, with its headers beside it; write it in Rust",
            entry.path().display()
        );
    }
    Ok(())
}

/// What a line tells the preprocessor; `None` when it is none for it.
fn directive(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#').map(str::trim_start)
}

fn source(text: &str) -> Result<()> {
    let count = text.lines().count();
    ensure!(
        count <= LINES,
        "kmod/inline.c: {count} lines, {LINES} allowed"
    );
    for (index, line) in text.lines().enumerate() {
        let columns: usize = line.chars().map(|c| if c == '\t' { 8 } else { 1 }).sum();
        ensure!(
            columns <= COLUMNS,
            "kmod/inline.c:{}: {columns} columns, {COLUMNS} allowed",
            index + 1
        );
        let allowed = ["include \"bindings.h\"", "endif"];
        ensure!(
            directive(line).is_none_or(|rest| allowed.contains(&rest)
                || rest.strip_prefix("ifdef CONFIG_").is_some_and(is_word)),
            "kmod/inline.c:{}: {line:?}: nothing of the preprocessor but #ifdef CONFIG_…; no macros",
            index + 1
        );
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A header that only declares, or, `bindings.h`, only includes.
fn header(name: &str, text: &str) -> Result<()> {
    for (index, line) in text.lines().enumerate() {
        let is_fine = match directive(line) {
            None if name == "bindings.h" => {
                let comment = line.trim_start();
                comment.is_empty() || comment.starts_with("/*") || comment.starts_with('*')
            }
            None => true,
            Some(rest) => {
                rest.starts_with("include ")
                    || rest == "endif"
                    || ["ifdef ", "ifndef ", "define "]
                        .iter()
                        .any(|word| rest.strip_prefix(word).is_some_and(is_word))
            }
        };
        ensure!(
            is_fine,
            "kmod/{name}:{}: {line:?}: headers include and declare; no macros",
            index + 1
        );
    }
    Ok(())
}

/// A place in a text: the file, and how many bytes are before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    offset: usize,
    length: usize,
}

/// Where something was written, and, when a macro has brought it here, where that macro is.
#[derive(Clone, Debug)]
struct Location {
    written: Place,
    macro_at: Option<Place>,
}

/// Reads clang's tree, whose places leave out the file when it is the same as the one before.
struct Tree<'a> {
    /// The last file that was named.
    file: String,
    /// The files that are ours, by their names, with their texts.
    own: &'a BTreeMap<String, String>,
    found: Vec<String>,
}

/// What a function of ours may consist of, as far as we have written it.
const ALLOWED: [&str; 12] = [
    "CompoundStmt",
    "ReturnStmt",
    "CallExpr",
    "DeclRefExpr",
    "MemberExpr",
    "ImplicitCastExpr",
    "ParenExpr",
    "StringLiteral",
    "IntegerLiteral",
    "ParmVarDecl",
    "UnaryOperator",
    "OffsetOfExpr",
];

impl Tree<'_> {
    fn place(&mut self, value: &Value) -> Option<Place> {
        if let Some(file) = value["file"].as_str() {
            self.file = file.to_string();
        }
        let number = |name: &str| {
            value[name]
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
        };
        Some(Place {
            file: self.file.clone(),
            offset: number("offset")?,
            length: number("tokLen").unwrap_or(0),
        })
    }

    /// In the order in which clang has written them, as each is told from the one before.
    fn location(&mut self, value: &Value) -> Option<Location> {
        if value.get("spellingLoc").is_some() {
            let written = self.place(&value["spellingLoc"]);
            let macro_at = self.place(&value["expansionLoc"]);
            return Some(Location {
                written: written?,
                macro_at,
            });
        }
        let written = self.place(value)?;
        Some(Location {
            written,
            macro_at: None,
        })
    }

    fn is_own(&self, place: &Place) -> bool {
        is_path_of_own(self.own, &place.file)
    }

    /// Where it is in a file of ours: a macro that has brought it is where its name is.
    fn here<'l>(&self, location: &'l Location) -> &'l Place {
        match &location.macro_at {
            Some(at) if !self.is_own(&location.written) => at,
            _ => &location.written,
        }
    }

    /// What is written between two places of one of our files; `None` when they are not in it.
    fn between(&self, from: &Place, to: &Place) -> Option<&str> {
        if from.file != to.file {
            return None;
        }
        let text = self.own.get(base(&from.file))?;
        text.get(from.offset + from.length..to.offset)
    }

    /// A declaration outside of all functions.
    fn top(&mut self, value: &Value) -> Option<()> {
        let at = self.location(&value["loc"]);
        let begin = self.location(&value["range"]["begin"]);
        let _end = self.location(&value["range"]["end"]);
        let kind = value["kind"].as_str().unwrap_or_default();
        let is_own = |tree: &Self, location: &Option<Location>| {
            location.as_ref().is_some_and(|location| {
                tree.is_own(location.macro_at.as_ref().unwrap_or(&location.written))
            })
        };
        let own = is_own(self, &at) || is_own(self, &begin);
        let mut body = None;
        let mut nodes = Vec::new();
        for inner in value["inner"].as_array().into_iter().flatten() {
            let is_body = own && inner["kind"] == "CompoundStmt";
            let node = self.node(inner);
            if is_body {
                body = Some(nodes.len());
            }
            nodes.push(node);
        }
        if !own {
            return None;
        }
        let file = base(&at.or(begin)?.written.file).to_string();
        let name = value["name"].as_str().unwrap_or("(no name)");
        let mut say = |what: &str| self.found.push(format!("kmod/{file}: {name}: {what}"));
        if file != "inline.c" {
            match kind {
                "RecordDecl" | "EmptyDecl" => (),
                "FunctionDecl" if body.is_none() && value.get("storageClass").is_none() => (),
                _ => say("headers declare functions and structures, nothing else"),
            }
            return None;
        }
        if kind != "FunctionDecl" {
            say(&format!("a {kind}: nothing but functions"));
            return None;
        }
        if value.get("storageClass").is_some() || value.get("inline").is_some() {
            say("static, extern or inline: Rust has to find it");
        }
        if !name.starts_with("vserver_inline_") {
            say("its name begins with vserver_inline_");
        }
        match body {
            Some(body) => self.body(name, &nodes[body]),
            None => say("it has no body"),
        }
        None
    }

    fn body(&mut self, name: &str, body: &Node) {
        let mut found = BTreeSet::new();
        if body.inner.len() != 1 {
            found.insert(format!("{} statements: one each", body.inner.len()));
        }
        let mut calls = BTreeSet::new();
        self.walk(body, &mut calls, &mut found);
        if calls.len() > 1 {
            found.insert(format!("{} calls or macros: one each", calls.len()));
        }
        for what in found {
            self.found
                .push(format!("kmod/inline.c: {name}: {what}; write it in Rust"));
        }
    }

    fn walk(&self, node: &Node, calls: &mut BTreeSet<usize>, found: &mut BTreeSet<String>) {
        for location in [&node.begin, &node.end].into_iter().flatten() {
            if let Some(at) = location.macro_at.as_ref().filter(|at| self.is_own(at)) {
                calls.insert(at.offset);
            }
        }
        if self.is_written(node) {
            if node.kind == "CallExpr" {
                calls.extend(node.begin.as_ref().map(|begin| begin.written.offset));
            }
            if !ALLOWED.contains(&node.kind.as_str()) {
                found.insert(
                    format!("{} {}", node.kind, node.operator)
                        .trim_end()
                        .to_string(),
                );
            } else if node.kind == "UnaryOperator" && !["&", "*"].contains(&node.operator.as_str())
            {
                found.insert(format!("the operator {}", node.operator));
            }
        }
        for inner in &node.inner {
            self.walk(inner, calls, found);
        }
    }

    /// Whether it is we who have written it, and not a macro of the kernel's, which may be given what we have written.
    fn is_written(&self, node: &Node) -> bool {
        let (Some(begin), Some(end)) = (&node.begin, &node.end) else {
            return false;
        };
        // What stands between its parts is what makes it one.
        let between = |sign: &str| {
            node.inner.windows(2).any(|pair| {
                let (Some(from), Some(to)) = (&pair[0].end, &pair[1].begin) else {
                    return false;
                };
                self.between(self.here(from), self.here(to))
                    .is_some_and(|text| text.contains(sign))
            })
        };
        match node.kind.as_str() {
            "BinaryOperator" | "CompoundAssignOperator" => between(&node.operator),
            "ConditionalOperator" | "BinaryConditionalOperator" => between("?"),
            "ArraySubscriptExpr" => between("["),
            // Behind what it is about.
            "UnaryOperator" if node.is_postfix => {
                self.is_own(&end.written)
                    && self.own.get(base(&end.written.file)).is_some_and(|text| {
                        text.get(end.written.offset..)
                            .is_some_and(|rest| rest.starts_with(&node.operator))
                    })
            }
            "MemberExpr" | "ImplicitCastExpr" => false,
            _ => self.is_own(&begin.written),
        }
    }

    fn node(&mut self, value: &Value) -> Node {
        let _ = self.location(&value["loc"]);
        let begin = self.location(&value["range"]["begin"]);
        let end = self.location(&value["range"]["end"]);
        let inner = value["inner"].as_array().into_iter().flatten();
        Node {
            kind: value["kind"].as_str().unwrap_or_default().to_string(),
            operator: value["opcode"].as_str().unwrap_or_default().to_string(),
            is_postfix: value["isPostfix"].as_bool().unwrap_or(false),
            begin,
            end,
            inner: inner.map(|inner| self.node(inner)).collect(),
        }
    }
}

struct Node {
    kind: String,
    operator: String,
    is_postfix: bool,
    begin: Option<Location>,
    end: Option<Location>,
    inner: Vec<Node>,
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// The kernel's headers may have the same names.
fn is_path_of_own(own: &BTreeMap<String, String>, file: &str) -> bool {
    own.contains_key(base(file)) && !file.contains("include/")
}

/// The value of a line that names a file.
fn file_of(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("\"file\": \"")?;
    rest.rsplit_once('"').map(|(file, _)| file)
}

/// Reads clang's tree of `inline.c` and says how many functions there are; fails with all that is more than it may be. `kmod`:
/// where the files are. The tree has a gigabyte and a half, so only what touches a file of ours is looked into.
pub fn tree(kmod: &Path, input: impl BufRead) -> Result<usize> {
    let mut own = BTreeMap::new();
    for entry in fs::read_dir(kmod)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("c" | "h")) && !path.to_string_lossy().ends_with(".mod.c") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            own.insert(name.into_owned(), fs::read_to_string(&path)?);
        }
    }
    let mut tree = Tree {
        file: String::new(),
        own: &own,
        found: Vec::new(),
    };
    let mut functions = 0;
    let (mut chunk, mut before, mut last) = (String::new(), String::new(), String::new());
    let (mut is_inside, mut touches, mut in_include_stack) = (false, false, false);
    for line in input.lines() {
        let line = line?;
        if line == "    {" {
            is_inside = true;
            touches = is_path_of_own(&own, &last);
            before.clone_from(&last);
            chunk.clear();
        }
        if line.trim_start().starts_with("\"includedFrom\": {") {
            in_include_stack = true;
        } else if in_include_stack {
            in_include_stack = !line.trim_start().starts_with('}');
        } else if let Some(file) = file_of(&line) {
            last = file.to_string();
            touches |= is_path_of_own(&own, file);
        }
        if !is_inside {
            continue;
        }
        chunk.push_str(&line);
        chunk.push('\n');
        if line.starts_with("    }") && !line.starts_with("     ") {
            is_inside = false;
            if touches {
                let text = chunk.trim_end().trim_end_matches(',');
                let mut parser = serde_json::Deserializer::from_str(text);
                // A macro of the kernel's is deep.
                parser.disable_recursion_limit();
                let value: Value = parser.into_iter().next().context("an empty node")??;
                tree.file.clone_from(&before);
                functions += usize::from(
                    value["kind"] == "FunctionDecl"
                        && value["name"]
                            .as_str()
                            .is_some_and(|name| name.starts_with("vserver_inline_")),
                );
                let _ = tree.top(&value);
            }
        }
    }
    if !tree.found.is_empty() {
        bail!(
            "C that does more than it may:\n  {}",
            tree.found.join("\n  ")
        );
    }
    ensure!(
        functions > 0,
        "clang's tree has none of the functions of inline.c"
    );
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::BufReader,
        process::{Command, Stdio},
    };

    /// What stands for the kernel: its macros and inline functions may do all that ours may not.
    const KERNEL: &str = "
        struct b { int f, g; struct b *next; };
        static inline int e(struct b *c, int d) { return c ? d : 0; }
        static inline void do_it(struct b *c) { if (c) c->f = 1; }
        #define BOTH(x, y) ((x) && (y))
        #define EQUAL(x, y) x == y
        #define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
        #define WRITE_ONCE(x, y) do { *(volatile __typeof__(x) *)&(x) = (y); } while (0)
        #define f_of f
    ";

    /// What clang makes of an `inline.c`; `None` on a machine that has no clang.
    fn judged(name: &str, code: &str, header: &str) -> Option<Result<usize>> {
        let folder = std::env::temp_dir().join(format!("c-bodies-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("include")).expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
        write("include/kernel.h", KERNEL);
        write("declared.h", header);
        write(
            "bindings.h",
            "#include \"include/kernel.h\"\n#include \"declared.h\"\n",
        );
        write("inline.c", &format!("#include \"bindings.h\"\n{code}\n"));
        let mut clang = Command::new("clang")
            .args([
                "-fsyntax-only",
                "-w",
                "-Xclang",
                "-ast-dump=json",
                "inline.c",
            ])
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let output = clang.stdout.take().expect("a pipe");
        let result = tree(&folder, BufReader::new(output));
        assert!(clang.wait().expect("clang").success(), "{code}");
        fs::remove_dir_all(&folder).expect("removed");
        Some(result)
    }

    #[test]
    fn bodies() {
        for (index, code) in [
            "int vserver_inline_a(struct b *c, int d) { return e(c, d); }",
            "int vserver_inline_a(struct b *c) { return READ_ONCE(c->next->f); }",
            "int vserver_inline_a(struct b *c) { return READ_ONCE(c->f_of); }",
            "void vserver_inline_a(struct b *c, int d) { WRITE_ONCE(c->f, d); }",
            "int vserver_inline_a(int c, int d) { return BOTH(c, d); }",
            "int vserver_inline_a(struct b *c, int d) { return EQUAL(c->f, d); }",
            "int *vserver_inline_a(struct b *c) { return &c->f; }",
        ]
        .iter()
        .enumerate()
        {
            if let Some(result) = judged(&format!("fine-{index}"), code, "int x(void);") {
                assert_eq!(result.expect(code), 1);
            }
        }
    }

    /// Each is found.
    #[test]
    fn planted() {
        for (index, (code, reason)) in [
            (
                "int vserver_inline_a(int b) { return b ? e(0, b) : 0; }",
                "ConditionalOperator",
            ),
            (
                "int vserver_inline_a(int b) { return b ?: 1; }",
                "BinaryConditionalOperator",
            ),
            (
                "int vserver_inline_a(int b) { return b && e(0, b); }",
                "BinaryOperator &&",
            ),
            (
                "int vserver_inline_a(int b) { return READ_ONCE(b) || b; }",
                "BinaryOperator ||",
            ),
            (
                "int vserver_inline_a(struct b *b) { return BOTH(b && b->f, 1); }",
                "BinaryOperator &&",
            ),
            (
                "int vserver_inline_a(struct b *b) { return e(b, (do_it(b), 1)); }",
                "BinaryOperator ,",
            ),
            (
                "int vserver_inline_a(int b) { return ({ e(0, b); }); }",
                "StmtExpr",
            ),
            (
                "void vserver_inline_a(struct b *b) { if (b) do_it(b); }",
                "IfStmt",
            ),
            (
                "void vserver_inline_a(struct b *b) { while (b) do_it(b); }",
                "WhileStmt",
            ),
            (
                "void vserver_inline_a(struct b *b) { for (;;) do_it(b); }",
                "ForStmt",
            ),
            (
                "void vserver_inline_a(struct b *b) { do do_it(b); while (b); }",
                "DoStmt",
            ),
            (
                "void vserver_inline_a(int b) { switch (b) {} }",
                "SwitchStmt",
            ),
            ("void vserver_inline_a(int b) { x: goto x; }", "GotoStmt"),
            (
                "void vserver_inline_a(struct b *b) { do_it(b); do_it(b); }",
                "2 statements",
            ),
            (
                "int vserver_inline_a(struct b *b) { return e(b, e(b, 1)); }",
                "2 calls or macros",
            ),
            (
                "int vserver_inline_a(struct b *b) { return e(b, READ_ONCE(b->f)); }",
                "2 calls or macros",
            ),
            (
                "int vserver_inline_a(struct b *b) { return b->f + 1; }",
                "BinaryOperator +",
            ),
            (
                "int vserver_inline_a(struct b *b) { return !e(b, 1); }",
                "the operator !",
            ),
            (
                "int vserver_inline_a(struct b *b) { return b->f++; }",
                "the operator ++",
            ),
            (
                "int vserver_inline_a(struct b *b) { static int c; return c; }",
                "2 statements",
            ),
            (
                "int vserver_inline_a(int *b) { return b[1]; }",
                "ArraySubscriptExpr",
            ),
            (
                "static int vserver_inline_a(int b) { return e(0, b); }",
                "static",
            ),
            ("int other(int b) { return e(0, b); }", "its name"),
            (
                "int vserver_inline_a(int b) { return e(0, b); }\nint table[] = { 1 };",
                "a VarDecl",
            ),
            ("int vserver_inline_a(int b);", "it has no body"),
        ]
        .iter()
        .enumerate()
        {
            if let Some(result) = judged(&format!("planted-{index}"), code, "") {
                let error = result.expect_err(code).to_string();
                assert!(error.contains(reason), "{code}: {error}");
            }
        }
        let code = "int vserver_inline_a(int b) { return e(0, b); }";
        for (index, header) in [
            "static inline int x(void) { return 1; }",
            "int x(void) { return 1; }",
            "static int table[3];",
        ]
        .iter()
        .enumerate()
        {
            if let Some(result) = judged(&format!("header-{index}"), code, header) {
                assert!(result.is_err(), "{header}");
            }
        }
    }

    #[test]
    fn texts() {
        assert!(source("#include \"bindings.h\"\n#ifdef CONFIG_KEYS\n#endif\n").is_ok());
        assert!(source("#define A(b) b\n").is_err());
        assert!(source("#include <linux/fs.h>\n").is_err());
        assert!(source("#if A\n").is_err());
        assert!(source(&"\n".repeat(LINES + 1)).is_err());
        assert!(source(&"x".repeat(COLUMNS + 1)).is_err());
        assert!(header("a.h", "#ifndef A\n#define A\nstruct a;\n#endif\n").is_ok());
        assert!(header("a.h", "#define A(b) b\n").is_err());
        assert!(header("bindings.h", "/*\n * A.\n */\n#include <a.h>\n").is_ok());
        assert!(header("bindings.h", "struct a;\n").is_err());
    }

    #[test]
    fn of_this_module() {
        let kmod = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod");
        check(&kmod).expect("C that only calls");
    }
}
