// SPDX-License-Identifier: GPL-2.0

//! Writing a configuration that reads back the same.

/// A line `NAME=value`, quoted where a shell would want it, without a line end. The value has no zero bytes.
pub fn assignment(name: &str, value: &str) -> String {
    format!("{name}={}", quoted(value))
}

/// A value as it can stand behind the `=`.
fn quoted(value: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-+./:,@%".contains(char);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for char in value.chars() {
        if matches!(char, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::super::parse::assignments;
    use super::*;

    #[test]
    fn as_one_would_write_it() {
        for (value, line) in [
            ("", "A="),
            ("web.example.org", "A=web.example.org"),
            ("lock nproc", "A=\"lock nproc\""),
            ("!CAP_X", "A=\"!CAP_X\""),
            ("a\"b$c`d\\e", "A=\"a\\\"b\\$c\\`d\\\\e\""),
        ] {
            assert_eq!(assignment("A", value), line);
        }
    }

    proptest::proptest! {
        #[test]
        fn reads_back_the_same(value in "[^\0]*") {
            let found = assignments(&assignment("A", &value)).unwrap();
            proptest::prop_assert_eq!(found[0].value.as_str(), value.as_str());
        }
    }
}
