// SPDX-License-Identifier: GPL-2.0

//! Context flags and their names.

use crate::Error;
use std::fmt;
use std::str::FromStr;
use vserver_uapi as uapi;

bitflags::bitflags! {
    /// The flags of a context. Once set, a flag stays.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Cannot enter another context any more.
        const LOCK = uapi::FLAG_LOCK;
        /// All its processes together weigh what one weighs.
        const SCHED = uapi::FLAG_SCHED;
        /// The limit on processes counts the whole context.
        const NPROC = uapi::FLAG_NPROC;
        /// Nobody else may join.
        const PRIVATE = uapi::FLAG_PRIVATE;
        /// The calling process becomes its process number 1.
        const FAKEINIT = uapi::FLAG_FAKEINIT;
        /// No context lines in `/proc/PID/status`.
        const HIDEINFO = uapi::FLAG_HIDEINFO;
        /// The caller's resource limits become the context's.
        const ULIMIT = uapi::FLAG_ULIMIT;
    }
}

const _: () = assert!(Flags::all().bits() == uapi::FLAG_ALL);

impl Flags {
    /// The names of the flags that are set, as users write them.
    pub fn names(self) -> Vec<String> {
        self.iter_names()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect()
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.names().join(" "))
    }
}

impl FromStr for Flags {
    type Err = Error;

    /// One flag by its name, in lower case as the kernel prints it.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::all()
            .iter_names()
            .find(|(name, _)| name.to_ascii_lowercase() == text)
            .map(|(_, flag)| flag)
            .ok_or_else(|| Error::BadFlag {
                text: text.to_owned(),
                known: Self::all().to_string(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_are_those_of_the_abi() {
        assert_eq!(
            Flags::all().to_string(),
            "lock sched nproc private fakeinit hideinfo ulimit"
        );
        assert_eq!(Flags::empty().to_string(), "none");
        assert_eq!("hideinfo".parse::<Flags>().unwrap().bits(), 32);
        assert!("LOCK".parse::<Flags>().is_err());
        assert!("".parse::<Flags>().is_err());
    }
}
