// SPDX-License-Identifier: GPL-2.0

//! What is wrong, for each part of the library that says more than an errno. They are below the parts: the one error type
//! of the library names them all, and the parts name it.

pub(crate) mod account;
pub(crate) mod address;
pub(crate) mod config;
pub(crate) mod guest;
pub(crate) mod root;
