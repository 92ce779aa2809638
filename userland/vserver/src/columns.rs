// SPDX-License-Identifier: GPL-2.0

//! One table of columns drives the text, the JSON, `-o` and the help of a command that shows data.

use serde_json::Map;
use serde_json::Value;
use std::cmp::Ordering;
use std::io;
use std::io::Write;

/// To which side the values of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// One column of rows of type `R`.
#[derive(Debug)]
pub(crate) struct Column<R> {
    /// The heading; its lower case is the name in JSON and for `-o`.
    pub(crate) name: &'static str,
    pub(crate) width: usize,
    pub(crate) align: Align,
    pub(crate) help: &'static str,
    pub(crate) text: fn(&R) -> String,
    pub(crate) json: fn(&R) -> Value,
}

/// The columns that `-o` names, or all.
pub(crate) fn select<'a, R>(
    table: &'a [Column<R>],
    names: Option<&[String]>,
) -> Result<Vec<&'a Column<R>>, String> {
    let Some(names) = names else {
        return Ok(table.iter().collect());
    };
    names
        .iter()
        .map(|name| {
            table
                .iter()
                .find(|column| column.name.eq_ignore_ascii_case(name))
                .ok_or_else(|| {
                    let all: Vec<&str> = table.iter().map(|column| column.name).collect();
                    format!(
                        "there is no column \"{name}\"; the columns are {}",
                        all.join(",")
                    )
                })
        })
        .collect()
}

/// The columns that `-o` names; those that are `usual` when it names none, and these followed by others when the first name
/// begins with `+`.
pub(crate) fn choose<'a, R>(
    table: &'a [Column<R>],
    usual: &[&str],
    names: Option<&[String]>,
) -> Result<Vec<&'a Column<R>>, String> {
    let named = names.unwrap_or_default();
    let first = named.first().map_or("+", String::as_str);
    let Some(first) = first.strip_prefix('+') else {
        return select(table, names);
    };
    let more = named.iter().skip(1).map(String::as_str);
    let all = usual.iter().copied().chain([first]).chain(more);
    let all: Vec<String> = all
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    select(table, Some(&all))
}

/// A name for `-o` of a command that knows `+`, as clap checks it.
pub(crate) fn check<R>(table: &[Column<R>], name: &str) -> Result<String, String> {
    let bare = name.strip_prefix('+').unwrap_or(name);
    select(table, Some(&[bare.to_owned()])).map(|_| name.to_owned())
}

/// Sort by a column, smallest first; `-NAME`: largest first. Rows that are equal there stay as they are.
pub(crate) fn sort<R>(table: &[Column<R>], name: &str, rows: &mut [R]) -> Result<(), String> {
    let bare = name.strip_prefix('-').unwrap_or(name);
    let [column] = select(table, Some(&[bare.to_owned()]))?[..] else {
        return Ok(());
    };
    rows.sort_by(|one, other| {
        let order = compare(&(column.json)(one), &(column.json)(other));
        if bare == name {
            order
        } else {
            order.reverse()
        }
    });
    Ok(())
}

/// What is not known comes first.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (one, other) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one.total_cmp(&other),
            _ => one.to_string().cmp(&other.to_string()),
        },
    }
}

/// The part of the help text that lists the columns.
pub(crate) fn help<R>(table: &[Column<R>]) -> String {
    let lines = table
        .iter()
        .map(|column| format!("  {:<9} {}", column.name, column.help));
    format!("Columns:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// Print a table. A value wider than its column takes room from the spaces after it, so that the
/// next columns stay in their places as far as possible.
pub(crate) fn write_text<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: &[R],
    legend: bool,
) -> io::Result<()> {
    if legend {
        write_line(out, columns, |column| column.name.to_owned())?;
    }
    for row in rows {
        write_line(out, columns, |column| (column.text)(row))?;
    }
    Ok(())
}

/// Print a table whose columns are as wide as their values need.
pub(crate) fn write_fitted<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    rows: &[R],
    legend: bool,
) -> io::Result<()> {
    let heading = legend.then(|| {
        columns
            .iter()
            .map(|column| column.name.to_owned())
            .collect()
    });
    let lines: Vec<Vec<String>> = heading
        .into_iter()
        .chain(
            rows.iter()
                .map(|row| columns.iter().map(|column| (column.text)(row)).collect()),
        )
        .collect();
    let length = |text: &String| text.chars().count();
    let width = |index: usize| {
        lines
            .iter()
            .map(|line: &Vec<String>| length(&line[index]))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(columns)
            .zip(&widths)
            .map(|((text, column), &width)| match column.align {
                Align::Left => format!("{text:<width$}"),
                Align::Right => format!("{text:>width$}"),
            })
            .collect();
        writeln!(out, "{}", cells.join(" ").trim_end())?;
    }
    Ok(())
}

fn write_line<R>(
    out: &mut impl Write,
    columns: &[&Column<R>],
    text: impl Fn(&Column<R>) -> String,
) -> io::Result<()> {
    let mut line = String::new();
    let mut length = 0;
    let mut start = 0;
    for (index, column) in columns.iter().enumerate() {
        let value = text(column);
        let width = value.chars().count();
        let begin = match column.align {
            Align::Left => start,
            Align::Right => (start + column.width).saturating_sub(width),
        };
        let begin = begin.max(if index == 0 { 0 } else { length + 1 });
        line.push_str(&" ".repeat(begin - length));
        line.push_str(&value);
        length = begin + width;
        start += column.width + 1;
    }
    writeln!(out, "{}", line.trim_end())
}

/// The same as JSON: an array of objects under one name.
pub(crate) fn to_json<R>(name: &str, columns: &[&Column<R>], rows: &[R]) -> Value {
    let rows = rows.iter().map(|row| {
        let fields = columns
            .iter()
            .map(|column| (column.name.to_ascii_lowercase(), (column.json)(row)));
        Value::Object(fields.collect::<Map<_, _>>())
    });
    let mut object = Map::new();
    object.insert(name.to_owned(), rows.collect());
    Value::Object(object)
}

/// Print JSON.
pub(crate) fn write_json(out: &mut impl Write, value: &Value) -> io::Result<()> {
    writeln!(out, "{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: [Column<(u32, &str)>; 2] = [
        Column {
            name: "ID",
            width: 4,
            align: Align::Right,
            help: "a number",
            text: |row| row.0.to_string(),
            json: |row| row.0.into(),
        },
        Column {
            name: "NAME",
            width: 4,
            align: Align::Left,
            help: "a word",
            text: |row| row.1.to_owned(),
            json: |row| row.1.into(),
        },
    ];

    fn text(names: Option<&[String]>, legend: bool) -> String {
        let mut out = Vec::new();
        let columns = select(&TABLE, names).unwrap();
        write_text(
            &mut out,
            &columns,
            &[(1, "a"), (123_456, "bc"), (7, "")],
            legend,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_aligned_and_has_no_trailing_space() {
        assert_eq!(text(None, true), "  ID NAME\n   1 a\n123456 bc\n   7\n");
        assert_eq!(text(None, false), "   1 a\n123456 bc\n   7\n");
    }

    #[test]
    fn columns_fit_their_values() {
        let mut out = Vec::new();
        let columns = select(&TABLE, None).unwrap();
        write_fitted(&mut out, &columns, &[(1, "a"), (12345, "b")], true).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "   ID NAME\n    1 a\n12345 b\n"
        );
    }

    #[test]
    fn columns_are_chosen_by_name_in_any_case_and_order() {
        let names = ["name".to_owned(), "ID".to_owned()];
        assert_eq!(
            text(Some(&names), true),
            "NAME   ID\na       1\nbc 123456\n        7\n"
        );
        let error = select(&TABLE, Some(&["X".to_owned()])).unwrap_err();
        assert_eq!(error, "there is no column \"X\"; the columns are ID,NAME");
    }

    #[test]
    fn columns_are_added_to_the_usual_ones() {
        let of = |names: Option<&[String]>| -> Vec<&str> {
            let columns = choose(&TABLE, &["ID"], names).unwrap();
            columns.iter().map(|column| column.name).collect()
        };
        assert_eq!(of(None), ["ID"]);
        assert_eq!(of(Some(&["+name".to_owned()])), ["ID", "NAME"]);
        assert_eq!(of(Some(&["name".to_owned()])), ["NAME"]);
        assert!(check(&TABLE, "+name").is_ok());
        assert!(check(&TABLE, "+x").is_err());
    }

    #[test]
    fn rows_are_sorted_by_value() {
        let mut rows = [(10, "b"), (9, "c"), (100, "a")];
        sort(&TABLE, "id", &mut rows).unwrap();
        assert_eq!(rows.map(|row| row.0), [9, 10, 100]);
        sort(&TABLE, "-id", &mut rows).unwrap();
        assert_eq!(rows.map(|row| row.0), [100, 10, 9]);
        sort(&TABLE, "NAME", &mut rows).unwrap();
        assert_eq!(rows.map(|row| row.1), ["a", "b", "c"]);
        assert!(sort(&TABLE, "x", &mut rows).is_err());
    }

    #[test]
    fn json_and_help_come_from_the_same_table() {
        let columns = select(&TABLE, None).unwrap();
        let value = to_json("rows", &columns, &[(1, "a")]);
        assert_eq!(value.to_string(), r#"{"rows":[{"id":1,"name":"a"}]}"#);
        assert_eq!(
            help(&TABLE),
            "Columns:\n  ID        a number\n  NAME      a word"
        );
    }
}
