// SPDX-License-Identifier: GPL-2.0

//! The names of running vservers, from the `.ctx` files that starting one writes.

use std::collections::BTreeMap;
use std::path::Path;

/// Where the files are.
pub const DIRECTORY: &str = "/var/run/vservers";

/// Which vserver has which context.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<i32, String>);

impl Names {
    /// Read the directory. One that is missing or cannot be read is the same as no names: the tools
    /// that show them must work without.
    pub fn load() -> Self {
        Self::load_from(Path::new(DIRECTORY))
    }

    fn load_from(directory: &Path) -> Self {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "ctx"))
            .collect();
        files.sort();
        let mut names = BTreeMap::new();
        for path in files {
            let Some(name) = path.file_stem() else {
                continue;
            };
            let context = std::fs::read_to_string(&path)
                .ok()
                .as_deref()
                .and_then(parse);
            if let Some(context) = context {
                names
                    .entry(context)
                    .or_insert_with(|| name.to_string_lossy().into_owned());
            }
        }
        Self(names)
    }

    /// The name of the vserver in this context.
    pub fn get(&self, context: i32) -> Option<&str> {
        self.0.get(&context).map(String::as_str)
    }
}

impl Names {
    /// The context of the vserver with this name.
    pub fn context(&self, name: &str) -> Option<i32> {
        let mut all = self.0.iter();
        all.find_map(|(&context, found)| (found == name).then_some(context))
    }
}

/// The number in a `.ctx` file, which is shell syntax: `S_CONTEXT=100`, perhaps quoted.
pub fn parse(text: &str) -> Option<i32> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("S_CONTEXT="))
        .map(|value| value.trim_matches(['"', '\'']))
        .and_then(|value| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctx_files() {
        assert_eq!(parse("S_CONTEXT=100\n"), Some(100));
        assert_eq!(parse("# x\n S_CONTEXT=\"7\"\nS_PROFILE=\n"), Some(7));
        assert_eq!(parse("S_CONTEXT=\n"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn no_directory_no_names() {
        assert_eq!(Names::load_from(Path::new("/nonexistent")).get(2), None);
    }
}
