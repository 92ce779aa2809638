// SPDX-License-Identifier: GPL-2.0

//! ULIMIT: resource limits, written as for a shell's `ulimit`.

use nix::sys::resource::{getrlimit, rlim_t, setrlimit, Resource, RLIM_INFINITY};

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    resource: Resource,
    /// In the unit of setrlimit(2).
    value: rlim_t,
    soft: bool,
    hard: bool,
}

/// The letters, what they limit, and how many of setrlimit's units one of ulimit's is.
const LETTERS: [(char, Resource, rlim_t); 14] = [
    ('c', Resource::RLIMIT_CORE, 512),
    ('d', Resource::RLIMIT_DATA, 1024),
    ('e', Resource::RLIMIT_NICE, 1),
    ('f', Resource::RLIMIT_FSIZE, 512),
    ('i', Resource::RLIMIT_SIGPENDING, 1),
    ('l', Resource::RLIMIT_MEMLOCK, 1024),
    ('m', Resource::RLIMIT_RSS, 1024),
    ('n', Resource::RLIMIT_NOFILE, 1),
    ('q', Resource::RLIMIT_MSGQUEUE, 1),
    ('r', Resource::RLIMIT_RTPRIO, 1),
    ('s', Resource::RLIMIT_STACK, 1024),
    ('t', Resource::RLIMIT_CPU, 1),
    ('u', Resource::RLIMIT_NPROC, 1),
    ('v', Resource::RLIMIT_AS, 1024),
];

impl Limit {
    /// Sets it for the calling process and what it will start.
    pub fn apply(&self) -> nix::Result<()> {
        let (soft, hard) = getrlimit(self.resource)?;
        let hard = if self.hard { self.value } else { hard };
        let soft = if self.soft { self.value } else { soft };
        setrlimit(self.resource, soft.min(hard), hard)
    }
}

/// `[-H] [-S] -u 1000 …`; without -H and -S both limits are meant, as in a shell.
pub(super) fn parse(text: &str) -> Result<Vec<Limit>, String> {
    let (mut hard, mut soft) = (false, false);
    let mut limits = Vec::new();
    let mut words = text.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            return Err(format!(
                "\"{word}\" is no option; write it as for ulimit, such as -H -u 1000"
            ));
        };
        for letter in letters.chars() {
            match letter {
                'H' => hard = true,
                'S' => soft = true,
                letter => {
                    let (_, resource, unit) = LETTERS
                        .iter()
                        .find(|(known, ..)| *known == letter)
                        .ok_or_else(|| {
                        format!("there is no limit -{letter}; \"help ulimit\" in bash lists them")
                    })?;
                    let value = match words.next() {
                        Some("unlimited") => RLIM_INFINITY,
                        Some(number) => number
                            .parse::<rlim_t>()
                            .ok()
                            .and_then(|number| number.checked_mul(*unit))
                            .ok_or_else(|| {
                                format!("-{letter} is followed by \"{number}\", which is neither a number nor \"unlimited\"")
                            })?,
                        None => return Err(format!("-{letter} is followed by no number")),
                    };
                    let both = !hard && !soft;
                    limits.push(Limit {
                        resource: *resource,
                        value,
                        soft: soft || both,
                        hard: hard || both,
                    });
                }
            }
        }
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_reads_it() {
        let limit = |resource, value, hard, soft| Limit {
            resource,
            value,
            soft,
            hard,
        };
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(
            parse("-H -u 1000"),
            Ok(vec![limit(Resource::RLIMIT_NPROC, 1000, true, false)])
        );
        assert_eq!(
            parse("-n 64"),
            Ok(vec![limit(Resource::RLIMIT_NOFILE, 64, true, true)])
        );
        assert_eq!(
            parse("-HSv unlimited -s 8"),
            Ok(vec![
                limit(Resource::RLIMIT_AS, RLIM_INFINITY, true, true),
                limit(Resource::RLIMIT_STACK, 8192, true, true),
            ])
        );
        for text in [
            "-z 1",
            "-u",
            "-u many",
            "1000",
            "-",
            "-v 99999999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
