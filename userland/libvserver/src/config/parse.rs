// SPDX-License-Identifier: GPL-2.0

//! The part of shell syntax that a configuration file may use: assignments. Nothing is executed.

use std::collections::BTreeMap;

/// One `NAME=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
    /// Where the value begins, in characters from 1.
    pub(super) column: usize,
}

/// Where the text is something else, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    pub(super) what: &'static str,
}

/// So many bytes may come from variables in all of a file: values that name others grow by doubling.
const EXPANDED_MAX: usize = 1 << 20;

struct Reader<'a> {
    rest: std::str::Chars<'a>,
    line: usize,
    column: usize,
    known: BTreeMap<String, String>,
    /// Bytes that came from variables.
    expanded: usize,
    description: Option<String>,
}

/// What a whole file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) assignments: Vec<Assignment>,
    /// The first comment that says so.
    pub(super) description: Option<String>,
}

/// The comment that describes a vserver.
const DESCRIPTION: &str = "description:";

/// Reads a whole file. `known`: the variables of a file before, and afterwards of this one too.
pub(super) fn content(
    text: &str,
    known: &mut BTreeMap<String, String>,
) -> Result<Content, SyntaxError> {
    let mut reader = Reader {
        rest: text.chars(),
        line: 1,
        column: 1,
        known: std::mem::take(known),
        expanded: 0,
        description: None,
    };
    let mut assignments = Vec::new();
    while reader.skip_to_assignment() {
        let assignment = reader.assignment()?;
        reader
            .known
            .insert(assignment.name.clone(), assignment.value.clone());
        assignments.push(assignment);
    }
    *known = reader.known;
    Ok(Content {
        assignments,
        description: reader.description,
    })
}

/// Reads a file that stands alone.
#[cfg(test)]
pub(super) fn assignments(text: &str) -> Result<Vec<Assignment>, SyntaxError> {
    content(text, &mut BTreeMap::new()).map(|content| content.assignments)
}

fn begins_name(char: char) -> bool {
    char.is_ascii_alphabetic() || char == '_'
}

fn is_name(char: char) -> bool {
    begins_name(char) || char.is_ascii_digit()
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.rest.next()?;
        if char == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(char)
    }

    fn error<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError {
            line: self.line,
            column: self.column,
            what,
        })
    }

    fn skip_comment(&mut self) {
        let line = self.rest.as_str().lines().next().unwrap_or_default();
        let comment = line.trim_start_matches('#').trim();
        let is_one = comment
            .get(..DESCRIPTION.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(DESCRIPTION));
        if is_one && self.description.is_none() {
            self.description = Some(comment[DESCRIPTION.len()..].trim().to_owned());
        }
        while self.peek().is_some_and(|char| char != '\n') {
            self.next();
        }
    }

    /// Whether there is something behind blanks, empty lines and comments.
    fn skip_to_assignment(&mut self) -> bool {
        loop {
            match self.peek() {
                Some('#') => self.skip_comment(),
                Some(char) if char.is_ascii_whitespace() => {
                    self.next();
                }
                other => return other.is_some(),
            }
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(char) = self.peek().filter(|char| is_name(*char)) {
            word.push(char);
            self.next();
        }
        word
    }

    fn assignment(&mut self) -> Result<Assignment, SyntaxError> {
        const WANTED: &str =
            "only assignments such as NAME=\"value\", and comments, can stand here";
        if !self.peek().is_some_and(begins_name) {
            return self.error(WANTED);
        }
        let line = self.line;
        let mut name = self.word();
        if name == "export" && self.peek().is_some_and(|char| char == ' ' || char == '\t') {
            while self.peek().is_some_and(|char| char == ' ' || char == '\t') {
                self.next();
            }
            if !self.peek().is_some_and(begins_name) {
                return self.error(WANTED);
            }
            name = self.word();
        }
        match self.peek() {
            Some('=') => self.next(),
            Some(' ' | '\t') if self.rest.as_str().trim_start().starts_with('=') => {
                return self.error("no blank can stand between the name and its \"=\"");
            }
            _ => return self.error(WANTED),
        };
        let column = self.column;
        let value = self.value()?;
        if value.contains('\0') {
            return Err(SyntaxError {
                line,
                column,
                what: "there is a zero byte in this value, which no program can be given",
            });
        }
        Ok(Assignment {
            name,
            value,
            line,
            column,
        })
    }

    /// Up to the end of the line, or a blank and a comment.
    fn value(&mut self) -> Result<String, SyntaxError> {
        let mut value = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Ok(value),
                Some(' ' | '\t' | '\r') => return self.end_of_line().map(|()| value),
                Some('\'') => self.single_quoted(&mut value)?,
                Some('"') => self.double_quoted(&mut value)?,
                Some('$') => self.variable(&mut value)?,
                // A shell would put the home directory of somebody there.
                Some('~') if value.is_empty() || value.ends_with(':') => {
                    return self.error("write the directory itself instead of \"~\"");
                }
                Some('\\') => {
                    self.next();
                    match self.next() {
                        Some('\n') => {}
                        Some(char) => value.push(char),
                        None => return self.error("nothing follows the last \"\\\""),
                    }
                }
                Some('`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '[') => {
                    return self.error(
                        "this means something to a shell, and nothing is executed here: quote it with '...'",
                    );
                }
                Some(char) => {
                    value.push(char);
                    self.next();
                }
            }
        }
    }

    fn end_of_line(&mut self) -> Result<(), SyntaxError> {
        loop {
            match self.peek() {
                None | Some('\n') => return Ok(()),
                Some(' ' | '\t' | '\r') => {
                    self.next();
                }
                Some('#') => {
                    self.skip_comment();
                    return Ok(());
                }
                Some(_) => {
                    return self.error("a value with blanks needs quotes: NAME=\"one two\"");
                }
            }
        }
    }

    fn single_quoted(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let (line, column) = (self.line, self.column);
        self.next();
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(char) => value.push(char),
                None => return Err(unended(line, column)),
            }
        }
    }

    fn double_quoted(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let (line, column) = (self.line, self.column);
        self.next();
        loop {
            match self.peek() {
                None => return Err(unended(line, column)),
                Some('"') => {
                    self.next();
                    return Ok(());
                }
                Some('$') => self.variable(value)?,
                Some('`') => {
                    return self.error("nothing is executed here: quote it with '...'");
                }
                Some('\\') => {
                    self.next();
                    match self.next() {
                        None => return Err(unended(line, column)),
                        Some('\n') => {}
                        Some(char @ ('"' | '\\' | '$' | '`')) => value.push(char),
                        Some(char) => value.extend(['\\', char]),
                    }
                }
                Some(char) => {
                    value.push(char);
                    self.next();
                }
            }
        }
    }

    /// `$NAME` or `${NAME}` of an earlier line.
    fn variable(&mut self, value: &mut String) -> Result<(), SyntaxError> {
        let (line, column) = (self.line, self.column);
        self.next();
        let braced = self.peek() == Some('{');
        if braced {
            self.next();
        }
        match self.peek() {
            Some('(') => return self.error("nothing is executed here: quote it with '...'"),
            Some(char) if begins_name(char) => {}
            _ => {
                return self.error(
                    "\"$\" must be followed by the name of a variable, or quoted with '...'",
                )
            }
        }
        let name = self.word();
        if braced && self.next() != Some('}') {
            return Err(SyntaxError {
                line,
                column,
                what: "only ${NAME} can stand here, nothing else in braces",
            });
        }
        let error = |what| Err(SyntaxError { line, column, what });
        let Some(known) = self.known.get(&name) else {
            return error("this variable is not set in a line before");
        };
        self.expanded += known.len();
        if self.expanded > EXPANDED_MAX {
            return error("with this variable, more than 1 MiB of values comes from variables");
        }
        value.push_str(known);
        Ok(())
    }
}

fn unended(line: usize, column: usize) -> SyntaxError {
    SyntaxError {
        line,
        column,
        what: "this quote is never closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        assignments(text)
            .unwrap()
            .into_iter()
            .map(|one| (one.name, one.value))
            .collect()
    }

    fn value(text: &str) -> String {
        values(text).pop().unwrap().1
    }

    #[test]
    fn what_a_shell_would_assign() {
        assert_eq!(value("A=x"), "x");
        assert_eq!(value("A="), "");
        assert_eq!(value("A=\n"), "");
        assert_eq!(value("  A=x  # comment"), "x");
        assert_eq!(value("A=x#y"), "x#y");
        assert_eq!(value("A='one  $two \\' # c"), "one  $two \\");
        assert_eq!(
            value("A=\"one \\\"two\\\" \\$x \\y\""),
            "one \"two\" $x \\y"
        );
        assert_eq!(value("A=\"one \\\ntwo\""), "one two");
        assert_eq!(value("A=one\\ two\\\nthree"), "one twothree");
        assert_eq!(value("A='x'y\"z\""), "xyz");
        assert_eq!(value("A=1\nB=\"$A${A}2\""), "112");
        assert_eq!(value("A=1\nA=${A}2\nB=$A"), "12");
        assert_eq!(value("export A=x"), "x");
        assert_eq!(value("export=x"), "x");
        assert_eq!(value("A='l1\nl2'"), "l1\nl2");
        assert_eq!(value("A=x\r\n"), "x");
        assert_eq!(value("A=x~ "), "x~");
        assert_eq!(value("A='~'"), "~");
        assert_eq!(values("# only\n\n   # comments\n"), []);
        let two = assignments("\nA=1\n#\n  BB=2").unwrap();
        assert_eq!((two[0].line, two[0].column), (2, 3));
        assert_eq!((two[1].line, two[1].column), (4, 6));
    }

    #[test]
    fn anything_else_has_a_place_and_a_reason() {
        for (text, line, column, part) in [
            ("A=$(id)", 1, 4, "executed"),
            ("A=`id`", 1, 3, "executed"),
            ("A=\"`id`\"", 1, 4, "executed"),
            ("\nif true; then", 2, 3, "only assignments"),
            ("A =x", 1, 2, "blank"),
            ("A=x y", 1, 5, "quotes"),
            ("A=x;B=y", 1, 4, "shell"),
            ("A='x\ny", 1, 3, "closed"),
            ("A=\"x", 1, 3, "closed"),
            ("A=$B", 1, 3, "before"),
            ("A=1\nB=${A:-2}", 2, 3, "braces"),
            ("A=$", 1, 4, "name of a variable"),
            (". /etc/x", 1, 1, "only assignments"),
            ("A=x\\", 1, 5, "follows"),
            ("1A=x", 1, 1, "only assignments"),
            ("export =x", 1, 8, "only assignments"),
            ("export 1A=x", 1, 8, "only assignments"),
            ("export A", 1, 9, "only assignments"),
            ("A=~/x", 1, 3, "\"~\""),
            ("A=/x:~", 1, 6, "\"~\""),
            ("A='x\0y'", 1, 3, "zero byte"),
        ] {
            let error = assignments(text).unwrap_err();
            assert_eq!(
                (error.line, error.column),
                (line, column),
                "{text}: {error:?}"
            );
            assert!(error.what.contains(part), "{text}: {error:?}");
        }
    }

    #[test]
    fn variables_that_grow_end_soon() {
        for text in [
            format!("A=xxxxxxxx\n{}", "A=$A$A\n".repeat(100)),
            format!("A={}\nB={}", "x".repeat(1 << 16), "$A".repeat(1000)),
            format!("A={}\n{}", "x".repeat(1 << 16), "A=$A\n".repeat(1000)),
        ] {
            let error = assignments(&text).unwrap_err();
            assert!(error.what.contains("1 MiB"), "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC*") {
            let _ = assignments(&text);
        }

        #[test]
        fn no_likely_text_is_too_much(text in "([A-Z]=|[\"'$`{}()\\\\ \n#;a-z]){0,40}") {
            let _ = assignments(&text);
        }

        #[test]
        fn single_quotes_hold_anything(text in "[^'\0]*") {
            proptest::prop_assert_eq!(value(&format!("A='{text}'")), text);
        }
    }
}
