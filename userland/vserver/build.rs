// SPDX-License-Identifier: GPL-2.0

//! Links the program in the order of `startup.ld` where it is linked statically: what is installed.
//! Elsewhere, in tests and under lints, the order does not matter, nor whether the linker is as new.

use std::env;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo names the folder");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=startup.ld");
    if env::var("CARGO_CFG_TARGET_FEATURE")
        .is_ok_and(|features| features.split(',').any(|feature| feature == "crt-static"))
    {
        println!("cargo::rustc-link-arg-bins=-Wl,--section-ordering-file={folder}/startup.ld");
    }
}
