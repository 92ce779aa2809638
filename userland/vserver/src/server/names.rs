// SPDX-License-Identifier: GPL-2.0

//! Names that stand for several vservers: `*` and `?`.

use super::vserver::Server;
use anyhow::bail;
use std::collections::BTreeSet;

/// The vservers that are meant by names, some of which have wildcards.
pub(crate) fn expand(names: &[String]) -> anyhow::Result<Vec<Server>> {
    let mut found: Vec<Server> = Vec::new();
    for name in names {
        if !has_wildcard(name) {
            let server = Server::new(name)?;
            server.must_have_configuration()?;
            found.push(server);
            continue;
        }
        let before = found.len();
        found.extend(
            Server::all()?
                .into_iter()
                .filter(|server| matches(name, &server.name)),
        );
        if found.len() == before {
            bail!("no vserver is called like \"{name}\"; \"vserver list\" lists them");
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|server| seen.insert(server.name.clone()));
    Ok(found)
}

/// Whether a name stands for several.
pub(crate) fn has_wildcard(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name is like this one, where `*` is any text and `?` any letter.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern.trim_start_matches('*');
            (0..=name.len())
                .filter(|at| name.is_char_boundary(*at))
                .any(|at| matches(rest, &name[at..]))
        }
        Some(first) => {
            let mut chars = name.chars();
            chars
                .next()
                .is_some_and(|char| first == '?' || first == char)
                && matches(&pattern[first.len_utf8()..], chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*", "web", true),
            ("web*", "web", true),
            ("web*", "web-1", true),
            ("web?", "web1", true),
            ("web?", "web", false),
            ("*b*1", "web-1", true),
            ("*b*2", "web-1", false),
            ("w**b", "web", true),
            ("web", "web", true),
            ("web", "webs", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
