// SPDX-License-Identifier: GPL-2.0

//! Which context is asked for.

use crate::Error;
use std::str::FromStr;
use vserver_uapi as uapi;

/// The context that a process asks to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The context of this number; it is made when it does not exist.
    Number(i32),
    /// The next free number.
    New,
    /// The present one.
    Stay,
}

impl Request {
    /// The number that the ABI has for it.
    pub fn number(self) -> i32 {
        match self {
            Self::Number(number) => number,
            Self::New => uapi::CONTEXT_NEW,
            Self::Stay => uapi::CONTEXT_STAY,
        }
    }
}

impl FromStr for Request {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(uapi::CONTEXT_NEW) => Ok(Self::New),
            Ok(uapi::CONTEXT_STAY) => Ok(Self::Stay),
            Ok(number @ uapi::CONTEXT_ROOT..=uapi::CONTEXT_MAX) => Ok(Self::Number(number)),
            _ => Err(Error::BadContext(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!("-1".parse::<Request>().unwrap(), Request::New);
        assert_eq!("-2".parse::<Request>().unwrap(), Request::Stay);
        assert_eq!("0".parse::<Request>().unwrap(), Request::Number(0));
        assert_eq!("65535".parse::<Request>().unwrap(), Request::Number(65535));
        for text in ["", "-3", "65536", "x", "1 ", "0x10", "99999999999"] {
            assert!(text.parse::<Request>().is_err(), "{text}");
        }
    }
}
